"""Configuration files: merged as snakemake merges them, checked, and refused with the path of the wrong key."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from handloom.runtime.config.base import Faults, merged
from handloom.runtime.config.root import RunSettings
from handloom.runtime.config.yaml_files import read_yaml
from handloom.runtime.errors import InputError, listed, nearest

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
    paths = [".".join(_written(each["loc"], config, each["type"] == "missing")) for each in errors]
    for each, path in zip(errors, paths, strict=True):
        told_below = any(other.startswith(f"{path}.") for other in paths)
        if told_below and each["type"] in ("too_short", "tuple_type", "string_type"):  # its parts are wrong and told
            continue
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
    kind, found, place = error["type"], _shown(error["input"]), error["loc"]
    if kind == "extra_forbidden":
        names = [name for each in _types_at(place[:-1]) for name in _keys_of(each)]
        close = nearest(place[-1], names)
        return f"no such setting (found {found}); {f'did you mean {close}?' if close else f'here are {listed(names)}'}"
    if kind == "missing" and (wanted := _lists_at(place[:-1])):
        return f"missing; expected {wanted}, found {found}"
    if kind in ("tuple_type", "string_type", "too_long") and (wanted := _lists_at(place)):
        return f"expected {wanted}, found {found}"
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


def _types_at(place: Sequence[Any]) -> set[Any]:
    """The types, without null, that the models have at a place."""
    found: set[Any] = {RunSettings}
    for key in place:
        below = {each for outer in found for each in _types_below(outer, key)}
        found = below or found  # pydantic adds the branch of a choice between types
    return found


def _types_below(outer: Any, key: Any) -> Iterator[Any]:
    arguments = [each for each in get_args(outer) if each is not Ellipsis]
    if key in _keys_of(outer):
        yield from _branches(_keys_of(outer)[key])
    elif get_origin(outer) is dict:
        yield from _branches(arguments[1])
    elif get_origin(outer) in (tuple, list) and isinstance(key, int):
        yield from _branches(arguments[min(key, len(arguments) - 1)])


def _keys_of(model: Any) -> dict[str, Any]:
    """The settings of a section, with their types; none where it is no section."""
    fields = model.model_fields.items() if isinstance(model, type) and issubclass(model, BaseModel) else ()
    return {field.alias or name: field.annotation for name, field in fields}


def _branches(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from _branches(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        yield from (each for branch in get_args(annotation) for each in _branches(branch))
    elif annotation is not type(None):
        yield annotation


def _lists_at(place: Sequence[Any]) -> str:
    """What a place takes where lists of so many numbers are among it."""
    lists = [
        get_args(each) for each in _types_at(place) if get_origin(each) is tuple and Ellipsis not in get_args(each)
    ]
    others = [" or a text"] if str in _types_at(place) else []
    return "".join([*(f"a list of {len(each)} numbers" for each in lists), *others]) if lists else ""


def _shown(value: Any, most: int = 80) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
