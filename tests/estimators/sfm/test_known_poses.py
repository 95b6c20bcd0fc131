"""Poses that a data set annotates are taken as they are, for the chosen frames, and gaps are told."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.datasets.video import extract_frames
from handloom.estimators.sfm import BACKENDS
from handloom.estimators.sfm.known_poses import known_object_poses
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.runtime.config.base import Faults
from handloom.runtime.config.hold_stages import SfmSettings
from handloom.runtime.config.sequences import FrameSettings, SequenceSettings
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_rgb

from ...datasets.ho3d_files import CAMERA, FLIP, FRAMES, SequenceWriter


@pytest.fixture
def writer(tmp_path: Path) -> SequenceWriter:
    writer = SequenceWriter(tmp_path / "HO3D_v3")
    writer.write()
    return writer


def poses_of(writer: SequenceWriter, min_registered: float = 0.7, **settings: object) -> ObjectPoses:
    out = writer.root / "out"
    places = out / "frames", out / "frames.json"
    extract_frames(writer.folder, FrameSettings(kind="ho3d", **settings), *places)
    files = *places, out / "object_poses.npz", out / "object_poses.png"
    known_object_poses(writer.folder, *files, models=None, min_registered=min_registered, seed=1, code="")
    return ObjectPoses.load(out / "object_poses.npz")


def test_known_poses_of_ho3d_are_those_of_its_annotation(writer: SequenceWriter) -> None:
    """Protects the axes and the choice of frames: x_cam = D (R x + t), only the rows that were extracted."""
    found = poses_of(writer, every=2)
    np.testing.assert_allclose(found.intrinsics, CAMERA)
    np.testing.assert_allclose(np.sort(found.points_object, 0), np.sort(writer.corners, 0), atol=1e-6)
    assert found.registered.tolist() == [True, True]
    assert found.mapper == "known"
    for row, frame in enumerate(range(0, FRAMES, 2)):
        turn, shift = found.cam_from_object[row, :3, :3], found.cam_from_object[row, :3, 3]
        np.testing.assert_allclose(writer.corners @ turn.T + shift, writer.object_points_gl(frame) @ FLIP, atol=1e-9)
    assert read_rgb(writer.root / "out" / "object_poses.png").any()


def test_frames_without_annotation_are_interpolated_and_counted(
    writer: SequenceWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    writer.write_meta(1, dict.fromkeys(writer.meta(1)))
    found = poses_of(writer)
    assert found.registered.tolist() == [True, False, True, True]
    assert "1 of 4 annotated poses interpolated" in capsys.readouterr().err
    before, between, after = (Rotation.from_matrix(pose[:3, :3]) for pose in found.cam_from_object[:3])
    halfway = before * Rotation.from_rotvec((before.inv() * after).as_rotvec() / 2)
    np.testing.assert_allclose(between.as_matrix(), halfway.as_matrix(), atol=1e-9)
    with pytest.raises(InputError, match=r"3 of 4 frames have an annotated object pose, expected at least 90%"):
        poses_of(writer, min_registered=0.9)


def test_an_unknown_camera_says_what_to_set(writer: SequenceWriter) -> None:
    for frame in range(FRAMES):
        writer.write_meta(frame, {**writer.meta(frame), "camMat": None})
    with pytest.raises(InputError, match=r"none of its annotations tells the camera; set hold\.sfm\.backend"):
        poses_of(writer)


@pytest.mark.parametrize("kind", ["video", "frames", "build"])
def test_a_source_without_poses_says_what_to_set(kind: str) -> None:
    """Protects users who ask for known poses of a source that has none."""
    sequence = SequenceSettings(kind=kind, path="data/own")
    with pytest.raises(
        Faults, match=f"hold.sfm.backend: is known, but a sequence of kind {kind} brings no object poses"
    ):
        BACKENDS["known"].arguments(SfmSettings(backend="known"), sequence)
