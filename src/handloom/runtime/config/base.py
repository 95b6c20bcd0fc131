"""The base of every configuration model: frozen, and closed to unknown keys."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen section of the configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
