"""What texts say is there: nothing cites what a reader cannot open, and documents name files that exist."""

import ast
import io
import re
import subprocess
import tokenize
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/handloom"
LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
TEXTS = [ROOT / name for name in LISTED] or [path for path in ROOT.rglob("*") if path.suffix in (".py", ".md", ".smk")]
CODE = [path for path in TEXTS if path.suffix == ".py" and path.is_relative_to(PACKAGE)]
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
UNOPENABLE = re.compile(
    r"\bfacts/"  # a folder that is not in the repository
    r"|\bgolden c\d+"  # a case of the golden files
    r"|\((?:see )?[1-9]\.\d(?:(?:, | and | to )[1-9]\.\d)*\)"  # (2.4), (3.2 to 3.4): a section of nothing
)


def prose(path: Path) -> list[str]:
    """A document's lines; of code, comments and docstrings."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text.splitlines()
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(ast.parse(text)) if isinstance(node, documented)]
    return [*comments, *(line for docstring in found if docstring for line in docstring.splitlines())]


def test_texts_cite_only_what_a_reader_can_open() -> None:
    read = [path for path in TEXTS if path.suffix in (".py", ".md", ".smk", ".rst", ".yaml") and path != Path(__file__)]
    wrong = [f"{path.relative_to(ROOT)}: {line}" for path in read for line in prose(path) if UNOPENABLE.search(line)]
    assert not wrong


def names_of(module: Path) -> set[str]:
    """What a module defines."""
    found = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def exists(named: str) -> bool:
    """Whether a dotted name is a package, a module, or defined in one."""
    path = PACKAGE.joinpath(*named.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module = path.parent.with_suffix(".py")
    return module.is_file() and path.name in names_of(module)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_and_functions_that_a_document_names_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    every = {path.relative_to(ROOT).as_posix() for path in TEXTS}
    files = re.findall(r"`((?:\w+/)+\w+\.(?:py|smk|yaml|md|safetensors))`", text)
    own = [name for name in files if not name.startswith(("code/", "results/", "resources/", "data/"))]
    assert not [name for name in own if not any(path == name or path.endswith(f"/{name}") for path in every)]
    # A function has a lower-case name of two modules or more; keys of the configuration look alike, but name no module.
    packages = "|".join(path.name for path in PACKAGE.iterdir() if path.is_dir())
    dotted = re.findall(rf"`((?:{packages})\.\w+\.\w+(?:\.\w+)*)`", text)
    keys = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert not [name for name in dotted if f"`{name}`" not in keys and not exists(name)]


def test_no_two_classes_have_one_name() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in CODE]
    counted = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert not [name for name, count in counted.items() if count > 1 and not name.startswith("_")]
