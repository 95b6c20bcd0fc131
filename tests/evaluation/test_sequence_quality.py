"""The quality table: its measures against closed forms, its verdicts, and files that do not belong together."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.transform import Rotation

from handloom.datasets.frames import Frames
from handloom.estimators.hands.found import FoundHands
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.estimators.sfm.seams import Tear
from handloom.evaluation.sequence_quality import (
    EXCHANGED,
    FAIR,
    GOOD,
    LIMITS,
    POOR,
    UNHARMED,
    UNKNOWN,
    sides_seen,
    write_hold_quality,
    write_sequence_quality,
)
from handloom.geometry.camera import project
from handloom.hand.models import open_hand, write_open_hand
from handloom.reconstruction.shape.object_shape import ObjectShape
from handloom.reconstruction.tracks import HandTrack, ObjectTrack, SequencePoses
from handloom.runtime.errors import InputError

from ..stage_files import found_hands, object_poses

FRAMES = 4
Files = dict[str, Path]
INTRINSICS = np.array([[200.0, 0, 80], [0, 200, 60], [0, 0, 1]])


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A hand that touches a cloud of points before the camera; frame 2 has no hand and an object at the edge."""
    model, (names, pixels, masks) = open_hand(), _pictures(tmp_path)
    place = torch.tensor([0.0, 0.0, 0.5]).repeat(FRAMES, 1)
    hand = HandTrack(torch.zeros(FRAMES, 16, 3), torch.zeros(model.shape_count), place)
    posed = hand.skinned(model)
    keypoints = project(posed.keypoints_m.numpy(), INTRINSICS)
    found = np.array([True, True, False, True])
    keypoints[~found] = np.nan
    turns = np.tile(np.eye(4), (FRAMES, 1, 1))
    turns[:, :3, :3] = Rotation.from_rotvec(np.outer(np.arange(FRAMES) * np.pi / 2, [0, 1, 0])).as_matrix()
    turns[:, 2, 3] = 5.0
    points = np.random.default_rng(3).uniform(-0.01, 0.01, (600, 3))
    times = tuple(np.arange(FRAMES) / 30)
    Frames(pixels, names, times, "file", 160, 120, "video.mp4", INTRINSICS).write_list(tmp_path / "frames.json")
    paths = {name: tmp_path / f"{name}.npz" for name in ("object_poses", "hand_estimates", "aligned", "shape")}
    seen = {"reprojection_px": 0.5, "intrinsics": INTRINSICS, "median_features": 70}
    object_poses(turns, points, registered=np.arange(FRAMES) < 3, **seen).save(paths["object_poses"])
    confidence = np.where(found[:, None], 0.6, 0.0).repeat(21, 1)
    hands = found_hands(np.zeros((FRAMES, 21, 3)), keypoints, found=found, confidence=confidence)
    hands.save(paths["hand_estimates"])
    contact = posed.vertices_m[:1, 100].repeat(FRAMES, 1)
    thing = ObjectTrack(torch.eye(3).repeat(FRAMES, 1, 1), contact, torch.ones(()))
    aligned = SequencePoses.of(hand, thing, "right")
    replace(aligned, size_deviation=0.125, object_extent_m=0.146).save(paths["aligned"])
    ObjectShape(torch.zeros(1, 8, 8, 8), "labelled", 0.01, 0.75, 0.3).save(paths["shape"])
    return {"frames_json": tmp_path / "frames.json", "frames": pixels, "masks": masks, **paths}


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


def quality(files: Files) -> pd.DataFrame:
    """The table as written, by measure."""
    path = files["aligned"].with_name("quality.csv")
    write_sequence_quality(**files, table=path, sequence="mug")
    return pd.read_csv(path, keep_default_na=False, na_values={"value": [""]}).set_index("measure")


def test_measures_are_what_the_files_say(files: Files) -> None:
    """Each value can be told from how the files were made; frames are named as the user knows them."""
    table = quality(files)
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
        "frames that show the named side": 100,
        "model's key points off the network's": 0,
        "hand's distance to the object": 0,
        "object's size, how unsure": 12.5,
        "object's pixels with a confirmed depth": 75,
        "hull seen as hand and as object": 1,
        "surface never seen": 30,
    }
    for measure, value in wanted.items():
        tolerance = 2.0 if measure == "hand's distance to the object" else 1e-3  # the points' spacing, mm
        assert table.loc[measure, "value"] == pytest.approx(value, abs=tolerance), measure
    assert table.loc["frames registered", "frames"] == "shot_3"
    assert table.loc["frames with a hand", "frames"] == "shot_2"
    assert table.loc["frames with the object cut off", "frames"] == "shot_2"
    advice = table.loc["object's size, how unsure", "advice"]
    assert advice.startswith("146 mm across, +- 12 %")
    assert "hold.sequences.mug.object_size_m" in advice
    assert list(table.index) == [limits.measure for limits in LIMITS]


def test_verdicts_follow_the_limits_and_advise_only_where_needed(files: Files) -> None:
    """Good measures need no advice; the others say what to do."""
    table = quality(files)
    assert table.loc["reprojection error", "verdict"] == UNHARMED
    assert table.loc["frames that show the named side", "verdict"] == GOOD
    assert table.loc["features in the median frame", "verdict"] == FAIR
    assert table.loc["frames with the object cut off", "verdict"] == POOR
    assert table.loc["reprojection error", "advice"].startswith("cannot see poses that are wrong together")
    assert table.loc["frames that show the named side", "advice"] == ""
    assert (table.loc[table["verdict"].isin([FAIR, POOR]), "advice"] != "").all()


def test_a_camera_that_nobody_gave_is_told_to_be_a_guess(files: Files) -> None:
    guessed = replace(ObjectPoses.load(files["object_poses"]), focal_guess="a usual field of view of 60 degrees")
    guessed.save(files["object_poses"])
    advice = quality(files).loc["reprojection error", "advice"]
    assert f"{INTRINSICS[0, 0]:.0f} px was estimated from a usual field of view of 60 degrees" in advice
    assert "camera_px" in advice


def test_a_cut_is_poor_and_says_where_why_and_what_helps(files: Files) -> None:
    """Registered frames and reprojection errors are good in wrong models too."""
    cut = Tear(1, 2, link_share=0.05, shared_points=0, turn_deg=22.0, flat=True, features=90)
    share = np.array([0.95, np.nan, 0.6, np.nan])
    poses = replace(ObjectPoses.load(files["object_poses"]), cuts=(cut,), link_share=share)
    poses.save(files["object_poses"])
    row = quality(files).loc["places where it fell apart"]
    assert (row["value"], row["verdict"], row["frames"]) == (1, POOR, "shot_1 shot_2")
    assert "shot_1 | shot_2 (one flat face in view, 22 degrees a frame, 90 features)" in row["advice"]
    assert "more slowly" in row["advice"]
    replace(poses, cuts=()).save(files["object_poses"])
    table = quality(files)
    assert table.loc["places where it fell apart", "verdict"] == UNHARMED
    assert (table.loc["weakest seam", "value"], table.loc["weakest seam", "verdict"]) == (95, UNHARMED)


def test_poses_that_nobody_judged_are_not_called_whole(files: Files) -> None:
    assert quality(files).loc["places where it fell apart", "verdict"] == UNKNOWN


def test_limits_belong_to_the_better_side() -> None:
    """At least so much, or, where small is good, at most; what is not known is not judged."""
    share, error = (next(limits for limits in LIMITS if limits.measure == name)
                    for name in ("frames registered", "reprojection error"))  # fmt: skip
    assert [share.verdict(value) for value in (95.0, 94.9, 80.0, 79.9)] == [GOOD, FAIR, FAIR, POOR]
    assert [error.verdict(value) for value in (1.0, 2.0, 2.1, np.nan)] == [GOOD, FAIR, POOR, UNKNOWN]


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


def test_files_of_different_videos_are_refused(files: Files, tmp_path: Path) -> None:
    """A stage that ran on another number of frames must not be judged with the others."""
    (files["frames"] / "0003.png").unlink()
    short = Frames(files["frames"], ("a.jpg", "b.jpg", "c.jpg"), (0.0, 0.1, 0.2), "file", 160, 120, "video.mp4", None)
    short.write_list(files["frames_json"])
    with pytest.raises(InputError, match=r"frames\.json: lists 3 frames, but the stages after it have"):
        quality(files)


def test_hands_that_change_places_are_told(files: Files, tmp_path: Path) -> None:
    """Of two hands each has its rows, and a mask that goes on with the other hand is seen by where it jumps to."""
    models = [tmp_path / f"{side}.npz" for side in ("right", "left")]
    for side, path in zip(("right", "left"), models, strict=True):
        write_open_hand(path, side=side)
    right, aligned = FoundHands.load(files["hand_estimates"]), SequencePoses.load(files["aligned"])
    points = right.keypoints_px
    apart = np.array([40.0, 0.0])
    SequencePoses.save_each(files["aligned"], {"right": aligned, "left": replace(aligned, side="left")})
    for swapped in ([], [3]):
        places = {"right": points.copy(), "left": points + apart}
        for frame in swapped:
            places["right"][frame], places["left"][frame] = points[frame] + apart, points[frame]
        hands = {side: replace(right, keypoints_px=each, side=side) for side, each in places.items()}
        FoundHands.save_each(files["hand_estimates"], hands)
        write_sequence_quality(**files, table=tmp_path / "mug.csv", sequence="mug", hand=models)
        table = pd.read_csv(tmp_path / "mug.csv").set_index("measure")
        told = table.loc[EXCHANGED.measure]
        assert told["value"] == len(swapped)
        assert told["verdict"] == ("poor" if swapped else "no fault seen")
        assert str(told["frames"]) == ("shot_3" if swapped else "nan")
    assert {"frames with a hand, right", "frames with a hand, left"} <= set(table.index)
    assert len(table) == len(LIMITS) + 1 + sum("right" in name for name in table.index)


def test_tables_are_gathered_and_printed(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The overview has the rows of all sequences; names from outside cannot become HTML."""
    write_sequence_quality(**files, table=tmp_path / "mug.csv", sequence="mug")
    assert "mug: features in the median frame 70 is fair; an object with more texture" in capsys.readouterr().out
    other = pd.read_csv(tmp_path / "mug.csv").assign(sequence="<b>can</b>")
    other.to_csv(tmp_path / "can.csv", index=False)
    write_hold_quality([tmp_path / "mug.csv", tmp_path / "can.csv"], tmp_path / "all.csv", tmp_path / "all.html")
    assert len(pd.read_csv(tmp_path / "all.csv")) == 2 * len(LIMITS)
    html = (tmp_path / "all.html").read_text()
    assert "&lt;b&gt;can&lt;/b&gt;" in html
    assert "<b>can" not in html
