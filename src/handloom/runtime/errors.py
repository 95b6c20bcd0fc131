"""Errors that tell a user what to do."""


class InputError(ValueError):
    """Something handed to handloom cannot be used.

    The message names the file or setting, what was found, what was expected and what to do.
    """


class OutputError(OSError):
    """A result could not be written: a full disk, an unwritable folder."""
