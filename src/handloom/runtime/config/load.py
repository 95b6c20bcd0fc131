"""Configuration files: merged as snakemake merges them, checked, and refused with the path of the wrong key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from handloom.runtime.config.base import merged
from handloom.runtime.config.root import RunSettings
from handloom.runtime.errors import InputError

_EXPLAINED = "docs/settings.md explains every key, docs/hold.md and docs/footage.md those of own videos"


def settings_from(config: Mapping[str, Any], source: str = "configuration") -> RunSettings:
    """The checked settings of a merged configuration.

    Raises InputError with one line per problem: the key's dotted path, what was found and what was expected.
    """
    try:
        # Not strict: snakemake's `--config "adaptation={'epochs': 3}"` hands over every nested value as text.
        return RunSettings.model_validate(config)
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(each)}" for each in error.errors(include_url=False))
        raise InputError(f"{source}: refused; {_EXPLAINED}\n{problems}") from None


def load_settings(*paths: Path) -> RunSettings:
    """The settings of configuration files, each one laid over those before it."""
    config: dict[str, Any] = {}
    for path in paths:
        config = merged(config, read_yaml(path))
    return settings_from(config, source=" + ".join(str(path) for path in paths))


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; raises InputError when it is missing or holds something else."""
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such configuration file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML ({error})") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: holds {type(config).__name__}, but a mapping of settings was expected")
    return config


def _problem(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"]) or "configuration"
    if error["type"] == "extra_forbidden":
        return f"{path}: no such setting (found {error['input']!r}); check the spelling"
    if error["type"] == "missing":
        return f"{path}: missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if error["type"] == "value_error" else f"{path}: {message} (found {error['input']!r})"
