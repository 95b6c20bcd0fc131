"""Errors that tell a user what to do."""

import difflib
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """Something handed to handloom cannot be used.

    The message names the file or setting, what was found, what was expected and what to do.
    """


class OutputError(OSError):
    """A result could not be written: a full disk, an unwritable folder."""


class StoppedError(RuntimeError):
    """A stage was asked to stop and has saved its state, from which the same job goes on."""


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first of some names, for a message."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Which of some names is written almost so, whatever the case of its letters; None if none is."""
    by_lower = {each.lower(): each for each in names}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None
