"""Alignment finds the object's scale and where the hand holds it; bad files are errors; HOLD's way also runs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.hand.mano import skin
from handloom.reconstruction.alignment import align_hand_object
from handloom.reconstruction.gradient_alignment import Schedule
from handloom.reconstruction.hand_registration import register_hands
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.hand_tracking import AlignmentSettings, HandRegistrationSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_table

from .held_hand import INTRINSICS, METRES_PER_UNIT, HeldHand, error_mm, held_hand

REGISTRATION = HandRegistrationSettings(iterations=40)


def _prepared(folder: Path, scene: HeldHand, **changes: np.ndarray) -> dict[str, Path]:
    seen = scene.estimates
    frames = len(seen.found)
    estimates = {
        "joints_cam": seen.joints_cam_m.float().numpy(),
        "keypoints_px": seen.keypoints_px.float().numpy(),
        "confidence": seen.confidence.float().numpy(),
        "found": seen.found.numpy(),
    }
    write_arrays(folder / "estimates.npz", estimates, Header("hand_estimates"))
    thing = {
        "intrinsics": INTRINSICS.numpy(),
        "cam_from_object": scene.cam_from_object.numpy(),
        "registered": np.ones(frames, bool),
        "points_object": scene.points_object.numpy(),
    }
    write_arrays(folder / "object.npz", thing, Header("object_poses"))
    register_hands(REGISTRATION, scene.model, folder / "estimates.npz", folder / "object.npz", folder / "hand.npz")
    write_arrays(folder / "object.npz", thing | changes, Header("object_poses"))
    return {
        "hand_poses": folder / "hand.npz",
        "object_poses": folder / "object.npz",
        "hand_estimates": folder / "estimates.npz",
        "output": folder / "aligned.npz",
        "history": folder / "history.csv",
    }


def _hand_joints_m(scene: HeldHand, arrays: dict[str, np.ndarray]) -> torch.Tensor:
    frames = len(arrays["hand_rotvec"])
    return skin(
        scene.model,
        pose_rotvec=torch.from_numpy(arrays["hand_rotvec"]),
        shape=torch.from_numpy(arrays["hand_shape"]).expand(frames, -1),
        translation_m=torch.from_numpy(arrays["hand_translation_cam_m"]),
    ).keypoints_m.double()


@pytest.mark.parametrize("drift_rad", [0.0, 0.8])
def test_scale_and_grasp_come_out_right(tmp_path, drift_rad):
    """The hand is better than before alignment, lies where it should on the object, and the object has its size."""
    scene = held_hand(drift_rad=drift_rad)
    paths = _prepared(tmp_path, scene)
    before, _ = read_arrays(paths["hand_poses"], "hand_poses")
    settings = AlignmentSettings(iterations=60)
    align_hand_object(settings, REGISTRATION, scene.model, **paths)
    arrays, header = read_arrays(paths["output"], "aligned")
    assert header.extra["grasp"] == "held"
    assert float(arrays["object_scale"]) == pytest.approx(METRES_PER_UNIT, rel=0.06)
    found = _hand_joints_m(scene, arrays)
    registered = _hand_joints_m(
        scene,
        {
            "hand_rotvec": before["rotvec"],
            "hand_shape": before["shape"],
            "hand_translation_cam_m": before["translation_cam_m"],
        },
    )
    assert error_mm(found, scene.joints_cam_m) < min(7.0, error_mm(registered, scene.joints_cam_m) + 1.0)
    true_object = METRES_PER_UNIT * scene.cam_from_object[:, None, :3, 3]
    on_object = found - torch.from_numpy(arrays["object_translation_m"])[:, None]
    assert (on_object - (scene.joints_cam_m - true_object)).mean(1).norm(dim=-1).mean() < 0.006
    history = read_table(paths["history"], ["step", "iteration", "loss", "object_scale"])
    assert list(dict.fromkeys(history["step"])) == ["h", "o", "ho"]
    last = history[history["step"] == "ho"]["loss"]
    assert last.iloc[-1] < last.iloc[0]


def test_a_known_scale_is_kept(tmp_path):
    scene = held_hand(frames=15)
    paths = _prepared(tmp_path, scene)
    align_hand_object(AlignmentSettings(iterations=10, object_scale=0.2), REGISTRATION, scene.model, **paths)
    arrays, _ = read_arrays(paths["output"], "aligned")
    assert float(arrays["object_scale"]) == pytest.approx(0.2)


def test_a_free_hand_is_not_forced_onto_one_grasp(tmp_path):
    scene = held_hand(drift_rad=5.0, noise=0.5)
    paths = _prepared(tmp_path, scene)
    align_hand_object(AlignmentSettings(iterations=60), REGISTRATION, scene.model, **paths)
    arrays, header = read_arrays(paths["output"], "aligned")
    assert header.extra["grasp"] == "free"
    assert error_mm(_hand_joints_m(scene, arrays), scene.joints_cam_m) < 15


def test_faithful_runs_in_three_modes(tmp_path):
    scene = held_hand(frames=6)
    paths = _prepared(tmp_path, scene)
    schedules = {"h": Schedule(600, 1e-2, 1000), "o": Schedule(4, 1e-2, 2000), "ho": Schedule(4, 1e-3, 1000)}
    settings = AlignmentSettings(fidelity="faithful")
    align_hand_object(settings, REGISTRATION, scene.model, **paths, schedules=schedules)
    history = read_table(paths["history"], ["step", "iteration", "loss", "learning_rate"])
    assert history["step"].value_counts().to_dict() == {"h": 600, "o": 4, "ho": 4}
    assert history["learning_rate"].iloc[0] == pytest.approx(0.005)  # halved before the first step
    hand = history[history["step"] == "h"]["loss"]
    assert hand.iloc[-1] < 0.6 * hand.iloc[0]


def test_nan_in_the_objects_poses_is_an_error(tmp_path):
    scene = held_hand(frames=6)
    poses = scene.cam_from_object.numpy().copy()
    poses[2] = np.nan
    paths = _prepared(tmp_path, scene, cam_from_object=poses)
    with pytest.raises(InputError, match="cam_from_object holds NaN"):
        align_hand_object(AlignmentSettings(), REGISTRATION, scene.model, **paths)


def test_files_of_different_videos_are_an_error(tmp_path):
    scene = held_hand(frames=6)
    paths = _prepared(tmp_path, scene, cam_from_object=scene.cam_from_object[:4].numpy(), registered=np.ones(4, bool))
    with pytest.raises(InputError, match="numbers of frames differ"):
        align_hand_object(AlignmentSettings(), REGISTRATION, scene.model, **paths)
