"""The base of every configuration model: frozen, closed to unknown keys, and with defaults that belong to a place."""

import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator, model_validator

Fidelity = Literal["faithful", "fixed"]
"""The released code number for number, or with its known errors repaired."""
OwnPath = Annotated[str, AfterValidator(os.path.expanduser)]
"""A file or folder of the user's, whose `~` is the home folder."""
MOST_SEED = 2**32 - 1
"""Of what numpy takes as a seed."""


class Faults(ValueError):
    """Settings that cannot be: of each the path below the model that found it, and what is wrong with it."""

    def __init__(self, faults: Iterable[tuple[str, str]]) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(f"{path}: {words}" for path, words in self.faults))

    @classmethod
    def require_none(cls, faults: Iterable[tuple[str, str]]) -> None:
        """Raise them, if there are any."""
        found = cls(faults)
        if found.faults:
            raise found


class Settings(BaseModel):
    """A frozen section of the configuration that refuses unknown keys, and numbers that are none or not finite.

    A section that is given in part keeps the rest of its place's default, which may differ from its model's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _sections_keep_their_defaults(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        completed = dict(given)
        for name, field in cls.model_fields.items():
            key = field.alias or name
            if isinstance(field.default, Settings) and isinstance(given.get(key), Mapping):
                completed[key] = merged(field.default.model_dump(exclude_unset=True, by_alias=True), given[key])
        return completed

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: Any) -> Any:
        """Pydantic takes true for 1 and 1 for true; numbers as text, as `--config` hands them over, are numbers."""
        field = cls.model_fields[info.field_name]
        logical = bool in _plain_types(field.annotation)
        if not logical and _has_truth(value):
            raise ValueError(
                f"expected no truth value, found {value!r} (YAML reads yes, no, on and off as one, too); write a "
                "number, or put a text in quotes"
            )
        if logical and isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError(f"expected true or false, found {value!r}")
        return value


def _plain_types(annotation: Any) -> set[Any]:
    inside = get_args(annotation)
    return {annotation} | {each for part in inside for each in _plain_types(part)}


def _has_truth(value: Any) -> bool:
    """Whether a value, or one in a list, is a truth value; sections look at their own."""
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_has_truth, value)))


def merged(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the overlay's values: mappings are merged key by key, everything else (lists too) is replaced."""
    result = dict(base)
    for key, value in overlay.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result
