"""From an aligned sequence to `build/`: it comes back from there, lies in HOLD's sphere, or is refused by frame."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.datasets.frames import Frames
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.reconstruction.build_folder import read_build, read_pictures
from handloom.reconstruction.build_scene import build_sequence, place_scene, unit_sphere_from_points
from handloom.runtime.errors import InputError

from .held_box import FRAMES, HEIGHT, MODEL, WIDTH, held_box

NAMES = tuple(f"frame{number}.jpg" for number in range(FRAMES))


def write_inputs(folder: Path, *, radial: float = 0.0, rows: int = FRAMES) -> dict[str, Path]:
    """Files of the stages before, as the stage takes them, with so many frames."""
    held = held_box()
    frames, masks = held.write_pictures(folder, rows)
    held.poses.save(folder / "aligned.npz")
    held.object_poses(radial=radial).save(folder / "object_poses.npz")
    times = tuple(float(number) for number in range(rows))
    listed = Frames(frames, NAMES[:rows], times, "video", WIDTH, HEIGHT, "test", None)
    listed.write_list(folder / "frames.json")
    named = {name: folder / f"{name}.npz" for name in ("aligned", "object_poses")}
    return named | {"frames": frames, "frames_json": folder / "frames.json", "masks": masks}


def test_the_build_folder_holds_the_aligned_scene(tmp_path: Path) -> None:
    """Protects the hand-over to the training: names, pictures and poses are those of the stages before."""
    held = held_box()
    build_sequence(**write_inputs(tmp_path), build=tmp_path / "build", sequence="box")
    scene = read_build(tmp_path / "build", {"right": MODEL})
    assert (scene.sequence, scene.names) == ("box", NAMES)
    images, masks = read_pictures(scene)
    np.testing.assert_array_equal(images, held.image_u8.numpy())
    assert set(np.unique(masks)) == {0, 50, 150}
    found = scene.poses_cam(MODEL)
    torch.testing.assert_close(found.hand_translation_m, held.poses.hand_translation_m, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.object_translation_m, held.poses.object_translation_m, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.object_scale, held.poses.object_scale)


def test_frames_without_a_right_pose_are_left_out(tmp_path: Path) -> None:
    """Protects the training from poses that were held over a cut; frames keep their own poses, names and pictures."""
    held, inputs = held_box(), write_inputs(tmp_path)
    cut = replace(ObjectPoses.load(inputs["object_poses"]), registered=np.arange(FRAMES) >= 3)
    cut.save(inputs["object_poses"])
    build_sequence(**inputs, build=tmp_path / "build", sequence="box")
    scene = read_build(tmp_path / "build", {"right": MODEL})
    assert scene.names == NAMES[3:]
    np.testing.assert_array_equal(read_pictures(scene)[0], held.image_u8.numpy()[3:])
    found, wanted = scene.poses_cam(MODEL), held.poses.object_translation_m[3:]
    torch.testing.assert_close(found.object_translation_m, wanted, atol=1e-5, rtol=0)


def test_lens_distortion_is_taken_out_of_frames_and_masks(tmp_path: Path) -> None:
    """Protects HOLD's pinhole camera: distorted pictures are not copied as they are, labels do not mix."""
    build_sequence(**write_inputs(tmp_path, radial=0.3), build=tmp_path / "build", sequence="box")
    images, masks = read_pictures(read_build(tmp_path / "build", {"right": MODEL}))
    assert (images != held_box().image_u8.numpy()).mean() > 0.1
    assert set(np.unique(masks)) <= {0, 50, 150}


def test_files_of_different_lengths_are_refused(tmp_path: Path) -> None:
    """Protects against a stale file between stages: both counts are told, and nothing is written."""
    inputs = write_inputs(tmp_path, rows=7)
    with pytest.raises(InputError, match=r"numbers of frames differ.*frames': 7.*aligned\.npz': 8.*run the rules"):
        build_sequence(**inputs, build=tmp_path / "build", sequence="box")
    assert not (tmp_path / "build").exists()


def cloud(depth_m: float, frames: int = 4) -> Tensor:
    """An object of 10 cm, moving a little, before the camera."""
    points = 0.05 * (2 * torch.rand(frames, 50, 3, generator=torch.Generator().manual_seed(7)) - 1)
    return points + torch.tensor([0.05, -0.03, depth_m])


@pytest.mark.parametrize("depth_m", [0.3, 0.6, 0.8, 1.0, 1.3, 2.0, 5.0])
def test_the_median_is_at_the_origin_and_the_camera_at_two(depth_m: float) -> None:
    thing, hand = cloud(depth_m), cloud(depth_m) - 0.04
    placement = place_scene(thing, hand)
    camera = placement.points_to_scaled(torch.zeros(1, 3))
    assert float(camera.norm()) == pytest.approx(2, rel=1e-5)
    both = placement.points_to_scaled(torch.cat([thing, hand], dim=1))
    assert float(both.norm(dim=-1).max()) < 1.5
    assert float(both.flatten(0, 1).median(0).values.norm()) < 0.3


def test_the_frame_that_is_far_out_is_named() -> None:
    thing = cloud(0.5)
    thing[2] += 2.0
    with pytest.raises(InputError, match=r"object leaves .* 1 of 4 frames: 0002\.png"):
        place_scene(thing, cloud(0.5), names=[f"{frame:04d}.png" for frame in range(4)])


def test_nan_and_scenes_behind_the_camera_are_refused() -> None:
    hand = cloud(0.5)
    hand[1, 3] = torch.nan
    with pytest.raises(InputError, match=r"median|leaves"):
        place_scene(cloud(0.5), hand)
    with pytest.raises(InputError, match="before the camera"):
        place_scene(cloud(-0.5), cloud(-0.5))


def test_points_lie_in_the_unit_sphere() -> None:
    points = torch.randn(30, 3, generator=torch.Generator().manual_seed(3)) + 5
    matrix = unit_sphere_from_points(points)
    assert float((points @ matrix[:3, :3].T + matrix[:3, 3]).norm(dim=1).max()) == pytest.approx(1, rel=1e-5)
    with pytest.raises(InputError, match="at least two different"):
        unit_sphere_from_points(torch.ones(4, 3))
    with pytest.raises(InputError, match="found 0 points"):
        unit_sphere_from_points(torch.zeros(0, 3))
