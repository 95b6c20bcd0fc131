"""What the user fetches by hand, one thing at a time: where it belongs, whether it is there, what it is good for."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from handloom.runtime.errors import InputError
from handloom.runtime.files import write_bytes

PACKAGE_DATA = Path(__file__).parents[1] / "data"
PACKAGE_PREFIX = "package:"


@dataclass(frozen=True)
class Asset:
    """One thing a user may have: where it is looked for, its licence and home page, and what it changes."""

    name: str
    setting: str
    """The key of the configuration that leads to it."""
    expected: str
    """Its file or folder; of a Python package, how to install it."""
    licence: str
    home: str
    enables: str
    without: str
    package: str | None = None

    def found(self, folder: Path) -> bool:
        """Whether it is there, for a run in `folder`."""
        if self.package is not None:
            return find_spec(self.package) is not None
        return (folder / self.expected).exists()


def checkpoint_path(checkpoint: str) -> Path:
    """The file that a `checkpoint` setting names; `package:NAME` lies in the package's own data folder."""
    return (
        PACKAGE_DATA / checkpoint.removeprefix(PACKAGE_PREFIX)
        if checkpoint.startswith(PACKAGE_PREFIX)
        else Path(checkpoint)
    )


def shipped_digest(name: str) -> str:
    """SHA-256 of a file in the package's data folder; raises InputError when it ships none of that name."""
    path = PACKAGE_DATA / name
    if not path.is_file():
        shipped = ", ".join(sorted(each.name for each in PACKAGE_DATA.glob("*.safetensors")))
        raise InputError(f"{PACKAGE_PREFIX}{name}: handloom ships no such network; it ships {shipped}")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def take_shipped(network: Path, *, name: str, digest: str) -> None:
    """Stage: copy a shipped file to where the run's other files are; `digest` is what was planned with."""
    if shipped_digest(name) != digest:
        raise InputError(f"{PACKAGE_PREFIX}{name}: changed while the run was planned; run again")
    write_bytes(network, (PACKAGE_DATA / name).read_bytes())
