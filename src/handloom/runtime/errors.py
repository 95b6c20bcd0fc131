"""Errors that tell a user what to do."""

from collections.abc import Sequence


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
