"""What the documentation quotes is what the program says, and what it shows runs."""

import ast
import re
from pathlib import Path

import pytest

from handloom.evaluation.quality_page import quality_page

from .project import Project

ROOT = Path(__file__).parents[2]


def _texts() -> list[str]:
    """Every text of the package, what is filled in as …, parts that follow one another joined."""
    found = []
    for path in sorted((ROOT / "src/handloom").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_messages_of_the_troubleshooting_page_exist() -> None:
    quoted = re.findall(r"^- `(.+)`$", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    texts = _texts()
    assert len(quoted) >= 20
    absent = [each for each in quoted if not any(re.search(_pattern(each), text, re.DOTALL) for text in texts)]
    assert absent == []


def _pattern(quoted: str) -> str:
    return ".*".join(re.escape(part) for part in quoted.split("…"))


def test_the_page_of_quality_measures_is_that_of_the_limits() -> None:
    assert (ROOT / "docs/quality.md").read_text(encoding="utf-8") == quality_page(), "python -m handloom schema --write"


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "config/README.md", ROOT / "results/README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_lines_paragraphs_and_tables_are_short_enough_to_be_read(page: Path) -> None:
    """Lines of 120 characters; paragraphs of a dozen lines outside the diary; cells that hold words."""
    text = page.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if len(line) > 120] == []
    prose = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+\.) )", prose)
    longest = max((part for part in parts if not part.lstrip().startswith("|")), key=len)
    assert len(longest) <= 1000, f"split this paragraph: {longest[:200]}"
    cells = [cell.strip() for line in prose.splitlines() if line.startswith("|") for cell in line.split("|")]
    assert [cell for cell in cells if len(cell) > 100] == []


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_results_are_read_in_python_as_the_page_says(built: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/results_in_python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(built.folder)
    exec("\n".join(blocks), {})
