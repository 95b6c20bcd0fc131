"""Folders that a run is about to fill: judged before it starts, not after an hour."""

import errno
import os
from pathlib import Path

from handloom.runtime.errors import OutputError


def require_writable(*folders: Path) -> None:
    """Raise OutputError unless each folder can be written to; one that is not there yet is judged by its parent."""
    for folder in folders:
        nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not nearest.is_dir():
            found = "a link that leads nowhere" if nearest.is_symlink() else "a file"
            raise OutputError(
                errno.ENOTDIR,
                f"{folder}: a folder for results was expected, but {nearest} is {found}; move it away and run again",
            )
        if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise OutputError(
                errno.EACCES, f"{folder}: {nearest} cannot be written to; make it writable, or run in another folder"
            )
