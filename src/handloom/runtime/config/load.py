"""Configuration files: merged as snakemake merges them, checked, and refused with the path of the wrong key."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from handloom.runtime.config.base import Faults, merged
from handloom.runtime.config.root import RunSettings
from handloom.runtime.config.yaml_files import read_yaml
from handloom.runtime.errors import InputError

_EXPLAINED = "docs/settings.md explains every key, docs/hold.md and docs/footage.md those of own videos"
_ENTRIES = (("hold", "sequences"), ("footage", "pairs"))
"""Sections whose entries a user names; a wrong one does not hide what is wrong elsewhere."""

MoreFaults = Callable[[RunSettings], Sequence[str]]


def settings_from(
    config: Mapping[str, Any], source: str = "configuration", more: MoreFaults = lambda _: ()
) -> RunSettings:
    """The checked settings of a merged configuration.

    Raises InputError with one line per problem: the key's dotted path, what was found and what was expected. `more`
    tells what else is wrong with what the rest of the configuration asks for.
    """
    try:
        # Not strict: snakemake's `--config "adaptation={'epochs': 3}"` hands over every nested value as text.
        return RunSettings.model_validate(config)
    except ValidationError as error:
        problems = [f"{path}: {words}" for path, words in _problems(error, config)]
        rest = _without(config, [each["loc"] for each in error.errors(include_url=False)])
        with suppress(ValidationError):  # of what is told already
            problems += more(RunSettings.model_validate(rest))
        lines = "\n".join(f"  {problem}" for problem in dict.fromkeys(problems))
        raise InputError(f"{source}: refused; {_EXPLAINED}\n{lines}") from None


def load_settings(*paths: Path, more: MoreFaults = lambda _: ()) -> RunSettings:
    """The settings of configuration files, each one laid over those before it; `more` as in `settings_from`."""
    config: dict[str, Any] = {}
    for each in read_all(paths):
        config = merged(config, each)
    return settings_from(config, source=" + ".join(str(path) for path in paths), more=more)


def read_all(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """What all files hold; raises one InputError for what is wrong with any."""
    found, wrong = [], []
    for path in paths:
        try:
            found.append(read_yaml(path))
        except InputError as error:
            wrong.append(str(error))
    if wrong:
        raise InputError("\n".join(wrong))
    return found


def _without(config: Mapping[str, Any], places: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """The configuration without what is wrong; of a sequence or camera pair, without all of it."""
    rest = copy.deepcopy(dict(config))
    for place in places:
        keys = place[:3] if place[:2] in _ENTRIES else place
        below: Any = rest
        for key in keys[:-1]:
            below = below.get(key) if isinstance(below, dict) else None
        if isinstance(below, dict) and keys:
            below.pop(keys[-1], None)
    return rest


def _problems(error: ValidationError, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    errors = error.errors(include_url=False)
    within = {each["loc"][:-1] for each in errors}
    for each in errors:
        if each["type"] == "too_short" and each["loc"] in within:  # its parts are wrong and told
            continue
        path = ".".join(_written(each["loc"], config, each["type"] == "missing"))
        cause = each.get("ctx", {}).get("error")
        if isinstance(cause, Faults):
            yield from ((f"{path}.{below}" if path else below, words) for below, words in cause.faults)
        else:
            yield path or "configuration", _words(each)


def _written(place: Sequence[Any], config: Any, lacks_last: bool) -> Iterator[str]:
    """A place without what pydantic adds to it: the branch of a choice between types."""
    for number, key in enumerate(place):
        last = number == len(place) - 1
        if isinstance(config, Mapping) and key in config:
            config = config[key]
        elif isinstance(config, list | tuple) and isinstance(key, int):
            config = config[key] if key < len(config) else None
        elif not (last and lacks_last):
            continue
        yield str(key)


_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping (key: value)",
    "model": "a section (key: value)",
    "none": "null",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least {}"),
    "greater_than": ("gt", "more than {}"),
    "less_than_equal": ("le", "at most {}"),
    "less_than": ("lt", "less than {}"),
    "too_short": ("min_length", "at least {} of them"),
    "too_long": ("max_length", "at most {} of them"),
    "literal_error": ("expected", "{}"),
    "enum": ("expected", "{}"),
    "finite_number": (None, "a finite number"),
    "int_from_float": (None, "a whole number"),
    "string_pattern_mismatch": ("pattern", "a text like {}"),
    "string_too_short": ("min_length", "a text of at least {} characters"),
    "string_too_long": ("max_length", "a text of at most {} characters"),
}


def _words(error: Any) -> str:
    """What was found and what was expected, in the product's own words."""
    kind, found = error["type"], _shown(error["input"])
    if kind == "extra_forbidden":
        return f"no such setting (found {found}); check the spelling"
    if kind == "missing":
        return "missing; it has no default"
    if kind in ("value_error", "assertion_error"):
        return str(error["msg"].partition(", ")[2])
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        bound = error["ctx"][key] if key else ""
        return f"expected {words.format(f'{bound:g}' if isinstance(bound, float) else bound)}, found {found}"
    expected = _EXPECTED.get(kind.partition("_")[0])
    if expected is None:
        expected = error["msg"].removeprefix("Input should be ")
    return f"expected {expected}, found {found}"


def _shown(value: Any, most: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
