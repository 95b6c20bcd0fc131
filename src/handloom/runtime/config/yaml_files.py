"""Configuration files as text: one mapping of plain YAML 1.1, within limits that are checked before it is built.

What YAML would turn into another value than its writer sees is refused: keys that are there twice or are no text,
1:30 (90), 010 (8).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from handloom.runtime.errors import InputError
from handloom.runtime.reading import reading

MOST_BYTES = 2_000_000
MOST_DEPTH = 40
MOST_VALUES = 100_000
"""Values in a file, those behind aliases counted as often as they are named."""

_OTHER_BASES = {
    re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"): "base 60",
    re.compile(r"[-+]?0[0-9_]*[1-9][0-9_]*"): "base 8",
}
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_TEMPLATE = "__use_yte__"
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping of settings; raises InputError, naming the file and the line, for all else."""
    text = _text(path)
    try:
        _require_limits(path, text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise InputError(f"{path}: holds no settings; expected lines such as `preset: mine`")
        misread = list(_misread(path, node))
        if misread:
            raise InputError("\n".join(misread))
        config = yaml.SafeLoader("").construct_document(node)
    except InputError:
        raise
    except yaml.MarkedYAMLError as error:
        raise InputError(f"{_place(path, error.problem_mark)}: not valid YAML ({_in_words(error)})") from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(config, dict):
        raise InputError(
            f"{path}: holds {'a list' if isinstance(config, list) else 'a single value'}, but a mapping of settings "
            "(lines such as `preset: mine`) was expected"
        )
    return config


def _text(path: Path) -> str:
    """The text of a regular file of moderate size in UTF-8."""
    absent = "put `--` between the files of --configfile and the targets"
    with reading(
        path, "a configuration file", "name one", absent=absent, most_bytes=MOST_BYTES, may_be_empty=True
    ) as file:
        content = file.read()
    encoding = _MARKS.get(content[:2]) or ("UTF-16" if b"\0" in content[:4] else "")
    try:
        if not encoding:
            return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        encoding = f"not UTF-8 (line {line}; Latin-1 or Windows-1252, perhaps)"
    raise InputError(f"{path}: is {encoding}; save it as UTF-8 and run again")


def _require_limits(path: Path, text: str) -> None:
    """Refuse several documents, deep nesting and aliases that stand for too much, without building anything."""
    open_sizes: list[list[Any]] = [["", 0]]  # anchor, values inside
    sizes: dict[str, int] = {}
    documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise InputError(f"{_place(path, line)}: a second document begins (---); expected one mapping")
        elif isinstance(event, yaml.CollectionStartEvent):
            open_sizes.append([event.anchor, 1])
            if len(open_sizes) > MOST_DEPTH:
                raise InputError(f"{_place(path, line)}: nested more than {MOST_DEPTH} deep; settings are not")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_sizes.pop()
            sizes[anchor] = size
            open_sizes[-1][1] += size
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in [anchor for anchor, _ in open_sizes]:
                raise InputError(f"{_place(path, line)}: *{event.anchor} stands for something that it is itself in")
            open_sizes[-1][1] += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            open_sizes[-1][1] += 1
        if open_sizes[-1][1] > MOST_VALUES:
            raise InputError(
                f"{_place(path, line)}: stands for more than {MOST_VALUES} values, aliases followed; settings are fewer"
            )


def _misread(path: Path, node: yaml.Node) -> Iterator[str]:
    """Keys that are twice in a mapping or are no text, templates, and numbers of another base."""
    for place, each in _nodes(node, ""):
        if isinstance(each, yaml.MappingNode):
            yield from _misread_keys(path, place, [key for key, _ in each.value if key.tag != _MERGE])
        elif isinstance(each, yaml.ScalarNode) and not each.style and each.tag.endswith((":int", ":float")):
            for pattern, base in _OTHER_BASES.items():
                if pattern.fullmatch(each.value):
                    number = yaml.safe_load(each.value)
                    yield (
                        f"{_place(path, each.start_mark)}: {place}: YAML reads {each.value} as {number:g} ({base}); "
                        "write the number that you mean, or put quotes around a text"
                    )


def _misread_keys(path: Path, place: str, keys: Sequence[yaml.Node]) -> Iterator[str]:
    lines: dict[str, int] = {}
    for key in keys:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
            shown = f"`{key.value}` is" if isinstance(key, yaml.ScalarNode) else "a list or mapping is"
            yield f"{path}, line {line}: {shown} no text, but a key is a name; put it in quotes"
        elif key.value == _TEMPLATE:
            yield f"{path}, line {line}: {_TEMPLATE} would run what the file says; settings are data, remove it"
        elif key.value in lines:
            where = f"{place}.{key.value}" if place else key.value
            both = f"lines {lines[key.value]} and {line}"
            yield f"{path}: {where} is there twice, in {both}; keep one, with all that belongs to it"
        else:
            lines[key.value] = line


def _nodes(node: yaml.Node, place: str) -> Iterator[tuple[str, yaml.Node]]:
    """A node and all below it, with their dotted paths; what aliases stand for once."""
    waiting, seen = [(place, node)], set()
    while waiting:
        here, each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield here, each
        if isinstance(each, yaml.MappingNode):
            below = [(str(getattr(key, "value", "")), value) for key, value in each.value]
        else:
            below = [(str(n), value) for n, value in enumerate(each.value)] if isinstance(each.value, list) else []
        waiting.extend((f"{here}.{name}" if here else name, value) for name, value in below)


def _place(path: Path, mark: Any) -> str:
    return f"{path}, line {mark.line + 1}" if mark is not None else str(path)


def _in_words(error: yaml.MarkedYAMLError) -> str:
    words = " ".join(part for part in (error.context, error.problem) if part)
    if r"'\t'" in words:
        words += "; indent with spaces"
    return " ".join(words.split())
