"""Masks and object poses come from where the settings say, and a source that has none says what to do instead."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from handloom.datasets.frames_file import FramesFile, read_frames_file, write_frames_file
from handloom.datasets.video import extract_frames
from handloom.reconstruction import sequence_inputs
from handloom.reconstruction.sequence_inputs import sequence_masks, sequence_object_poses
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.config.hold import HoldSequenceSettings
from handloom.runtime.config.masks import MaskFilesSettings, MaskSettings
from handloom.runtime.config.sequences import SequenceKind
from handloom.runtime.config.sfm import SfmSettings
from handloom.runtime.errors import InputError

from ..datasets.ho3d_files import CAMERA, FLIP, FRAMES, SIZE, SequenceWriter  # noqa: TID252 (the tests are no package)

KNOWN = SfmSettings(backend="known")


@pytest.fixture
def writer(tmp_path: Path) -> SequenceWriter:
    return SequenceWriter(tmp_path / "HO3D")


def extracted(settings: HoldSequenceSettings, folder: Path) -> tuple[Path, Path]:
    frames, frames_json = folder / "frames", folder / "frames.json"
    extract_frames(settings, frames, frames_json)
    return frames, frames_json


def ho3d(writer: SequenceWriter, **more: object) -> HoldSequenceSettings:
    return HoldSequenceSettings(kind="ho3d", path=str(writer.write()), **more)


def plain(tmp_path: Path, kind: SequenceKind) -> tuple[HoldSequenceSettings, Path, Path]:
    """A sequence of two grey frames whose source knows neither masks nor poses."""
    frames = tmp_path / "frames"
    frames.mkdir(parents=True)
    for number in range(2):
        cv2.imwrite(str(frames / f"{number:04d}.png"), np.full((24, 32, 3), 90, np.uint8))
    names = ("a.jpg", "b.jpg")
    write_frames_file(tmp_path / "frames.json", FramesFile(names, (0.0, 0.1), "video", 32, 24, "source", None))
    return HoldSequenceSettings(kind=kind, path="somewhere"), frames, tmp_path / "frames.json"


def test_masks_of_ho3d_are_its_own(writer: SequenceWriter, tmp_path: Path) -> None:
    """Protects the default source: rendered segmentations become labels, one per chosen frame, with a picture."""
    settings = ho3d(writer, first=1)
    frames, frames_json = extracted(settings, tmp_path)
    sequence_masks(settings, frames, frames_json, tmp_path / "masks", tmp_path / "masks.png")
    masks = sorted((tmp_path / "masks").iterdir())
    assert [path.name for path in masks] == ["0000.png", "0001.png", "0002.png"]
    labels = cv2.imread(str(masks[0]), cv2.IMREAD_GRAYSCALE)
    assert labels.shape == (SIZE[1], SIZE[0])
    assert set(np.unique(labels)) == {0, 50, 150}
    assert cv2.imread(str(tmp_path / "masks.png")) is not None


@pytest.mark.parametrize("kind", ["video", "frames"])
def test_a_source_without_masks_says_what_to_set(tmp_path: Path, kind: SequenceKind) -> None:
    """Protects users with a video of their own: the message names the setting and both ways out, nothing is written."""
    settings, frames, frames_json = plain(tmp_path, kind)
    with pytest.raises(InputError, match=f"kind {kind}, which brings no masks; set masks.source to propagation"):
        sequence_masks(settings, frames, frames_json, tmp_path / "masks", tmp_path / "masks.png")
    assert not (tmp_path / "masks").exists()


def test_masks_from_files_are_found_by_the_frames_own_names(tmp_path: Path) -> None:
    """Protects the other sources: they get the names from before the extraction."""
    settings, frames, frames_json = plain(tmp_path, "frames")
    given = tmp_path / "given"
    given.mkdir()
    for number, name in enumerate(("a.png", "b.png")):
        labels = np.zeros((24, 32), np.uint8)
        labels[:8], labels[8 : 12 + number] = 50, 150
        cv2.imwrite(str(given / name), labels)
    files = MaskSettings(source="files", files=MaskFilesSettings(folder=str(given)))
    settings = settings.model_copy(update={"masks": files})
    sequence_masks(settings, frames, frames_json, tmp_path / "masks", tmp_path / "masks.png")
    for found, name in (("0000.png", "a.png"), ("0001.png", "b.png")):
        labels = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (tmp_path / "masks" / found, given / name)]
        np.testing.assert_array_equal(*labels)


def test_known_poses_of_ho3d_are_those_of_its_annotation(writer: SequenceWriter, tmp_path: Path) -> None:
    """Protects the axes and the choice of frames: x_cam = D (R x + t), only the rows that were extracted."""
    settings = ho3d(writer, every=2)
    frames, frames_json = extracted(settings, tmp_path)
    output = tmp_path / "object_poses.npz"
    picture = tmp_path / "poses.png"
    sequence_object_poses(KNOWN, settings, frames, frames_json, tmp_path / "masks", output, picture, seed=1)
    found, _ = read_arrays(output, "object_poses")
    np.testing.assert_allclose(found["intrinsics"], CAMERA)
    np.testing.assert_allclose(np.sort(found["points_object"], 0), np.sort(writer.corners, 0), atol=1e-6)
    assert found["registered"].tolist() == [True, True]
    for row, frame in enumerate(range(0, FRAMES, 2)):
        turn, shift = found["cam_from_object"][row, :3, :3], found["cam_from_object"][row, :3, 3]
        np.testing.assert_allclose(writer.corners @ turn.T + shift, writer.object_points_gl(frame) @ FLIP, atol=1e-9)
    assert cv2.imread(str(picture)) is not None


@pytest.mark.parametrize("kind", ["video", "frames", "build"])
def test_a_source_without_poses_says_what_to_set(tmp_path: Path, kind: SequenceKind) -> None:
    """Protects users who ask for known poses of a source that has none."""
    settings, frames, frames_json = plain(tmp_path, kind)
    output = tmp_path / "object_poses.npz"
    with pytest.raises(InputError, match=f"kind {kind}, which brings no object poses; set hold.sfm.backend"):
        sequence_object_poses(
            KNOWN, settings, frames, frames_json, tmp_path / "masks", output, tmp_path / "poses.png", seed=1
        )
    assert not output.exists()


@pytest.mark.parametrize("known", [True, False])
def test_structure_from_motion_is_given_the_known_camera(
    writer: SequenceWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Protects the hand-over to SfM: the source's camera and the seed, or no camera where none is known."""
    settings, frames, frames_json = plain(tmp_path / "plain", "frames") if not known else (ho3d(writer), None, None)
    if frames is None or frames_json is None:
        frames, frames_json = extracted(settings, tmp_path)
    calls = []

    def no_picture(*_: object) -> None:
        pass

    def estimate(*args: object, **named: object) -> None:
        calls.append(named)

    monkeypatch.setattr(sequence_inputs, "estimate_object_poses", estimate)
    monkeypatch.setattr(sequence_inputs, "object_pose_sheet", no_picture)
    places = frames, frames_json, tmp_path / "masks", tmp_path / "poses.npz", tmp_path / "poses.png"
    sequence_object_poses(SfmSettings(), settings, *places, seed=7)
    assert len(calls) == 1
    assert calls[0]["seed"] == 7
    if known:
        np.testing.assert_allclose(calls[0]["known_intrinsics"], read_frames_file(frames_json).intrinsics)
    else:
        assert calls[0]["known_intrinsics"] is None
