"""What the documentation quotes is what the program says, and what it shows runs."""

import ast
import re
import shlex
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from handloom.evaluation.quality_page import quality_page
from rendered_pair import Filming, film

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


def blocks_of(page: str, kind: str) -> list[str]:
    """The blocks of a page in a language, without their indentation."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [textwrap.dedent(block) for block in re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)]


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_the_example_of_a_video_is_planned_as_it_stands_and_its_mesh_is_read(
    built: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clip is made and its settings and targets are accepted; the last block reads the same file of `jug1`."""
    project = built.copied(tmp_path / "example")
    monkeypatch.chdir(project.folder)
    clip, mesh = blocks_of("example_video.md", "python")
    exec(clip, {})
    assert Path("data/clip.mp4").stat().st_size > 1000
    Path("own.yaml").write_text(*blocks_of("example_video.md", "yaml"))
    settings = Path("own.yaml").read_text()
    half = re.sub(
        r"\[(\d+), (\d+), (\d+), (\d+)\]", lambda box: str([int(side) // 2 for side in box.groups()]), settings
    )
    Path("own.yaml").write_text(half)  # pictures of the tests' preset are half as wide
    for command in "".join(blocks_of("example_video.md", "sh")).splitlines():
        _, *rest = shlex.split(command)
        planned = project.run([sys.executable, "-m", "snakemake", "--dry-run", *rest])
        assert "rule extract_frames:" in planned
        assert "sequence=clip" in planned
    exec(mesh.replace("/clip/", "/jug1/"), {})
    assert "vertices; a box of" in capsys.readouterr().out


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow_fresh")
def test_the_example_of_two_cameras_is_planned_as_it_stands(
    fresh: Callable[[str], Project],
) -> None:
    """`test_footage` makes such a pair, and reads its poses by the page's last block."""
    project = fresh("cameras")
    film(
        Filming(seconds=0.4, left_fps=30.0, right_fps=25.0, width_px=96, height_px=72),
        project.folder / "data/my_rig",
        seed=3,
    )
    (project.folder / "own.yaml").write_text(*blocks_of("example_cameras.md", "yaml"))
    for command in "".join(blocks_of("example_cameras.md", "sh")).splitlines():
        _, *rest = shlex.split(command)
        assert "rule footage_hands:" in project.run([sys.executable, "-m", "snakemake", "--dry-run", *rest])
