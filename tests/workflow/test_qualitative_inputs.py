"""The picture of hands: with HandOccNet where its weights and MANO are there, and without where they are not."""

from collections.abc import Callable

import pytest
import yaml

from .project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow_fresh")]

PICTURE = "results/figures/s2d_qualitative.png"
WEIGHTS, HAND = "data/checkpoints/snapshot_demo.pth.tar", "resources/mano/mano_right.npz"


def inputs_of_picture(project: Project) -> list[str]:
    planned = project.snakemake("--dry-run", PICTURE).splitlines()
    rule = planned.index(next(line for line in planned if line.startswith("rule qualitative")))
    return next(line for line in planned[rule:] if line.strip().startswith("input: ")).split(": ", 1)[1].split(", ")


def test_handoccnet_is_optional_and_mano_comes_last(fresh: Callable[[str], Project]) -> None:
    """Weights without MANO, and MANO without weights, leave the picture as it is."""
    project = fresh("picture")
    configuration = project.folder / "tiny.yaml"
    settings = yaml.safe_load(configuration.read_text())
    without = inputs_of_picture(project)
    assert not {WEIGHTS, HAND} & set(without)
    (project.folder / WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
    (project.folder / WEIGHTS).write_bytes(b"something")
    assert inputs_of_picture(project) == without
    configuration.write_text(yaml.safe_dump({**settings, "mano": "data/mano"}))
    (project.folder / "data/mano").mkdir(parents=True, exist_ok=True)
    for name in ("MANO_RIGHT.pkl", "MANO_LEFT.pkl"):
        (project.folder / "data/mano" / name).write_bytes(b"something")
    assert [name for name in inputs_of_picture(project) if name not in without] == [WEIGHTS, HAND]
    assert inputs_of_picture(project)[-2:] == [WEIGHTS, HAND]
    (project.folder / WEIGHTS).unlink()
    assert not {WEIGHTS, HAND} & set(inputs_of_picture(project))
