"""Digests of code, so that a changed formula runs again what depends on it and a changed comment does not.

Snakemake does not see edits in imported modules; every rule therefore carries `code_digest` of its stage's module.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "handloom"


def code_digest(*modules: str, source: Path | None = None) -> str:
    """Digest of the named modules (`handloom.hand.mano`) and of all modules of the package that they import.

    Docstrings, comments, descriptions of settings and layout do not count. `source` is the folder that holds
    the package (default: where this one lies). Nothing is imported. Raises ModuleNotFoundError for what is no module.
    """
    root = Path(__file__).parents[2] if source is None else Path(source)
    closure: set[str] = set()
    waiting = set(modules)
    while waiting:
        name = waiting.pop()
        path = _path(root, name)
        if path is None:
            raise ModuleNotFoundError(f"no module {name} under {root}")
        closure.add(name)
        waiting |= set(_imports(root, name, path, path.stat().st_mtime_ns)) - closure
    lines = [
        f"{name} {_stripped_digest(path, path.stat().st_mtime_ns)}"
        for name in sorted(closure)
        if (path := _path(root, name))
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@cache
def _path(root: Path, name: str) -> Path | None:
    base = root.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@cache
def _tree(path: Path, changed_ns: int) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


@cache
def _imports(root: Path, name: str, path: Path, changed_ns: int) -> frozenset[str]:
    """Modules of the package that this one imports, its parent packages included."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = {name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)}
    for node in ast.walk(_tree(path, changed_ns)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: package.count(".") + 2 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found.add(module)
            # `from handloom.hand import mano` names a module, `from handloom.hand.mano import skin` a function.
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(each for each in found if each.split(".")[0] == PACKAGE and _path(root, each) is not None)


@cache
def _stripped_digest(path: Path, changed_ns: int) -> str:
    tree = _tree(path, changed_ns)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
