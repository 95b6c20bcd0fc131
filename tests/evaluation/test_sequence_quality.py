"""The quality table: its measures against closed forms, its verdicts, and files that do not belong together."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.transform import Rotation

from handloom.datasets.frames_file import FramesFile, write_frames_file
from handloom.evaluation.quality_table import write_quality_table
from handloom.evaluation.sequence_quality import (
    FAIR,
    GOOD,
    LIMITS,
    POOR,
    UNKNOWN,
    StageFiles,
    sequence_quality,
    sides_seen,
    write_sequence_quality,
)
from handloom.hand.mano import skin
from handloom.hand.open_hand import open_hand
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.errors import InputError

FRAMES = 4
INTRINSICS = np.array([[200.0, 0, 80], [0, 200, 60], [0, 0, 1]])


@pytest.fixture
def files(tmp_path: Path) -> StageFiles:
    """A hand that touches a cloud of points before the camera; frame 2 has no hand and an object at the edge."""
    hand, (names, pixels, masks) = open_hand(), _pictures(tmp_path)
    pose, shape = torch.zeros(FRAMES, 16, 3), torch.zeros(hand.shape_count)
    place = torch.tensor([0.0, 0.0, 0.5]).expand(FRAMES, 3)
    posed = skin(hand, pose_rotvec=pose, shape=shape.expand(FRAMES, -1), translation_m=place)
    image = posed.keypoints_m.numpy() @ INTRINSICS.T
    keypoints = (image[..., :2] / image[..., 2:]).astype(np.float32)
    found = np.array([True, True, False, True])
    keypoints[~found] = np.nan
    turns = np.tile(np.eye(4), (FRAMES, 1, 1))
    turns[:, :3, :3] = Rotation.from_rotvec(np.outer(np.arange(FRAMES) * np.pi / 2, [0, 1, 0])).as_matrix()
    turns[:, 2, 3] = 5.0
    points = np.random.default_rng(3).uniform(-0.01, 0.01, (600, 3)).astype(np.float32)
    contact = posed.vertices_m[0, 100].numpy()
    write_frames_file(
        tmp_path / "frames.json",
        FramesFile(names, tuple(np.arange(FRAMES) / 30), "file", 160, 120, "video.mp4", INTRINSICS),
    )
    arrays = {
        "cam_from_object": turns,
        "registered": np.array([True, True, True, False]),
        "points_object": points,
        "reprojection_px": np.array(0.5),
        "intrinsics": INTRINSICS,
    }
    write_arrays(
        tmp_path / "object_poses.npz",
        arrays,
        Header("object_poses", "SfM units", "camera", extra={"median_features": "70"}),
    )
    confidence = np.where(found[:, None], 0.6, np.nan).astype(np.float32).repeat(21, 1)
    arrays = {"keypoints_px": keypoints, "confidence": confidence, "found": found}
    write_arrays(tmp_path / "hand_estimates.npz", arrays, Header("hand_estimates", "px", "camera"))
    arrays = {
        "hand_rotvec": pose.numpy(),
        "hand_shape": shape.numpy(),
        "hand_translation_cam_m": place.numpy().copy(),
        "object_rotation": np.tile(np.eye(3, dtype=np.float32), (FRAMES, 1, 1)),
        "object_translation_m": np.tile(contact, (FRAMES, 1)),
        "object_scale": np.array(1.0, np.float32),
        "points_object": points,
        "intrinsics": INTRINSICS,
    }
    write_arrays(tmp_path / "aligned.npz", arrays, Header("aligned", "m", "camera"))
    return StageFiles(
        tmp_path / "frames.json",
        pixels,
        masks,
        tmp_path / "object_poses.npz",
        tmp_path / "hand_estimates.npz",
        tmp_path / "aligned.npz",
    )


def _pictures(folder: Path) -> tuple[tuple[str, ...], Path, Path]:
    """Frames whose masks hold an object of 60 x 40 pixels; in frame 2 it lies at the image's edge, and no hand."""
    for name in ("frames", "masks"):
        (folder / name).mkdir()
    for frame in range(FRAMES):
        mask = np.full((120, 160), 150, np.uint8)
        if frame == 2:
            mask[:], left = 0, 0
        else:
            left = 50
        mask[30:70, left : left + 60] = 50
        cv2.imwrite(str(folder / "masks" / f"{frame:04d}.png"), mask)
        cv2.imwrite(str(folder / "frames" / f"{frame:04d}.png"), np.full((120, 160, 3), 90, np.uint8))
    return tuple(f"shot_{frame}.jpg" for frame in range(FRAMES)), folder / "frames", folder / "masks"


def test_measures_are_what_the_files_say(files: StageFiles) -> None:
    """Each value can be told from how the files were made; frames are named as the user knows them."""
    table = sequence_quality(files, open_hand(), "mug").set_index("measure")
    wanted = {
        "frames": 4,
        "frames with the object": 100,
        "frames with the hand": 75,
        "object's side in the image": 60,
        "frames with the object cut off": 25,
        "frames registered": 75,
        "reprojection error": 0.5,
        "features in the median frame": 70,
        "points of the object": 600,
        "frames with a hand": 75,
        "the network's confidence": 0.6,
        "model's key points off the network's": 0,
        "hand's distance to the object": 0,
    }
    for measure, value in wanted.items():
        tolerance = 2.0 if measure == "hand's distance to the object" else 1e-3  # the points' spacing, mm
        assert table.loc[measure, "value"] == pytest.approx(value, abs=tolerance), measure
    assert table.loc["frames registered", "frames"] == "shot_3"
    assert table.loc["frames with a hand", "frames"] == "shot_2"
    assert table.loc["frames with the object cut off", "frames"] == "shot_2"
    assert list(table.index) == [limits.measure for limits in LIMITS]


def test_verdicts_follow_the_limits_and_advise_only_where_needed(files: StageFiles) -> None:
    """Good measures need no advice; the others say what to do."""
    table = sequence_quality(files, open_hand(), "mug").set_index("measure")
    assert table.loc["reprojection error", "verdict"] == GOOD
    assert table.loc["features in the median frame", "verdict"] == FAIR
    assert table.loc["frames with the object cut off", "verdict"] == POOR
    assert table.loc["reprojection error", "advice"] == ""
    assert (table.loc[table["verdict"].isin([FAIR, POOR]), "advice"] != "").all()


@pytest.mark.parametrize(("value", "verdict"), [(95.0, GOOD), (94.9, FAIR), (80.0, FAIR), (79.9, POOR)])
def test_at_least(value: float, verdict: str) -> None:
    """Limits belong to the better side."""
    limits = next(limits for limits in LIMITS if limits.measure == "frames registered")
    assert limits.verdict(value) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(1.0, GOOD), (2.0, FAIR), (2.1, POOR), (np.nan, UNKNOWN)])
def test_at_most(value: float, verdict: str) -> None:
    """Where small is good, limits turn round; what is not known is not judged."""
    limits = next(limits for limits in LIMITS if limits.measure == "reprojection error")
    assert limits.verdict(value) == verdict


def test_sides_seen_of_one_view_and_of_a_full_turn() -> None:
    """One view shows a cap of (1 - cos 30 deg) / 2 of the sphere, a full turn a band of sin 30 deg of it."""
    points = np.random.default_rng(0).normal(size=(99, 3)) * 0.1
    points -= np.median(points, 0)
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    turns = np.tile(np.eye(4), (90, 1, 1))
    turns[:, :3, :3] = Rotation.from_rotvec(np.outer(angles, [0, 1, 0])).as_matrix()
    turns[:, 2, 3] = 4.0
    assert sides_seen(turns[:1], points) == pytest.approx((1 - np.cos(np.pi / 6)) / 2, abs=0.01)
    assert sides_seen(turns, points) == pytest.approx(0.5, abs=0.01)


def test_files_of_different_videos_are_refused(files: StageFiles, tmp_path: Path) -> None:
    """A stage that ran on another number of frames must not be judged with the others."""
    short = FramesFile(("a.jpg", "b.jpg", "c.jpg"), (0.0, 0.1, 0.2), "file", 160, 120, "video.mp4", None)
    write_frames_file(tmp_path / "short.json", short)
    with pytest.raises(InputError, match=r"short\.json: lists 3 frames, but the stages after it have"):
        sequence_quality(replace(files, frames_json=tmp_path / "short.json"), open_hand(), "mug")


def test_tables_are_gathered_and_printed(files: StageFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The overview has the rows of all sequences; names from outside cannot become HTML."""
    write_sequence_quality(files, open_hand(), tmp_path / "mug.csv", sequence="mug")
    assert "mug: features in the median frame 70 is fair; an object with more texture" in capsys.readouterr().out
    other = pd.read_csv(tmp_path / "mug.csv").assign(sequence="<b>can</b>")
    other.to_csv(tmp_path / "can.csv", index=False)
    write_quality_table([tmp_path / "mug.csv", tmp_path / "can.csv"], tmp_path / "all.csv", tmp_path / "all.html")
    assert len(pd.read_csv(tmp_path / "all.csv")) == 2 * len(LIMITS)
    html = (tmp_path / "all.html").read_text()
    assert "&lt;b&gt;can&lt;/b&gt;" in html
    assert "<b>can" not in html
