"""A box with known poses is measured as it was made: a turned frame is wrong, and a mesh too large is told to be."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

import measure_clip
from handloom.datasets.hand_and_object import HoldPredictions
from handloom.evaluation.icp import align_meshes
from handloom.reconstruction.tracks import HandTrack, ObjectTrack, SequencePoses

from ..estimators.sfm.footage import HALF_M, INTRINSICS, turning_box
from ..stage_files import object_poses

FRAMES, WRONG, LARGER, UNITS_PER_M = 10, 6, 1.1, 20.0


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """Results of a box: poses in a unit of 50 mm, one of them turned, a size told 5 % too large, and a mesh 10 %."""
    folder = tmp_path / "results" / "hold" / "box"
    footage = turning_box(folder, frames=FRAMES)
    box = trimesh.creation.box(2 * HALF_M)
    box.export(tmp_path / "box.obj")
    true = footage.cam_from_object.copy()
    true[:, :3, 3] *= UNITS_PER_M
    turned = true.copy()
    turned[WRONG, :3, :3] = turned[WRONG, :3, :3] @ Rotation.from_rotvec([0, 0.7, 0]).as_matrix()
    points = UNITS_PER_M * trimesh.sample.sample_surface(box, 400, seed=0)[0]
    poses = object_poses(turned, points, intrinsics=INTRINSICS, registered=np.arange(FRAMES) > 0)
    poses.save(folder / "object_poses.npz")
    still = HandTrack(torch.zeros(FRAMES, 16, 3), torch.zeros(10), torch.zeros(FRAMES, 3))
    thing = replace(ObjectTrack.of_sfm(true), scale=torch.tensor(1.05 / UNITS_PER_M).double())
    SequencePoses.of(still.to(torch.float64), thing, "right").save(folder / "aligned.npz")
    vertices_m, faces = trimesh.remesh.subdivide_to_size(LARGER * box.vertices, box.faces, 0.004)
    (folder / "phase3").mkdir()
    HoldPredictions(
        names=np.array([f"{number:04d}" for number in range(FRAMES)]),
        object_vertices_m=vertices_m,
        object_faces=faces,
        cam_from_object=true,
        hand_vertices_cam_m=np.zeros((FRAMES, 4, 3)),
        hand_joints_cam_m=np.zeros((FRAMES, 21, 3)),
        hand_faces=np.array([[0, 1, 2]]),
        intrinsics=INTRINSICS,
    ).save(folder / "phase3" / "predictions.npz")
    for rule, cost in (("object_poses/box", 20.0), ("compact/box/phase3", 7.0), ("object_poses/other", 99.0)):
        path = tmp_path / "benchmarks" / f"{rule}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tcpu_time\n1.0\t{cost}\n", encoding="utf-8")
    return folder


def test_a_box_is_measured_as_it_was_made(
    sequence: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"STARTS": 24, "REFINED": 4, "LONGEST_EDGE_M": 0.004, "align_meshes": partial(align_meshes, restarts=20)}
    for name, value in small.items():
        monkeypatch.setattr(measure_clip, name, value)
    assert measure_clip.main([str(sequence), str(sequence.parents[2] / "box.obj")]) == 0
    told = capsys.readouterr().out
    assert f"poses: {FRAMES - 2} right, 1 wrong and not told, 1 told to have none, of {FRAMES}" in told
    assert "".join("." if row == 0 else "!" if row == WRONG else "#" for row in range(FRAMES)) in told
    mean, worst = map(float, re.findall(r"masks: IoU mean ([\d.]+), worst ([\d.]+)", told)[0])
    assert mean > 0.95
    assert worst > 0.93
    assert float(re.findall(r"size: \+([\d.]+) % after", told)[0]) == pytest.approx(5, abs=2)
    chamfer, f10, size = map(float, re.findall(r"chamfer ([\d.]+) .* F10 ([\d.]+) %, size \+([\d.]+) %", told)[0])
    assert chamfer < 0.05
    assert f10 > 99.5
    assert size == pytest.approx(10, abs=0.5)
    assert "core-seconds: 27 (object_poses 20, compact/phase3 7)" in told
