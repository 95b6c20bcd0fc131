"""Intermediates that hold NaN, lack an array or come from another video: every stage that reads one says so by name."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from handloom.datasets.frames_file import FramesFile, write_frames_file
from handloom.hand.open_hand import open_hand
from handloom.reconstruction.alignment import align_hand_object
from handloom.reconstruction.build_scene import AlignedScene
from handloom.reconstruction.hand_estimates import FoundHands, estimate_hands
from handloom.reconstruction.hand_registration import register_hands
from handloom.reconstruction.sequence_build import ALIGNED, build_sequence
from handloom.reconstruction.sequence_inputs import sequence_masks
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.hand_tracking import AlignmentSettings, HandEstimationSettings, HandRegistrationSettings
from handloom.runtime.config.hold import HoldSequenceSettings
from handloom.runtime.errors import InputError

from .compact.scene import FRAMES, HEIGHT, MODEL, WIDTH, held_box
from .held_hand import INTRINSICS, held_hand

NAMES = tuple(f"{number:04d}.jpg" for number in range(FRAMES))
REGISTRATION = HandRegistrationSettings(iterations=20)


def spoil(path: Path, kind: str, name: str) -> None:
    """Put one NaN into an array of an artifact."""
    arrays, header = read_arrays(path, kind)
    arrays[name] = np.array(arrays[name], dtype=np.float64)
    arrays[name].reshape(-1)[-1] = np.nan
    write_arrays(path, arrays, header)


def without(path: Path, kind: str, name: str) -> None:
    """Take an array out of an artifact."""
    arrays, header = read_arrays(path, kind)
    del arrays[name]
    write_arrays(path, arrays, header)


def write_alignment_inputs(folder: Path, frames: int = 6) -> dict[str, Path]:
    """What the alignment reads, with poses of zero: it must not come so far as to use them."""
    scene = held_hand(frames=frames)
    seen = scene.estimates
    paths = {name: folder / f"{name}.npz" for name in ("hand_poses", "object_poses", "hand_estimates")}
    poses = {
        "rotvec": np.zeros((frames, 16, 3), np.float32),
        "shape": np.zeros(scene.model.shape_count, np.float32),
        "translation_cam_m": np.tile(np.float32([0, 0, 0.5]), (frames, 1)),
        "found": np.ones(frames, bool),
    }
    thing = {
        "intrinsics": INTRINSICS.numpy(),
        "cam_from_object": scene.cam_from_object.numpy(),
        "registered": np.ones(frames, bool),
        "points_object": scene.points_object.numpy(),
    }
    estimates = {
        "joints_cam": seen.joints_cam_m.float().numpy(),
        "keypoints_px": seen.keypoints_px.float().numpy(),
        "confidence": seen.confidence.float().numpy(),
        "found": seen.found.numpy(),
    }
    for (kind, path), arrays in zip(paths.items(), (poses, thing, estimates), strict=True):
        write_arrays(path, arrays, Header(kind))
    return paths


def write_build_inputs(folder: Path) -> dict[str, Path]:
    """What the build's stage reads: the held box."""
    held = held_box()
    frames, masks = held.write_pictures(folder)
    scene = held.aligned()
    values = {field.name: np.asarray(getattr(scene, field.name)) for field in fields(AlignedScene)}
    write_arrays(folder / "aligned.npz", values, Header(ALIGNED))
    camera = {"intrinsics": held.intrinsics.double().numpy(), "radial": np.array(0.01)}
    write_arrays(folder / "object_poses.npz", camera, Header("object_poses"))
    times = tuple(float(number) for number in range(FRAMES))
    write_frames_file(folder / "frames.json", FramesFile(NAMES, times, "video", WIDTH, HEIGHT, "test", None))
    return {
        "aligned": folder / "aligned.npz",
        "object_poses": folder / "object_poses.npz",
        "frames": frames,
        "frames_json": folder / "frames.json",
        "masks": masks,
    }


ALIGNMENT_READS = [
    *(("hand_poses", name) for name in ("rotvec", "shape", "translation_cam_m")),
    *(("object_poses", name) for name in ("intrinsics", "cam_from_object", "points_object")),
]


@pytest.mark.parametrize(("kind", "name"), ALIGNMENT_READS)
@pytest.mark.parametrize(("change", "message"), [(spoil, "{name} holds NaN"), (without, r"lacks \['{name}'\]")])
def test_alignment_names_the_array(
    tmp_path: Path, kind: str, name: str, change: Callable[[Path, str, str], None], message: str
) -> None:
    """Protects the metric frame: one NaN in a pose would spread over all frames of the solver."""
    paths = write_alignment_inputs(tmp_path)
    change(paths[kind], kind, name)
    output = tmp_path / "aligned.npz"
    with pytest.raises(InputError, match=rf"{kind}\.npz: " + message.format(name=name)):
        align_hand_object(
            AlignmentSettings(), REGISTRATION, MODEL, **paths, output=output, history=tmp_path / "history.csv"
        )
    assert not output.exists()


@pytest.mark.parametrize("name", ["joints_cam", "keypoints_px", "confidence"])
def test_a_nan_estimate_is_a_missing_hand(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects registration from a network's NaN: the frame is interpolated and counted, all others stay finite."""
    frames = 12
    paths = write_alignment_inputs(tmp_path, frames)
    arrays, header = read_arrays(paths["hand_estimates"], "hand_estimates")
    arrays[name][5] = np.nan
    write_arrays(paths["hand_estimates"], arrays, header)
    output = tmp_path / "hands.npz"
    register_hands(REGISTRATION, MODEL, paths["hand_estimates"], paths["object_poses"], output)
    found, header = read_arrays(output, "hand_poses")
    assert np.flatnonzero(~found["found"]).tolist() == [5]
    assert header.extra["interpolated"] == "1"
    assert f"11 of {frames} frames registered, 1 interpolated" in capsys.readouterr().err
    assert all(np.isfinite(found[key]).all() for key in ("rotvec", "shape", "translation_cam_m"))


@pytest.mark.parametrize(("change", "message"), [(spoil, "intrinsics holds NaN"), (without, r"lacks \['intrinsics'\]")])
def test_hand_estimates_need_a_finite_camera(
    tmp_path: Path, change: Callable[[Path, str, str], None], message: str
) -> None:
    """Protects the joints' axes: a NaN camera would make every joint NaN, and every hand missing in the next stage."""
    for kind in ("frames", "masks"):
        (tmp_path / kind).mkdir()
        for number in range(2):
            picture = np.full((60, 80), 150, np.uint8)
            cv2.imwrite(str(tmp_path / kind / f"{number:04d}.png"), picture)

    def knowing(given: list, squares: object, side: str) -> FoundHands:
        joints = torch.randn(len(given), 21, 3, generator=torch.Generator().manual_seed(0)).double()
        return FoundHands(joints, 30 + joints[..., :2], torch.ones(len(given), 21).double())

    camera = tmp_path / "object_poses.npz"
    write_arrays(camera, {"intrinsics": INTRINSICS.numpy()}, Header("object_poses"))
    change(camera, "object_poses", "intrinsics")
    settings, places = HandEstimationSettings(), (tmp_path / "frames", tmp_path / "masks", None, camera)
    with pytest.raises(InputError, match=rf"object_poses\.npz: {message}"):
        estimate_hands(settings, open_hand(), *places, tmp_path / "hands.npz", estimator=knowing)
    assert not (tmp_path / "hands.npz").exists()


@pytest.mark.parametrize("name", [field.name for field in fields(AlignedScene)])
@pytest.mark.parametrize(("change", "message"), [(spoil, "holds? NaN"), (without, "lacks")])
def test_the_build_names_the_array_of_the_alignment(
    tmp_path: Path, name: str, change: Callable[[Path, str, str], None], message: str
) -> None:
    """Protects HOLD's folder, which others train on: nothing is written, also for the scale, which is one number."""
    inputs = write_build_inputs(tmp_path)
    change(inputs["aligned"], ALIGNED, name)
    with pytest.raises(InputError, match=rf"aligned\.npz: ({name} {message}|{message}.*{name})"):
        build_sequence(MODEL, **inputs, output=tmp_path / "build", sequence="box")
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("name", ["intrinsics", "radial"])
@pytest.mark.parametrize(("change", "message"), [(spoil, "holds? NaN"), (without, "lacks")])
def test_the_build_needs_a_finite_camera(
    tmp_path: Path, name: str, change: Callable[[Path, str, str], None], message: str
) -> None:
    """Protects the pictures: a NaN in the distortion would undistort every frame into one colour, without a word."""
    inputs = write_build_inputs(tmp_path)
    change(inputs["object_poses"], "object_poses", name)
    with pytest.raises(InputError, match=rf"object_poses\.npz: ({name} {message}|{message}.*{name})"):
        build_sequence(MODEL, **inputs, output=tmp_path / "build", sequence="box")
    assert not (tmp_path / "build").exists()


def write_masks_of_build(folder: Path, without: dict[int, list[int]]) -> HoldSequenceSettings:
    """A build folder's masks, some labels taken out of some frames, and frames.json beside it."""
    inputs = write_build_inputs(folder)
    (folder / "build").mkdir()
    for number, path in enumerate(sorted(inputs["masks"].iterdir())):
        labels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        for label, frames in without.items():
            labels[(labels == label) & (number in frames)] = 0
        cv2.imwrite(str(path), labels)
    inputs["masks"].rename(folder / "build" / "mask")
    return HoldSequenceSettings(kind="build", path=str(folder / "build"))


def test_masks_of_a_data_set_that_lose_something_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects from silent gaps: masks that come with the data are counted as estimated ones are."""
    settings = write_masks_of_build(tmp_path, {50: [1], 150: [3, 4]})
    sequence_masks(settings, tmp_path / "frames", tmp_path / "frames.json", tmp_path / "out", tmp_path / "masks.png")
    said = capsys.readouterr().err
    assert f"no object in 1 of {FRAMES} frames: 0001.jpg" in said
    assert f"no hand in 2 of {FRAMES} frames: 0003.jpg, 0004.jpg" in said


@pytest.mark.parametrize(("label", "what"), [(50, "the object"), (150, "a hand")])
def test_masks_of_a_data_set_without_an_entity_are_refused(tmp_path: Path, label: int, what: str) -> None:
    """Protects all later stages: nothing to reconstruct is an error of the masks, and no folder appears."""
    settings = write_masks_of_build(tmp_path, {label: list(range(FRAMES))})
    with pytest.raises(InputError, match=f"none of the {FRAMES} masks shows {what}"):
        sequence_masks(
            settings, tmp_path / "frames", tmp_path / "frames.json", tmp_path / "out", tmp_path / "masks.png"
        )
    assert not (tmp_path / "out").exists()
