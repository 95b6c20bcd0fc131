"""The stage that writes `build/`: the aligned scene comes back from it, and files that do not fit are named."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.datasets.frames_file import FramesFile, write_frames_file
from handloom.reconstruction.build_folder import read_build, read_pictures
from handloom.reconstruction.build_scene import AlignedScene
from handloom.reconstruction.compact.scene_input import poses_of
from handloom.reconstruction.sequence_build import ALIGNED, build_sequence
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.errors import InputError

from .compact.scene import FRAMES, HEIGHT, MODEL, WIDTH, held_box

NAMES = tuple(f"frame{number}.jpg" for number in range(FRAMES))


def write_inputs(folder: Path, *, radial: float = 0.0, names: tuple[str, ...] = NAMES) -> tuple[Path, ...]:
    """Files of the stages before, in the order of the stage's arguments."""
    held = held_box()
    frames, masks = held.write_pictures(folder)
    scene = held.aligned()
    values = {field.name: getattr(scene, field.name) for field in fields(AlignedScene)}
    write_arrays(folder / "aligned.npz", {name: np.asarray(value) for name, value in values.items()}, Header(ALIGNED))
    camera = {"intrinsics": held.intrinsics.double().numpy(), "radial": np.array(radial)}
    write_arrays(folder / "object_poses.npz", camera, Header("object_poses"))
    times = tuple(float(number) for number in range(len(names)))
    write_frames_file(folder / "frames.json", FramesFile(names, times, "video", WIDTH, HEIGHT, "test", None))
    return folder / "aligned.npz", folder / "object_poses.npz", frames, folder / "frames.json", masks


def test_the_build_folder_holds_the_aligned_scene(tmp_path: Path) -> None:
    """Protects the hand-over to the training: names, pictures and poses are those of the stages before."""
    held = held_box()
    build_sequence(MODEL, *write_inputs(tmp_path), tmp_path / "build", sequence="box")
    scene = read_build(tmp_path / "build", {"right": MODEL})
    assert (scene.sequence, scene.names) == ("box", NAMES)
    images, masks = read_pictures(scene)
    np.testing.assert_array_equal(images, held.image_u8.numpy())
    assert set(np.unique(masks)) == {0, 50, 150}
    found = poses_of(scene, MODEL)
    torch.testing.assert_close(found.hand_translation_m, held.poses.hand_translation_m, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.object_translation_m, held.poses.object_translation_m, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.object_scale, held.poses.object_scale)


def test_lens_distortion_is_taken_out_of_frames_and_masks(tmp_path: Path) -> None:
    """Protects HOLD's pinhole camera: distorted pictures are not copied as they are, labels do not mix."""
    build_sequence(MODEL, *write_inputs(tmp_path, radial=0.3), tmp_path / "build", sequence="box")
    images, masks = read_pictures(read_build(tmp_path / "build", {"right": MODEL}))
    assert (images != held_box().image_u8.numpy()).mean() > 0.1
    assert set(np.unique(masks)) <= {0, 50, 150}


def test_files_of_different_lengths_are_refused(tmp_path: Path) -> None:
    """Protects against a stale file between stages: all counts are told, and nothing is written."""
    inputs = write_inputs(tmp_path, names=NAMES[:-1])
    with pytest.raises(InputError, match=r"numbers of frames differ.*frames\.json.*: 7.*run the rules"):
        build_sequence(MODEL, *inputs, tmp_path / "build", sequence="box")
    assert not (tmp_path / "build").exists()
