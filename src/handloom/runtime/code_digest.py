"""Digests of code, so that a changed formula runs again what depends on it and a changed comment does not.

Snakemake does not see edits in imported modules; every rule therefore carries `code_digest` of its stage's module. Two
hundred modules take a second to parse, so what was found is kept in a file, by each module's time and size.
"""

import ast
import hashlib
import json
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from handloom.runtime.errors import OutputError
from handloom.runtime.files import write_text

PACKAGE = "handloom"

_kept: dict[str, list[Any]] = {}
"""By module's file: time, size, names that it imports, digest of its code without what does not count."""


def code_digest(*modules: str, source: Path | None = None) -> str:
    """Digest of the named modules (`handloom.hand.mano`) and of all modules of the package that they import.

    Docstrings, comments, descriptions of settings and layout do not count. `source` is the folder that holds
    the package (default: where this one lies). Nothing is imported. Raises ModuleNotFoundError for what is no module.
    """
    root = Path(__file__).parents[2] if source is None else Path(source)
    closure: dict[str, str] = {}
    waiting = set(modules)
    while waiting:
        name = waiting.pop()
        path = _path(root, name)
        if path is None:
            raise ModuleNotFoundError(f"no module {name} under {root}")
        state = path.stat()
        imported, closure[name] = _facts(root, name, path, state.st_mtime_ns, state.st_size)
        waiting |= imported - closure.keys()
    lines = [f"{name} {closure[name]}" for name in sorted(closure)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def take_kept(file: Path) -> None:
    """Take what an earlier run kept of the modules in a file; nothing where it is missing or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(file.read_bytes())
        if found["python"] == sys.version:
            _kept.update(found["modules"])


def keep(file: Path) -> None:
    """Keep what is known of the modules for the next run; where the file cannot be written, that run takes longer."""
    text = json.dumps({"python": sys.version, "modules": dict(sorted(_kept.items()))})
    with suppress(OSError, OutputError):
        if not file.is_file() or file.read_text() != text:
            write_text(file, text)


@cache
def _path(root: Path, name: str) -> Path | None:
    base = root.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@cache
def _facts(root: Path, name: str, path: Path, changed_ns: int, size: int) -> tuple[frozenset[str], str]:
    """Modules of the package that this one imports, its parent packages included, and the digest of its code."""
    known = _kept.get(str(path))
    if known is None or known[:2] != [changed_ns, size]:
        tree = ast.parse(path.read_bytes(), filename=str(path))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        known = _kept[str(path)] = [changed_ns, size, sorted(_names(tree, package)), _stripped_digest(tree)]
    found = {name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)} | set(known[2])
    return frozenset(each for each in found if _path(root, each) is not None), str(known[3])


def _names(tree: ast.Module, package: str) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: package.count(".") + 2 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found.add(module)
            # `from handloom.hand import mano` names a module, `from handloom.hand.mano import skin` a function.
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return {each for each in found if each.split(".")[0] == PACKAGE}


def _stripped_digest(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
