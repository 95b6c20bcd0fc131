"""What is generated from the models of the configuration: its JSON schema, and docs/settings.md."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel

from handloom.runtime.config.load import load_settings
from handloom.runtime.config.root import RunSettings

CONFIG, PAPER = Path("config.yaml"), Path("config/paper.yaml")
SCHEMA, SETTINGS = Path("workflow/schemas/config.schema.json"), Path("docs/settings.md")

_PREFACE = """\
# Settings

Every setting of a run. `config.yaml` holds those that a user of the demo may want to turn; all others take the
default below and may be set there, too, or in any file that is laid over it (`--configfile`). *Paper* is what
`config/paper.yaml` sets where it differs: the published values, on the published data. NAME stands for a name of
yours. Written by `python -m handloom schema --write`.
"""


class Setting(NamedTuple):
    """One leaf of the configuration."""

    path: str
    meaning: str
    default: Any
    paper: Any


def schema_text() -> str:
    """The JSON schema of config.yaml."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **RunSettings.model_json_schema()}
    return json.dumps(schema, indent=1) + "\n"


def settings_text(default: RunSettings, paper: RunSettings) -> str:
    """docs/settings.md: a list for every section that holds settings."""
    text, last = _PREFACE, None
    for section, title, settings in _sections(RunSettings, default, paper, ""):
        if section.partition(".")[0] != last:
            last = section.partition(".")[0]
            text += f"\n## {last or 'The run'}\n"
        if "." in section:
            text += f"\n### {section}\n"
        text += "\n" + _filled(title) if section and title else ""
        text += "\n" + "".join(map(_line, settings))
    return text


def item(text: str) -> str:
    """A list's item in Markdown, in lines of at most 120 characters."""
    return _filled(f"- {text}", "  ")


def _filled(text: str, indent: str = "") -> str:
    return (
        "\n".join(textwrap.wrap(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False))
        + "\n"
    )


def _line(setting: Setting) -> str:
    meaning, paper = " ".join(setting.meaning.split()), setting.paper != setting.default
    value = f"Default {_value(setting.default)}" + f"; paper {_value(setting.paper)}" * paper
    return item(f"`{setting.path}`: {meaning} {value}.")


def documents(folder: Path) -> dict[Path, str]:
    """What the generated files under `folder` should hold."""
    default = load_settings(folder / CONFIG)
    paper = load_settings(folder / CONFIG, folder / PAPER)
    return {folder / SCHEMA: schema_text(), folder / SETTINGS: settings_text(default, paper)}


def _sections(
    model: type[BaseModel], default: Any, paper: Any, path: str, title: str = ""
) -> Iterator[tuple[str, str, list[Setting]]]:
    """Every section that holds settings: its dotted path, its model's docstring and its leaves, then those below it."""
    leaves, below = [], []
    for name, field in model.model_fields.items():
        key, meaning = field.alias or name, (field.description or "") + _choices(field.annotation)
        here = f"{path}.{key}" if path else key
        own = None if field.is_required() or field.default_factory else field.default
        usual = getattr(default, name) if isinstance(default, model) else own
        values = usual, getattr(paper, name) if isinstance(paper, model) else usual
        section = _model_of(field.annotation)
        if section is None or get_origin(field.annotation) is dict:
            shown = ({}, {}) if section else values  # the entries have a table of their own
            required = field.is_required() and not isinstance(default, model)
            leaves.append(Setting(here, meaning, *("*required*",) * 2 if required else shown))
        if section is not None:
            named = get_origin(field.annotation) is dict
            below.append((section, *((None, None) if named else values), f"{here}.NAME" if named else here, meaning))
    yield path, title or (model.__doc__ or "").partition("\n")[0], leaves
    for each in below:
        yield from ((where, words, found) for where, words, found in _sections(*each) if found)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The model of a section, of one that may be null, or of the entries that a user names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Literal, tuple, list):
        return None
    return next((found for each in get_args(annotation) if (found := _model_of(each)) is not None), None)


def _choices(annotation: Any) -> str:
    """The allowed values, when the type lists them."""
    literal = annotation if get_origin(annotation) is Literal else None
    if get_origin(annotation) is tuple:
        literal = next((each for each in get_args(annotation) if get_origin(each) is Literal), None)
    return f" [{', '.join(map(str, get_args(literal)))}]" if literal is not None else ""


def _value(value: Any) -> str:
    if isinstance(value, str) and value.startswith("*"):
        return value
    if isinstance(value, float):
        return f"`{value:g}`"
    return (
        f"`{yaml.safe_dump(_plain(value), default_flow_style=True, width=1000).removesuffix('...' + chr(10)).strip()}`"
    )


def _plain(value: Any) -> Any:
    """A setting's value in YAML's own types."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
