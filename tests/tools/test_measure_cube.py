"""A cube of the wrong size that lies anywhere is measured as a cube, and a dent shows on its face."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import measure_cube
from handloom.datasets.hand_and_object import HoldPredictions
from handloom.evaluation.icp import align_meshes
from handloom.reconstruction.tracks import HandTrack, ObjectTrack, SequencePoses

from ..stage_files import object_poses

FRAMES = 3
TURN = Rotation.from_rotvec([0.5, -0.8, 0.3]).as_matrix()
SIDE_M = 0.1


def sequence(folder: Path, cube: tuple[np.ndarray, np.ndarray], dent_m: float) -> Path:
    """A turned cube of 100 mm whose face +z may be sunk in; the camera looks at +x, +y and +z, points lie on -x too."""
    vertices = cube[0].copy()
    vertices[vertices[:, 2] > SIDE_M / 2 - 1e-6, 2] -= dent_m
    centre = np.array([0.3, 0.1, 0.2])
    camera = centre + np.array([0.5, 0.5, 0.6]) @ TURN.T
    pose = np.eye(4)
    pose[:3, 3] = -camera
    rows = np.random.default_rng(0).uniform(-SIDE_M / 2, SIDE_M / 2, (300, 3))
    rows[np.arange(300), np.arange(300) % 3] = SIDE_M / 2
    rows[:30:3, 0] = -SIDE_M / 2
    arrays = {
        "names": np.array([f"{number:04d}" for number in range(FRAMES)]),
        "object_vertices_m": vertices @ TURN.T + centre,
        "object_faces": cube[1],
        "cam_from_object": np.repeat(pose[None], FRAMES, 0),
        "hand_vertices_cam_m": np.zeros((FRAMES, 4, 3)),
        "hand_joints_cam_m": np.zeros((FRAMES, 21, 3)),
        "hand_faces": np.array([[0, 1, 2]]),
        "intrinsics": np.eye(3),
    }
    (folder / "phase3").mkdir(parents=True)
    HoldPredictions(**arrays).save(folder / "phase3" / "predictions.npz")
    still = HandTrack(torch.zeros(FRAMES, 16, 3), torch.zeros(10), torch.zeros(FRAMES, 3))
    thing = ObjectTrack.of_sfm(np.repeat(pose[None], FRAMES, 0))
    placed = replace(thing, scale=torch.tensor(0.05).double())
    SequencePoses.of(still.to(torch.float64), placed, "right").save(folder / "aligned.npz")
    poses = object_poses(arrays["cam_from_object"], (rows @ TURN.T + centre) / 0.05)
    poses.save(folder / "object_poses.npz")
    return folder


def test_size_and_place_do_not_count_and_a_dent_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"STARTS": 12, "align_meshes": partial(align_meshes, restarts=20)}
    for name, value in small.items():
        monkeypatch.setattr(measure_cube, name, value)
    found = []
    for name, dent_m in (("cube", 0.0), ("dented", 0.02)):
        assert measure_cube.main([str(sequence(tmp_path / name, measure_cube.cube_mesh(SIDE_M), dent_m))]) == 0
        found.append(capsys.readouterr().out)
    f_scores = [re.findall(r"F5 ([\d.]+) %, F10 ([\d.]+) %", report)[0] for report in found]
    assert f_scores[0] == ("100.0", "100.0")
    assert float(f_scores[1][0]) < 95
    for report in found:
        assert "its side is 100.0 mm before alignment, true 84 mm" in report
        assert report.count("towards the camera in   3 of 3") == 3
    averages = [sorted(map(float, re.findall(r"in   3 of 3 frames: +([\d.]+) mm", report))) for report in found]
    assert max(averages[0]) < 0.5
    # The dent is 16.8 mm of the true cube deep, less beside the walls, from which it is not so far.
    assert 9 < averages[1][2] < 16.8
    assert averages[1][0] < 3


def test_distances_to_a_cube_are_exact() -> None:
    points = np.array([[0.05, 0, 0], [0.042, 0.042, 0.044], [0.0, 0.03, 0.0]])
    np.testing.assert_allclose(measure_cube.distance_to_cube(points, 0.084), [0.008, 0.002, -0.012], atol=1e-9)
