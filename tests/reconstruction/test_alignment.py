"""Alignment finds the object's scale and where the hand holds it; bad files are errors; HOLD's way also runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handloom.reconstruction.alignment import align_hand_object
from handloom.reconstruction.gradient_alignment import Schedule, align_by_gradient
from handloom.reconstruction.object_size import HAND_DEVIATION, POINTS_DEVIATION, largest_extent
from handloom.reconstruction.registration import register_hands
from handloom.reconstruction.tracks import HandPoses, SequencePoses
from handloom.runtime.config.hold_stages import AlignmentSettings, HandRegistrationSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_table

from .held_hand import METRES_PER_UNIT, HeldHand, error_mm, held_hand


def _prepared(folder: Path, scene: HeldHand, *, laid: bool = False, **changes: np.ndarray) -> dict[str, Path]:
    """The stage's files, with true hand poses or those `laid` onto the estimates; masks without a hand say nothing."""
    paths = {name: folder / f"{name}.npz" for name in ("estimates", "object_poses", "hand_poses", "aligned")}
    scene.estimates.save(paths["estimates"])
    replace(scene.object_poses, **changes).save(paths["object_poses"])
    if laid:
        files = {"estimates": paths["estimates"], "object_poses": paths["object_poses"], "poses": paths["hand_poses"]}
        register_hands(**files, registration=HandRegistrationSettings(iterations=40), seed=0)
    else:
        found = torch.ones(len(scene.joints_cam_m), dtype=torch.bool)
        HandPoses(**vars(scene.track), found=found, side=scene.model.side).save(paths["hand_poses"])
    (folder / "masks").mkdir()
    for frame in range(len(scene.joints_cam_m)):
        cv2.imwrite(str(folder / "masks" / f"{frame:04d}.png"), np.zeros((36, 48), np.uint8))
    return paths | {"masks": folder / "masks", "history": folder / "history.csv"}


def _aligned(paths: dict[str, Path], object_size_m: float | None = None, **settings: Any) -> SequencePoses:
    align_hand_object(**paths, alignment=AlignmentSettings(**settings), object_size_m=object_size_m, seed=0)
    return SequencePoses.load(paths["aligned"])


@pytest.mark.parametrize("drift_rad", [0.0, 0.8])
def test_scale_and_grasp_come_out_right(tmp_path: Path, drift_rad: float) -> None:
    """The hand is better than before alignment, lies where it should on the object, and the object has its size."""
    scene = held_hand(drift_rad=drift_rad)
    paths = _prepared(tmp_path, scene, laid=True)
    found = _aligned(paths, iterations=60)
    assert found.grasp == "held"
    assert float(found.object_scale) == pytest.approx(METRES_PER_UNIT, rel=0.06)
    assert HAND_DEVIATION < (found.size_deviation or 0) < 0.2
    before = HandPoses.load(paths["hand_poses"])
    joints, registered = (
        track.to(torch.float32).skinned(scene.model).keypoints_m.double() for track in (found.hand, before)
    )
    assert error_mm(joints, scene.joints_cam_m) < min(7.0, error_mm(registered, scene.joints_cam_m) + 1.0)
    true_object = METRES_PER_UNIT * torch.from_numpy(scene.object_poses.cam_from_object[:, None, :3, 3])
    on_object = joints - found.object_translation_m[:, None]
    assert (on_object - (scene.joints_cam_m - true_object)).mean(1).norm(dim=-1).mean() < 0.006
    history = read_table(paths["history"], ["step", "iteration", "loss", "object_scale"])
    assert list(dict.fromkeys(history["step"])) == ["h", "o", "ho"]
    last = history[history["step"] == "ho"]["loss"]
    assert last.iloc[-1] < last.iloc[0]


def test_a_known_scale_is_kept(tmp_path: Path) -> None:
    found = _aligned(_prepared(tmp_path, held_hand(frames=15)), iterations=10, object_scale=0.2)
    assert float(found.object_scale) == pytest.approx(0.2)


def test_a_known_size_fixes_the_scale(tmp_path: Path) -> None:
    scene = held_hand(frames=15)
    found = _aligned(_prepared(tmp_path, scene), object_size_m=0.25, iterations=10)
    assert float(found.object_scale) * largest_extent(scene.object_poses.points_object) == pytest.approx(0.25)
    assert found.object_extent_m == pytest.approx(0.25)
    assert found.size_deviation == POINTS_DEVIATION


def test_no_size_of_points_at_one_place(tmp_path: Path) -> None:
    paths = _prepared(tmp_path, held_hand(frames=6), points_object=np.ones((40, 3)))
    with pytest.raises(InputError, match=r"object_poses\.npz: all 40 object points are at one place"):
        _aligned(paths, object_size_m=0.25)


def test_a_free_hand_is_not_forced_onto_one_grasp(tmp_path: Path) -> None:
    scene = held_hand(drift_rad=5.0, noise=0.5)
    found = _aligned(_prepared(tmp_path, scene, laid=True), iterations=60)
    assert found.grasp == "free"
    assert error_mm(found.hand.to(torch.float32).skinned(scene.model).keypoints_m.double(), scene.joints_cam_m) < 15


def test_faithful_runs_in_three_modes(tmp_path: Path) -> None:
    scene = held_hand(frames=6)
    paths = _prepared(tmp_path, scene)
    schedules = {"h": Schedule(600, 1e-2, 1000), "o": Schedule(4, 1e-2, 2000), "ho": Schedule(4, 1e-3, 1000)}
    rows: list[dict[str, Any]] = []
    hand = HandPoses.load(paths["hand_poses"])
    align_by_gradient(scene.model, hand, scene.object_poses, scene.estimates, rows, schedules)
    assert [row["step"] for row in rows] == ["h"] * 600 + ["o"] * 4 + ["ho"] * 4
    assert rows[0]["learning_rate"] == pytest.approx(0.005)  # halved before the first step
    assert rows[599]["loss"] < 0.6 * rows[0]["loss"]


def test_files_of_different_videos_are_an_error(tmp_path: Path) -> None:
    scene = held_hand(frames=6)
    paths = _prepared(
        tmp_path, scene, cam_from_object=scene.object_poses.cam_from_object[:4], registered=np.ones(4, bool)
    )
    with pytest.raises(InputError, match="numbers of frames differ"):
        _aligned(paths)


def test_an_object_without_points_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"object_poses\.npz: holds no object points"):
        _aligned(_prepared(tmp_path, held_hand(frames=6), points_object=np.zeros((0, 3))))
