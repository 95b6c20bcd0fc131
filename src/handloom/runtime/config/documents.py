"""What is generated from the configuration models: the JSON schema, and the comments of config.yaml.

The values stay those of config.yaml: `python -m handloom schema --write` writes the file again with its own values,
every key that is missing and every key's description.
"""

import json
import textwrap
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from handloom.runtime.config.load import load_settings
from handloom.runtime.config.root import RunSettings

CONFIG = Path("config.yaml")
SCHEMA = Path("workflow/schemas/config.schema.json")

_WIDTH = 110
_PREFACE = f"""\
# yaml-language-server: $schema={SCHEMA}
# The configuration of a run: the demo. Files of config/ hold other presets; lay one over this file with
#   snakemake TARGET --configfile config/paper.yaml --cores 8        or change single values here.
# Values are yours; the comments are made by `python -m handloom schema --write`.
"""


def schema_text() -> str:
    """The JSON schema of config.yaml."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **RunSettings.model_json_schema()}
    return json.dumps(schema, indent=1) + "\n"


def config_text(settings: RunSettings) -> str:
    """config.yaml with the values of `settings` and a comment for every key."""
    return _PREFACE + "".join(f"\n{block}" for block in _blocks(settings, indent=0))


def documents(folder: Path) -> dict[Path, str]:
    """What the generated files under `folder` should hold."""
    return {folder / CONFIG: config_text(load_settings(folder / CONFIG)), folder / SCHEMA: schema_text()}


def _blocks(section: BaseModel, indent: int) -> list[str]:
    return [
        _block(field.alias or name, field, getattr(section, name), indent)
        for name, field in type(section).model_fields.items()
    ]


def _block(key: str, field: FieldInfo, value: Any, indent: int) -> str:
    """One key with its comment; a section's comment is its model's docstring."""
    margin = " " * indent
    described = field.description or (isinstance(value, BaseModel) and type(value).__doc__) or ""
    comment = "".join(
        f"{line}\n"
        for line in textwrap.wrap(
            " ".join((described + _choices(field.annotation)).split()),
            width=_WIDTH,
            initial_indent=f"{margin}# ",
            subsequent_indent=f"{margin}# ",
        )
    )
    if isinstance(value, BaseModel):
        return f"{comment}{margin}{key}:\n" + "".join(_blocks(value, indent + 2))
    if isinstance(value, dict) and any(isinstance(each, BaseModel) for each in value.values()):
        return f"{comment}{margin}{key}:\n" + "".join(_named(name, each, indent + 2) for name, each in value.items())
    return f"{comment}{margin}{key}: {_scalar(value)}\n"


def _named(name: str, section: BaseModel, indent: int) -> str:
    """An entry that the user names: only what it sets, since all else keeps its default."""
    chosen = [
        _block(field.alias or key, field, getattr(section, key), indent + 2)
        for key, field in type(section).model_fields.items()
        if key in section.model_fields_set
    ]
    return f"{' ' * indent}{name}:\n" + "".join(chosen)


def _choices(annotation: Any) -> str:
    """The allowed values, when the type lists them."""
    literal = annotation if get_origin(annotation) is Literal else None
    if get_origin(annotation) is tuple:
        literal = next((each for each in get_args(annotation) if get_origin(each) is Literal), None)
    return f" [{', '.join(map(str, get_args(literal)))}]" if literal is not None else ""


def _scalar(value: Any) -> str:
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, float):
        # YAML 1.1, which PyYAML reads, takes 5e-4 for a string.
        text = repr(value)
        return f"{value:.12f}".rstrip("0") if "e-" in text else text
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
