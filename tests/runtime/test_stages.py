"""A stage gets what its rule gives, as the types that it asks for; what does not fit is refused by name."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from handloom.runtime.code_digest import code_digest
from handloom.runtime.config.base import Settings
from handloom.runtime.config.footage import FootageSettings
from handloom.runtime.errors import InputError
from handloom.runtime.stages import run_job, stage


class Chosen(Settings):
    weight: float = 1.0
    name: str


RULE: dict[str, dict[str, Any]] = {
    "inputs": {"source": "a.npz", "views": ["left.npz", "right.npz"], "mask": []},
    "outputs": {"result": "results/rig/b.npz", "table": "results/rig/b.csv"},
    "parameters": {"chosen": {"weight": 2, "name": "x"}, "kind": "fixed"},
    "offered": {"rig": "my_rig", "seed": "3", "threads": 4, "code": "abc", "runtime": 60},
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A module of the package with two stages; what the first one was called with."""
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}

    def measure(
        source: Path,
        views: tuple[Path, Path],
        result: Path,
        table: Path,
        *,
        chosen: Chosen,
        kind: Literal["fixed", "faithful"],
        work: Path,
        seed: int,
        mask: Path | None = None,
        rig: str = "none",
        code: str = "",
        device: str = "cpu",
    ) -> None:
        found.update(locals())
        result.touch()
        table.touch()

    def refuse(source: Path, result: Path) -> None:
        if source.name == "wrong.json":
            TypeAdapter(int).validate_python("three")
        raise InputError(f"{source}: is no picture")

    module = ModuleType("handloom.of_the_tests")
    module.measure, module.refuse = measure, refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return found


def run(**changed: dict[str, Any]) -> None:
    given = {part: {**RULE[part], **changed.get(part, {})} for part in RULE}
    run_job({"stage": "of_the_tests:measure", **given.pop("parameters")}, **given)


def test_a_stage_gets_all_that_its_rule_names_as_its_types_and_of_the_rest_what_it_asks_for(
    given: dict[str, Any],
) -> None:
    run()
    assert given["source"] == Path("a.npz")
    assert given["views"] == (Path("left.npz"), Path("right.npz"))
    assert given["chosen"] == Chosen(weight=2.0, name="x")
    assert given["mask"] is None  # an input without a file keeps the default
    assert (given["rig"], given["seed"], given["code"]) == ("my_rig", 3, "abc")
    assert given["work"] == Path("results/rig/work")
    assert {given["result"].name, given["table"].name} == {path.name for path in Path("results/rig").iterdir()}


def test_what_a_rule_gives_goes_before_what_is_offered_and_may_depend_on_the_wildcards(given: dict[str, Any]) -> None:
    run(inputs={"mask": "mask.png"}, parameters={"seed": 7, "arguments": {"rig": "other"}})
    assert (given["mask"], given["seed"], given["rig"]) == (Path("mask.png"), 7, "other")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"inputs": {"pictures": "p.png"}}, r"pictures: Unexpected keyword argument \(found 'p\.png'\)"),
        ({"offered": {"seed": None}}, r"seed: Input should be a valid integer \(found None\)"),
        ({"inputs": {"views": ["left.npz"]}}, r"views\.1: Field required"),
        ({"inputs": {"source": ["a.npz", "b.npz"]}}, "source: .*path.*found"),
        ({"parameters": {"kind": "fast"}}, r"kind: Input should be 'fixed' or 'faithful' \(found 'fast'\)"),
        ({"parameters": {"chosen": {"wait": 2, "name": "x"}}}, r"chosen\.wait: Extra inputs are not permitted"),
        ({"parameters": {"source": "b.npz"}}, "its rule has one name twice among files and parameters"),
        ({"outputs": {"mask": "m.npz"}}, "its rule has one name twice"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_before_anything_runs(
    given: dict[str, Any], changed: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=rf"stage of_the_tests:measure: .*{told}"):
        run(**changed)
    assert not given


def test_a_device_that_is_not_there_ends_the_job_before_its_stage(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"device: is cuda:99, but PyTorch .* set device: cpu, or"):
        run(parameters={"device": "cuda:99"})
    assert not given


@pytest.mark.usefixtures("given")
def test_errors_of_the_stage_itself_pass_through() -> None:
    files: dict[str, Any] = {"outputs": {"result": "b"}, "offered": {}}
    with pytest.raises(InputError, match=r"^a\.txt: is no picture$"):
        run_job({"stage": "of_the_tests:refuse"}, inputs={"source": "a.txt"}, **files)
    with pytest.raises(ValidationError, match="valid integer"):
        run_job({"stage": "of_the_tests:refuse"}, inputs={"source": "wrong.json"}, **files)


def test_a_rules_parameters_are_plain_and_know_their_code() -> None:
    """Snakemake stores them as text, and compares them with those of the last run."""
    params = stage("geometry.rotations:angle_deg", settings=FootageSettings(pairs={"a": None}), seeds=[1, 2])
    assert params["stage"] == "geometry.rotations:angle_deg"
    assert params["code"] == code_digest("handloom.geometry.rotations")
    assert params["seeds"] == [1, 2]
    assert params["settings"]["pairs"] == {"a": None}
    assert params["settings"]["adaptation"]["batch_size"] == 16
    assert "watched" not in params
    assert stage("geometry.rotations:angle_deg", watched="now")["watched"] == "now"


def test_a_stage_may_depend_on_the_wildcards_and_then_its_code_does() -> None:
    params = stage(lambda wildcards: f"geometry.{wildcards}:any", seed=1)
    assert params["stage"]("rotations") == "geometry.rotations:any"
    assert params["code"]("rotations") == code_digest("handloom.geometry.rotations") != params["code"]("epipolar")
