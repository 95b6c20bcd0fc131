"""Weights of a hand estimator that the user fetches: a run without them ends before anything else."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .project import ROOT, Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow_fresh")]

ESTIMATES = "results/hold/{sequence}/hand_estimates.npz"


def with_backend(project: Project, backend: str, mano: str | None) -> str:
    """The project with a network as backend; the estimates to ask for."""
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    settings.setdefault("hold", {}).setdefault("hand", {})["estimation"] = {"backend": backend}
    settings["mano"] = mano
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    base = yaml.safe_load((ROOT / "config.yaml").read_text())
    demo = smoke.get("hold", {}).get("demo") or {}
    return ESTIMATES.format(sequence=(demo.get("sequences") or base["hold"]["demo"]["sequences"])[0])


@pytest.mark.parametrize(
    ("backend", "weights", "home", "row"),
    [
        ("metro", "metro_hand_state_dict.bin", "https://github.com/microsoft/MeshTransformer", "METRO"),
        (
            "handoccnet",
            "snapshot_demo.pth.tar",
            "https://github.com/namepllet/HandOccNet",
            "HandOccNet demo",
        ),
    ],
)
def test_missing_weights_end_the_run_before_any_job(
    fresh: Callable[[str], Project], backend: str, weights: str, home: str, row: str
) -> None:
    """Protects from finding out after an hour of structure from motion; `check` has the same words."""
    project = fresh(backend)
    target = with_backend(project, backend, mano="data/mano")
    told = project.snakemake(target, fails=True)
    assert f"leads to data/checkpoints/{weights}, which does not exist" in told
    assert home in told
    assert not (project.folder / "results/hold").exists()
    assert row in project.snakemake("check")


@pytest.mark.parametrize("backend", ["metro", "handoccnet"])
def test_without_mano_it_is_refused(fresh: Callable[[str], Project], backend: str) -> None:
    project = fresh(f"{backend}_alone")
    told = project.snakemake(with_backend(project, backend, mano=None), fails=True)
    assert f"hold.hand.estimation.backend is {backend}" in told
    assert "https://mano.is.tue.mpg.de" in told


def test_with_mano_the_stages_of_hold_take_its_hand(fresh: Callable[[str], Project]) -> None:
    project = fresh("mano")
    target = with_backend(project, "metro", mano="data/mano")
    for name in ("data/mano/MANO_RIGHT.pkl", "data/mano/MANO_LEFT.pkl", "data/checkpoints/metro_hand_state_dict.bin"):
        path: Path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"something")
    planned = project.snakemake("--dry-run", target.replace("hand_estimates.npz", "phase3/predictions.npz"))
    inputs = [line.split(": ", 1)[1].split(", ") for line in planned.splitlines() if line.strip().startswith("input: ")]
    assert sum("resources/mano/mano_right.npz" in names for names in inputs) >= 6
    assert not any("resources/hand" in name for names in inputs for name in names)


@pytest.mark.parametrize(
    ("mano", "model"), [(None, "resources/hand/left.npz"), ("data/mano", "resources/mano/mano_left.npz")]
)
def test_a_left_hand_goes_into_every_stage_but_the_network(
    fresh: Callable[[str], Project], mano: str | None, model: str
) -> None:
    """Networks know right hands, and see mirrored crops; a stage with the other model would fit a right hand."""
    project = fresh(f"left_{mano is None}")
    target = with_backend(project, "detnet", mano).replace("hand_estimates.npz", "phase3/predictions.npz")
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    settings["hold"]["sequences"] = {Path(target).parts[2]: {"hands": ["left"]}}
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    for name in ("MANO_RIGHT.pkl", "MANO_LEFT.pkl") if mano else ():
        (project.folder / mano).mkdir(parents=True, exist_ok=True)
        (project.folder / mano / name).write_bytes(b"something")
    planned = project.snakemake("--dry-run", target)
    jobs = {block.split(":", 1)[0]: block for block in planned.split("\nrule ")[1:] if "results/hold/" in block}
    with_left = {name for name, block in jobs.items() if model in block}
    assert {"build_sequence", "train_phase", "refine_poses", "scored_reconstruction"} <= with_left
    assert "hand_estimates" not in with_left
    assert not [name for name in with_left if "mano_right" in jobs[name]]
