"""The outputs of a job appear together: made in hidden folders beside their places, and moved there at the end.

Snakemake removes a job's outputs before it runs and marks them as incomplete until it has ended, so a kill between two
of the moves leaves nothing of another state beside them, and the next run mends it.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from handloom.runtime.errors import OutputError
from handloom.runtime.files import flush, require_writable

_afterwards: list[list[Callable[[], None]]] = []
"""What waits for the outputs of the running job; a list for every job inside another one's block."""

_HIDDEN = ".making-"

Outputs = Mapping[str, str | Path | Sequence[str]]


@contextmanager
def appearing_together(outputs: Outputs) -> Iterator[dict[str, str | list[str]]]:
    """Yield where to write the named outputs; when the block succeeds all are moved to their places at once.

    When it fails, what lay there stays. What a killed attempt of the same job left is removed first. Raises OutputError
    for a folder that cannot be written to, and for an output that the block did not write.
    """
    places = {name: [given] if isinstance(given, str | Path) else list(given) for name, given in outputs.items()}
    every = [Path(place) for some in places.values() for place in some]
    hidden = _HIDDEN + hashlib.sha256("\n".join(map(str, every)).encode()).hexdigest()[:12]
    folders = {place.parent: place.parent / hidden for place in every}
    require_writable(*folders)
    if any(folder.exists() for folder in folders.values()):
        print("an earlier attempt of this job was killed before its end", file=sys.stderr, flush=True)
    _remove(folders.values())
    for folder in folders.values():
        folder.mkdir(parents=True)
    made = {name: [str(folders[Path(place).parent] / Path(place).name) for place in places[name]] for name in places}
    _afterwards.append([])
    try:
        yield {name: made[name] if isinstance(outputs[name], list | tuple) else made[name][0] for name in made}
        _move(every, folders)
        for finish in _afterwards[-1]:
            finish()
    except OutputError as error:  # in the user's words, not in those of the hidden folder
        words = (str(each).replace(f"/{hidden}", "") for each in error.args[-1:])
        raise OutputError(*error.args[:-1], *words) from error
    finally:
        _afterwards.pop()
        _remove(folders.values())


def place_of(made: Path) -> Path:
    """Where an output of the running job will lie, and perhaps lies from an earlier run."""
    return made.parent.parent / made.name if made.parent.name.startswith(_HIDDEN) else made


def when_in_place(finish: Callable[[], None]) -> None:
    """Call `finish` once the outputs of the running job lie in their places; at once where no job runs."""
    if _afterwards:
        _afterwards[-1].append(finish)
    else:
        finish()


def _move(places: Sequence[Path], folders: Mapping[Path, Path]) -> None:
    """Move finished outputs to their places, files over those of before; all are there, or none is moved."""
    sources = [folders[place.parent] / place.name for place in places]
    absent = [str(place) for place, source in zip(places, sources, strict=True) if not source.exists()]
    if absent:
        raise OutputError(f"{', '.join(absent)}: not written by its stage")
    for place in places:
        if place.is_dir():
            shutil.rmtree(place)
    for place, source in zip(places, sources, strict=True):
        move(source, place)
    for folder in folders:
        flush(folder)


move = os.replace
"""One move; tests stop a job between two of them."""


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
