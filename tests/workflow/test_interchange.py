"""Another method's file through the workflow: its row, beside HOLD's, is scored as HOLD's own is."""

import csv
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from handloom.datasets.hand_and_object import HoldPredictions

from .project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

TABLE = "results/tables/hold.csv"
WITH_FILE = ("--config", "hold={'interchange': {'DiffHOI': {'jug1': 'diffhoi.npz'}}}")


@pytest.fixture
def brought(built: Project) -> Iterator[Project]:
    """The finished project with our own predictions brought as another method's; afterwards it is as before."""
    ours = HoldPredictions.load(built.folder / "results/hold/jug1/phase3/predictions.npz")
    pose = ours.cam_from_object
    points = ours.object_vertices_m.astype(float) @ pose[:, :3, :3].swapaxes(1, 2) + pose[:, None, :3, 3]
    file = built.folder / "diffhoi.npz"
    np.savez(
        file,
        fnames=ours.names,
        hand_verts=ours.hand_vertices_cam_m,
        obj_verts=points.reshape(-1, 3),
        obj_vert_ptr=np.arange(len(points) + 1) * points.shape[1],
        obj_faces=ours.object_faces,
        obj_face_ptr=np.array([0, len(ours.object_faces)]),
        frame=np.array("camera"),
        units=np.array("m"),
        method=np.array("DiffHOI"),
        weights_id=np.array("our own predictions"),
    )
    yield built
    file.unlink()
    for made in ("results/hold/jug1/interchange", "benchmarks/score_interchange"):
        shutil.rmtree(built.folder / made, ignore_errors=True)
    built.snakemake()
    assert "Nothing to be done" in built.snakemake("--dry-run")


def rows(project: Project) -> dict[tuple[str, str], dict[str, str]]:
    with (project.folder / TABLE).open(newline="") as file:
        return {(row["method"], row["sequence"]): row for row in csv.DictReader(file)}


def test_a_brought_file_becomes_a_row_with_hold_s_own_numbers(brought: Project) -> None:
    before = rows(brought)
    assert "hold.interchange.DiffHOI" in before["DiffHOI", "mean"]["needs"]
    output = brought.snakemake(TABLE, *WITH_FILE)
    assert "score_interchange" in output
    assert "train_phase" not in output
    after = rows(brought)
    hold, other = after["HOLD", "jug1"], after["DiffHOI", "jug1"]
    assert hold == before["HOLD", "jug1"]
    for name in ("chamfer_cm2", "f5_pct", "f10_pct", "coverage_pct"):
        assert other[name] == hold[name], name
    # Another method's joints come from its vertices, HOLD's from its hand model: the wrist is not quite the same point.
    for name, within in (("mpjpe_mm", 2.0), ("mrrpe_mm", 2.0)):
        assert float(other[name]) == pytest.approx(float(hold[name]), abs=within), name
    assert float(other["chamfer_hand_cm2"]) == pytest.approx(float(hold["chamfer_hand_cm2"]), rel=0.1)
    assert other["needs"] == ""
    assert float(after["DiffHOI", "mean"]["paper_mpjpe_mm"]) == 32.3


def test_wrong_files_end_the_run_with_what_to_correct(brought: Project) -> None:
    with np.load(brought.folder / "diffhoi.npz") as archive:
        arrays = dict(archive)
    arrays["hand_verts"] = arrays["hand_verts"] * 1000
    np.savez(brought.folder / "diffhoi.npz", **arrays)
    output = brought.snakemake(TABLE, *WITH_FILE, fails=True)
    assert "diffhoi.npz: cannot be scored" in output
    assert "are these millimetres?" in output
    absent = ("--config", "hold={'interchange': {'iHOI': {'jug1': 'data/nowhere.npz'}}}")
    output = brought.snakemake(TABLE, *absent, fails=True)
    assert "hold.interchange.iHOI.jug1: leads to data/nowhere.npz, which does not exist" in output
    unknown = ("--config", "hold={'interchange': {'iHOI': {'lamp': 'x.npz'}}}")
    assert "interchange.iHOI.lamp: no such sequence" in brought.snakemake("--dry-run", *unknown, fails=True)
