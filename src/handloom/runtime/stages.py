"""A stage is a typed function, and a rule only names it: `stage("figures.curves:draw_curves", seeds=[1, 2])`.

The function's own annotations are the contract. The names of a rule's inputs, outputs and parameters are its arguments,
all of them; wildcards, resources, threads, the code's digest and the folder for checkpoints are given to a function
that asks for them. Pydantic turns paths, numbers and settings into the types that are annotated.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, validate_call

from handloom.runtime.code_digest import PACKAGE, code_digest
from handloom.runtime.config.sequences import with_whole_keys
from handloom.runtime.devices import require_device
from handloom.runtime.errors import InputError
from handloom.runtime.files import writing
from handloom.runtime.outputs import Outputs, appearing_together


def stage(
    function: str | Callable[[Any], str], *, watched: Any = None, within: Any = None, **parameters: Any
) -> dict[str, Any]:
    """A rule's parameters: its function, `module:name` inside the package, the digest of that code, and its own.

    The function may depend on the wildcards, and then its arguments too: `arguments` gives a mapping of them. Settings
    become JSON values, so that snakemake can store them and compare them with those of the last run. `watched` is the
    state of what the function reads besides its inputs (`files_state`), and `within` the dotted place of the sequence
    whose settings its errors name; it gets neither.
    """
    digest: Any = (lambda wildcards: _digest(function(wildcards))) if callable(function) else _digest(function)
    given = {"stage": function, "code": digest, **{name: plain(value) for name, value in parameters.items()}}
    beside = {"watched": watched, "within": within}
    return given | {name: value for name, value in beside.items() if value is not None}


def plain(value: Any) -> Any:
    """Settings as JSON values; everything else as it is."""
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else value


def _digest(function: str) -> str:
    return code_digest(f"{PACKAGE}.{function.partition(':')[0]}")


def stage_function(function: str) -> Callable[..., None]:
    """The function that `module:name` is."""
    module, _, name = function.partition(":")
    found: Callable[..., None] = getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)
    return found


def run_stage(
    function: str,
    *,
    inputs: Mapping[str, Any],
    outputs: Outputs,
    parameters: Mapping[str, Any],
    offered: Mapping[str, Any],
    within: str | None = None,
) -> None:
    """Call a stage with all that its rule gives, and with what it asks for of `offered`; its outputs appear together.

    An input without a file keeps the argument's default. `work`, where checkpoints are kept, lies beside the first
    output. Raises InputError naming the arguments that the function does not take, lacks, or has of another type, and
    for a device that this machine does not have, before the stage begins; OutputError for a full disk.
    """
    named = next(iter(outputs.values()))
    first = Path(named if isinstance(named, str | Path) else named[0])
    with appearing_together(outputs) as made, writing(first):
        offered = {**offered, "work": first.parent / "work"}
        try:
            _call(stage_function(function), function, inputs, made, parameters, offered)
        except InputError as error:
            if within is None:
                raise
            raise InputError(with_whole_keys(str(error), within)) from error


def _call(
    called: Callable[..., None],
    function: str,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    parameters: Mapping[str, Any],
    offered: Mapping[str, Any],
) -> None:
    parameters = {**parameters, **parameters.get("arguments", {})}
    parameters.pop("arguments", None)
    names = [*inputs, *outputs, *parameters]
    if len(set(names)) < len(names):
        raise InputError(f"stage {function}: its rule has one name twice among inputs, outputs and parameters")
    files = {name: _paths(value) for name, value in {**inputs, **outputs}.items()}
    given = {name: value for name, value in files.items() if value != []} | dict(parameters)
    asked = inspect.signature(called).parameters
    given |= {name: value for name, value in offered.items() if name in asked and name not in given}
    if (device := given.get("device", "cpu")) != "cpu":
        require_device(device)
    try:
        validate_call(config=ConfigDict(arbitrary_types_allowed=True))(called)(**given)
    except ValidationError as error:
        if error.title not in (called.__name__, called.__qualname__):  # raised by the stage itself
            raise
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']} (found {each['input']!r})"
            for each in error.errors(include_url=False)
        )
        raise InputError(f"stage {function}: does not fit its rule: {problems}") from None


def _paths(value: Any) -> Any:
    """A file or a list of files."""
    return str(value) if isinstance(value, str | Path) else [str(each) for each in value]
