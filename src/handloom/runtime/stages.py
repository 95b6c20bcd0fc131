"""A stage is a typed function, and a rule only names it: `stage("figures.curves:draw_curves", seeds=[1, 2])`.

The function's own annotations are the contract. The names of a rule's inputs, outputs and parameters are its arguments,
all of them; wildcards, resources, threads, the code's digest and the folder for checkpoints are given to a function
that asks for them. Pydantic turns paths, numbers and settings into the types that are annotated.

Stages whose steps between nobody waits for share a job: `steps(stage(...), stage(...))` runs them in turn, and each
takes the rule's files that it has arguments for, also those that an earlier one has just written.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, validate_call

from handloom.runtime.code_digest import PACKAGE, code_digest
from handloom.runtime.config.sequences import with_whole_keys
from handloom.runtime.devices import require_device
from handloom.runtime.errors import InputError
from handloom.runtime.files import writing
from handloom.runtime.outputs import Outputs, appearing_together

BESIDE = ("stage", "code", "watched", "within", "files")
"""What a stage's parameters hold besides its function's arguments."""


def stage(
    function: str | Callable[[Any], str],
    *,
    watched: Any = None,
    within: Any = None,
    files: Mapping[str, str | Sequence[str]] | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """A rule's parameters: its function, `module:name` inside the package, the digest of that code, and its own.

    The function may depend on the wildcards, and then its arguments too: `arguments` gives a mapping of them. Settings
    become JSON values, so that snakemake can store them and compare them with those of the last run. `watched` is the
    state of what the function reads besides its inputs (`files_state`), and `within` the dotted place of the sequence
    whose settings its errors name; it gets neither. `files` are arguments of a step with the names that their files
    have in the rule, one or several.
    """
    digest: Any = (lambda wildcards: _digest(function(wildcards))) if callable(function) else _digest(function)
    given = {"stage": function, "code": digest, **{name: plain(value) for name, value in parameters.items()}}
    beside = {"watched": watched, "within": within, "files": files}
    return given | {name: value for name, value in beside.items() if value is not None}


def steps(*stages: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a rule whose job runs several stages (`stage(...)`) one after the other."""

    def of(wildcards: Any) -> list[dict[str, Any]]:
        return [
            {name: value(wildcards) if callable(value) else value for name, value in each.items()} for each in stages
        ]

    return {"steps": of}


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


def run_job(
    parameters: Mapping[str, Any], *, inputs: Mapping[str, Any], outputs: Outputs, offered: Mapping[str, Any]
) -> None:
    """Call a rule's stage, or its steps in turn, with all that the rule gives; its outputs appear together.

    A stage also gets what it asks for of `offered`. An input without a file keeps the argument's default. `work`, where
    checkpoints are kept, lies beside the stage's first output. Raises InputError naming the arguments that a function
    does not take, lacks, or has of another type, files that no step takes, and a device that this machine does not
    have, before the stage begins; OutputError for a full disk.
    """
    several = parameters.get("steps", [parameters])
    if twice := inputs.keys() & outputs.keys():
        raise InputError(f"{_named(several)}: its rule has one name twice among inputs and outputs: {sorted(twice)}")
    with appearing_together(outputs) as made, writing(_first(outputs.values())):
        files = {**inputs, **made}
        taken = [files_of(each, files, alone=len(several) == 1) for each in several]
        if unused := files.keys() - {file for names in taken for of_name in names.values() for file in of_name}:
            raise InputError(f"{_named(several)}: none of them takes {', '.join(sorted(unused))}")
        for each, names in zip(several, taken, strict=True):
            given = {name: _paths([files[file] for file in of_name]) for name, of_name in names.items()}
            written = [outputs[file] for of_name in names.values() for file in of_name if file in outputs]
            _run_step(each, given, {**offered, "work": _first(written).parent / "work"})


def _named(several: Sequence[Mapping[str, Any]]) -> str:
    return f"stage {', '.join(each['stage'] for each in several)}"


def _first(outputs: Iterable[str | Path | Sequence[str]]) -> Path:
    named = next(iter(outputs))
    return Path(named if isinstance(named, str | Path) else named[0])


def files_of(step: Mapping[str, Any], files: Mapping[str, Any], *, alone: bool) -> dict[str, list[str]]:
    """What a stage's arguments that are files are called in the rule: all files, or those that one of the steps has."""
    renamed = step.get("files", {})
    asked = files if alone else inspect.signature(stage_function(step["stage"])).parameters
    names = {name: renamed.get(name, name) for name in asked}
    lists = {name: [found] if isinstance(found, str) else list(found) for name, found in names.items()}
    return {name: found for name, found in lists.items() if found[0] in files}


def _paths(several: Sequence[Any]) -> Any:
    """One file, or all of several files and lists of files."""
    lists = [str(each) if isinstance(each, str | Path) else [str(path) for path in each] for each in several]
    if len(lists) == 1:
        return lists[0]
    return [path for each in lists for path in ([each] if isinstance(each, str) else each)]


def _run_step(step: Mapping[str, Any], files: Mapping[str, Any], offered: Mapping[str, Any]) -> None:
    """Call one stage; its errors name a sequence's settings in full where it is told which sequence it is."""
    parameters = {name: value for name, value in step.items() if name not in BESIDE}
    parameters |= parameters.pop("arguments", {})
    if twice := files.keys() & parameters.keys():
        raise InputError(f"{_named([step])}: its rule has one name twice among files and parameters: {sorted(twice)}")
    given = {name: value for name, value in files.items() if value != []} | parameters
    offered = {**offered, **({"code": step["code"]} if "code" in step else {})}
    try:
        _call(stage_function(step["stage"]), step["stage"], given, offered)
    except InputError as error:
        if (within := step.get("within")) is None:
            raise
        raise InputError(with_whole_keys(str(error), within)) from error


def _call(called: Callable[..., None], function: str, given: dict[str, Any], offered: Mapping[str, Any]) -> None:
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
