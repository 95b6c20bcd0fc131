"""Every rule fits its stage, and runs again for every formula that its stage comes to, however far; for no comment.

The workflow is loaded as snakemake loads it, in a few configurations that lead to all of its stages.
"""

import importlib
import inspect
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pydantic import ConfigDict, TypeAdapter
from snakemake.api import SnakemakeApi
from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings

from handloom.estimators.hands.registry import NETWORKS
from handloom.estimators.masks import SOURCES
from handloom.estimators.sfm import BACKENDS
from handloom.runtime.code_digest import code_digest
from handloom.runtime.config.methods import METHODS
from handloom.runtime.stages import BESIDE, files_of, stage_function

from .project import ROOT

MARKED = {"prompts": {"object": {"click": [9, 9]}, "right": {"click": [5, 5]}}}
OWN_SEQUENCES = {
    "marked": {"kind": "video", "path": "a.mp4", "masks": {"source": "propagation", **MARKED}},
    "tracked": {
        "kind": "video",
        "path": "a.mp4",
        "masks": {"source": "sam2", "sam2": {"checkpoint": "a.pt"}, **MARKED},
    },
    "masked": {"kind": "frames", "path": "a", "masks": {"source": "files", "files": {"folder": "b"}}},
}
RIG = {"left": "a.mp4", "right": "b.mp4", "left_boxes": "a.csv", "right_boxes": "b.csv"}
RIG_OF_FILES = {"left": "a.mp4", "right": "b.mp4", "left_hands": "a.zip", "right_boxes": "b.csv"}


def own_sequences(backend: str) -> dict[str, Any]:
    """Sequences with all sources of masks, and with a model each where poses are read from one."""
    if backend != "colmap_model":
        return OWN_SEQUENCES
    return {name: {**sequence, "colmap_model": "sparse"} for name, sequence in {"jug1": {}, **OWN_SEQUENCES}.items()}


def configuration(field: str, backend: str, own_pairs: str, hands: str, **source: Any) -> dict[str, Any]:
    """A field of HOLD, a backend of SfM, and networks of own pairs and of HOLD."""
    known = backend == "known"  # only of data sets that bring their poses
    hold = {"field": field, "sfm": {"backend": backend}, "hand": {"estimation": {"backend": hands}}}
    return {
        "mano": "data/mano",
        "pretrain": True,
        "sources": {"cross": source},
        "hold": hold if known else {**hold, "sequences": own_sequences(backend)},
        "footage": {"backend": own_pairs, "pairs": {"rig": RIG_OF_FILES if hands == "files" else RIG}},
    }


CONFIGURATIONS = {
    "compact": configuration("compact", "pycolmap", "mediapipe", "metro", checkpoint=None),
    "holdnet": configuration("holdnet", "known", "detnet", "handoccnet", network="mediapipe", checkpoint="a.tflite"),
    "hloc": configuration("compact", "hloc", "detnet", "mediapipe"),
    "colmap_model": configuration("compact", "colmap_model", "detnet", "mediapipe"),
    "files": configuration("compact", "known", "detnet", "files"),
    "files of views": configuration("compact", "known", "mediapipe", "files"),
}
VALUES = {
    "setting": ["in", "cross"],
    "network": [name for name, row in NETWORKS.items() if row.learner],
    "method": list(METHODS),
    "dataset": ["assembly_hands", "rhd", "ganerated"],
    "sequence": ["jug1", *OWN_SEQUENCES],
    "split": ["train", "val"],
    "variant": ["s2dhand", "s2dhand_plus"],
    "budget": ["standard", "long"],
    "rhd_split": ["training", "evaluation"],
    "view": ["left", "right"],
    "which": ["", "_in"],
    "side": ["right", "left"],
    "phase": ["hull", "phase1", "phase3_unrefined", "phase3"],
    "headset": ["headset1"],
    "camera": ["1"],
    "pair": ["1-2"],
    "seed": ["1"],
    "rig": ["rig"],
    "name": ["detnet_small_in.safetensors"],
}
"""Of wildcards; where a rule's stage or parameters depend on one, all that make a difference."""


@dataclass(frozen=True)
class Job:
    """One stage of one rule, for some wildcards."""

    rule: str
    stage: str
    code: str
    files: list[str]
    parameters: dict[str, Any]
    offered: dict[str, str | None]
    """Values of wildcards; None for what only a run knows."""


def jobs_of(config: dict[str, Any]) -> list[Job]:
    """All jobs that differ in their stage or its parameters."""
    found = []
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        loaded = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(config=config),
            snakefile=ROOT / "Snakefile",
            workdir=ROOT,
        )
        workflow = loaded._get_workflow(check_envvars=False)
        workflow.include(loaded.snakefile, overwrite_default_target=True, print_compilation=False)
        for rule in workflow.rules:
            if not {"stage", "steps"} & set(rule.params.keys()):
                continue
            known = workflow.globals["SEQUENCES"] if rule.name not in ("render_hold_sequence",) else ["jug1"]
            names = sorted(rule.wildcard_names)
            of_rule = [
                [
                    each
                    for each in VALUES[name]
                    if (name != "sequence" or each in known)
                    and re.fullmatch(rule.wildcard_constraints.get(name, ".*"), each)
                ]
                for name in names
            ]
            seen = set()
            for values in product(*of_rule):
                wildcards = SimpleNamespace(**dict(zip(names, values, strict=True)))
                given = [resolved(step, wildcards) for step in steps_of(rule)]
                if repr(given) in seen:
                    continue
                seen.add(repr(given))
                files = [name for name, value in rule.input.items() if is_given(value, wildcards)]
                files += rule.output.keys()
                offered = dict.fromkeys((*rule.resources, "threads", "code", "work")) | vars(wildcards)
                every = [files_of(step, files) for step in given]
                rest = set(files) - {file for taken in every for _, found in taken.values() for file in found}
                for step, taken in zip(given, every, strict=True):
                    own = {name: value for name, value in step.items() if name not in BESIDE}
                    own |= own.pop("arguments", {})
                    named = [*taken, *sorted(rest)]
                    found.append(Job(rule.name, step["stage"], step["code"], named, own, offered))
    return found


def steps_of(rule: Any) -> list[Mapping[str, Any]]:
    """The stages of a rule, before they know their wildcards."""
    if "steps" in rule.params.keys():  # noqa: SIM118 (no mapping)
        return list(inspect.getclosurevars(inspect.unwrap(rule.params["steps"])).nonlocals["stages"])
    return [dict(rule.params.items())]


def resolved(step: Mapping[str, Any], wildcards: SimpleNamespace) -> dict[str, Any]:
    """What a stage is given for some wildcards."""
    return {
        name: value(wildcards) if callable(value) else value
        for name, value in step.items()
        if name not in ("watched", "within")
    }


def is_given(files: Any, wildcards: SimpleNamespace) -> bool:
    """Whether an input has a file: one that is `[]`, or a function that says so, has none."""
    try:
        return bool(files(wildcards) if callable(files) else files)
    except (SystemExit, WorkflowError):  # the user's own, which is not here
        return True


@pytest.fixture(scope="module")
def jobs() -> Iterator[list[Job]]:
    """Those of all configurations."""
    before = dict(os.environ), list(sys.path)
    try:
        yield [job for config in CONFIGURATIONS.values() for job in jobs_of(config)]
    finally:
        os.environ.clear()
        os.environ.update(before[0])
        sys.path[:] = before[1]


def misfits(job: Job) -> Iterator[str]:
    """What of a job would be refused when it starts."""
    asked = inspect.signature(stage_function(job.stage)).parameters
    given = [*job.files, *job.parameters]
    yield from (f"{name} is not taken" for name in given if name not in asked)
    yield from (f"{name} is given twice" for name in set(given) if given.count(name) > 1)
    for name, parameter in asked.items():
        value = job.parameters.get(name, job.offered.get(name))
        if name not in given and name not in job.offered and parameter.default is parameter.empty:
            yield f"{name} is not given"
        elif name in job.parameters or (name not in job.files and value is not None):
            try:
                TypeAdapter(parameter.annotation, config=_config(parameter.annotation)).validate_python(value)
            except ValueError as error:
                yield f"{name}: {error}"


def _config(annotation: Any) -> ConfigDict | None:
    return None if hasattr(annotation, "model_config") else ConfigDict(arbitrary_types_allowed=True)


def test_no_rule_can_misfit_its_stage(jobs: list[Job]) -> None:
    """Names, and types of parameters and wildcards: what is wrong here would end a run when that job starts."""
    wrong = {f"{job.rule} ({job.stage}): {misfit}" for job in jobs for misfit in misfits(job)}
    assert sorted(wrong) == []


def test_all_stages_that_tables_name_were_among_them(jobs: list[Job]) -> None:
    """The tests of this file look at what a configuration leads to; this one that nothing is left out."""
    stages, learning = {job.stage for job in jobs}, [row for row in NETWORKS.values() if row.learner]
    assert {source.stage for source in SOURCES.values()} <= stages
    assert {backend.stage for backend in BACKENDS.values()} <= stages
    assert {f"estimators.{name}.hands:find_hands" for name in NETWORKS} <= stages
    assert {f"estimators.{row.name}.file_hands:find_hands" for row in learning} <= stages
    assert {row.s2dhand for row in learning} <= stages
    assert {
        f"estimators.{row.name}.hands:{stage}" for row in learning for stage in ("crop_views", "crop_pairs")
    } <= stages
    assert {f"adaptation.methods.{row.stage}" for row in METHODS.values()} <= stages
    fields = [name.partition(":")[0] for name in stages if ".compact." in name or ".holdnet." in name]
    assert len(fields) >= 2


def reached(module: ModuleType) -> list[str]:
    """Modules of the package that a module's objects come from, nearest first: by imports, not by its text."""
    order, waiting = [module.__name__], [module]
    while waiting:
        here = waiting.pop(0)
        for value in list(vars(here).values()):
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(value, ModuleType) and str(name).startswith(f"{here.__name__}."):
                continue  # a package knows all of its modules that anybody imported
            if isinstance(name, str) and name.startswith("handloom.") and name not in order and name in sys.modules:
                order.append(name)
                waiting.append(sys.modules[name])
    return order


def test_a_constant_in_a_far_module_moves_the_digest_of_a_rule_and_a_comment_does_not(
    jobs: list[Job], tmp_path: Path
) -> None:
    """For each rule's function the farthest module that it comes to is changed."""
    shutil.copytree(ROOT / "src/handloom", tmp_path / "handloom", ignore=shutil.ignore_patterns("data", "__pycache__"))
    far_of: dict[str, str] = {}
    for module in sorted({job.stage.partition(":")[0] for job in jobs}):
        stage = f"handloom.{module}"
        before, far = code_digest(stage, source=tmp_path), reached(importlib.import_module(stage))[-1]
        assert before == next(job.code for job in jobs if job.stage.partition(":")[0] == module)
        base = tmp_path.joinpath(*far.split("."))
        path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        text = path.read_text()
        path.write_text(f"{text}\n# Another comment.\n")
        assert code_digest(stage, source=tmp_path) == before, f"{stage}: a comment in {far}"
        path.write_text(f"{text}\n_CHANGED = 1\n")
        assert code_digest(stage, source=tmp_path) != before, f"{stage}: a constant in {far}"
        path.write_text(text)
        far_of[module] = far
    assert sum(far != f"handloom.{module}" for module, far in far_of.items()) > 0.8 * len(far_of)
