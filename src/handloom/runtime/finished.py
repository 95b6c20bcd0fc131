"""Parts of a job that are finished are not made again: each has a record of what it was made of.

Where one more part is asked for, say another seed, the job runs again, and takes what is there from its place.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json, write_json
from handloom.runtime.outputs import place_of


def write_record(record: Path, made_of: str, files: Sequence[Path], seconds: float) -> None:
    """Write what a part of a job is made of (a fingerprint), the digests of its files, and how long it took."""
    write_json(record, {"made_of": made_of, "seconds": round(seconds, 2), "files": _digests(files)})


def taken_from_place(record: Path, made_of: str, files: Sequence[Path]) -> bool:
    """Take the files and the record of a finished part from their places; False where they are not there unchanged.

    What is there of other settings is removed: a killed job must not leave it as if it were its own.
    """
    before, places = place_of(record), [place_of(file) for file in files]
    if before == record:
        return False
    known: Any = None
    with suppress(InputError):
        known = read_json(before)
    whole = isinstance(known, dict) and known.get("made_of") == made_of and all(place.is_file() for place in places)
    if not whole or known.get("files") != _digests(places):
        for stale in (before, *places):
            stale.unlink(missing_ok=True)
        return False
    for source, target in zip([before, *places], [record, *files], strict=True):
        try:
            os.link(source, target)
        except OSError:  # a file system without links
            shutil.copy2(source, target)
    return True


def seconds_of(record: Path) -> float:
    """How long a part of a job took."""
    return float(read_json(record)["seconds"])


def _digests(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
