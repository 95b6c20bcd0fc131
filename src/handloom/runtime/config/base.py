"""The base of every configuration model: frozen, closed to unknown keys, and with defaults that belong to a place."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

Fidelity = Literal["faithful", "fixed"]
"""The released code number for number, or with its known errors repaired."""
OwnPath = Annotated[str, AfterValidator(os.path.expanduser)]
"""A file or folder of the user's, whose `~` is the home folder."""


class Settings(BaseModel):
    """A frozen section of the configuration that refuses unknown keys.

    A section that is given in part keeps the rest of its place's default, which may differ from its model's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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


def merged(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the overlay's values: mappings are merged key by key, everything else (lists too) is replaced."""
    result = dict(base)
    for key, value in overlay.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result
