"""A formula changes the digest, here or in anything imported; comments, docstrings, layout and strangers do not."""

from pathlib import Path

import pytest

from handloom.runtime.code_digest import code_digest

FILES = {
    "handloom/__init__.py": "",
    "handloom/stage.py": (
        '"""A stage."""\nfrom handloom import maths\nfrom handloom.deep.tree import leaf\n\n\n'
        'def stage(x):\n    """Doc."""\n    return maths.double(x) + leaf(x)  # why\n'
    ),
    "handloom/maths.py": "def double(x):\n    return 2 * x\n",
    "handloom/deep/__init__.py": "",
    "handloom/deep/tree.py": "from .root import ROOT\n\n\ndef leaf(x):\n    return ROOT * x\n",
    "handloom/deep/root.py": "ROOT = 3\n",
    "handloom/stranger.py": "OTHER = 1\n",
}


def write(folder: Path, **changed: str) -> str:
    """Write the little package with some files changed and give the digest of its stage."""
    folder.mkdir()
    for name, text in {
        **FILES,
        **{f"handloom/{key}.py": text for key, text in changed.items()},
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return code_digest("handloom.stage", source=folder)


def test_comments_docstrings_layout_and_strangers_do_not_count(tmp_path: Path) -> None:
    first = write(tmp_path / "a")
    restyled = (
        '"""Another text."""\nfrom handloom import maths\nfrom handloom.deep.tree import leaf\n# more\n\n\n'
        'def stage( x ):\n    """Other."""\n\n    return (maths.double(x)\n        + leaf(x))\n'
    )
    assert write(tmp_path / "b", stage=restyled, stranger="OTHER = 2\n") == first


@pytest.mark.parametrize(
    "changed",
    [
        {"stage": FILES["handloom/stage.py"].replace("+", "-")},
        {"maths": "def double(x):\n    return 3 * x\n"},
        {"deep/tree": "from .root import ROOT\n\n\ndef leaf(x):\n    return ROOT + x\n"},
        {"deep/root": "ROOT = 4\n"},
        {"deep/__init__": "SIDE_EFFECT = 1\n"},
    ],
    ids=["own module", "module imported by name", "imported function", "relative import", "parent package"],
)
def test_a_formula_counts_wherever_it_is(tmp_path: Path, changed: dict[str, str]) -> None:
    assert write(tmp_path / "a") != write(tmp_path / "b", **changed)


def test_an_edit_is_seen_by_a_process_that_took_the_digest_before(tmp_path: Path) -> None:
    before = write(tmp_path / "a")
    path = tmp_path / "a" / "handloom" / "maths.py"
    path.write_text("def double(x):\n    return 5 * x\n")
    assert code_digest("handloom.stage", source=tmp_path / "a") != before


def test_an_unknown_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"handloom\.stagee"):
        code_digest("handloom.stagee")


def test_the_package_itself_has_a_digest() -> None:
    assert len(code_digest("handloom.runtime.artifacts")) == 16
