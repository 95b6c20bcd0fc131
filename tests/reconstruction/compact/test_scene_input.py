"""From a build folder to trainings and back: poses keep their camera, and damaged files are refused by name."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from handloom.reconstruction.build_folder import read_build, write_build
from handloom.reconstruction.compact.classes import HAND
from handloom.reconstruction.compact.scene_input import POSES, object_cube, read_poses, read_scene, write_poses
from handloom.reconstruction.compact.scene_poses import ScenePoses
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.errors import InputError

from .scene import MODEL, held_box


def test_a_build_folder_gives_back_the_scene(build: Path) -> None:
    """Protects the way from HOLD's scaled world to the OpenCV camera in metres: poses, pixels, camera."""
    held, found = held_box(), read_scene(build, MODEL, 1.35)
    assert found.names == tuple(f"{number:04d}.jpg" for number in range(len(held.image_u8)))
    assert torch.equal(found.observations.image_u8, held.image_u8)
    assert torch.equal(found.observations.class_u8, held.class_u8)
    torch.testing.assert_close(found.observations.intrinsics, held.intrinsics, atol=1e-3, rtol=0)
    before, after = held.scene_poses(), ScenePoses(MODEL, found.poses, found.cube)
    torch.testing.assert_close(after.hand().vertices_m, before.hand().vertices_m, atol=2e-5, rtol=0)
    corners = torch.from_numpy(held.vertices_sfm).float()
    cam = [poses.object_to_cam((corners - poses.cube.centre) / poses.cube.radius).detach() for poses in (after, before)]
    torch.testing.assert_close(cam[0], cam[1], atol=2e-5, rtol=0)


def test_the_cube_holds_the_points_and_its_margin() -> None:
    """Protects the object from being cut off: norm_mat's sphere, `margin` times as large."""
    normalise = torch.diag(torch.tensor([0.5, 0.5, 0.5, 1.0]))
    normalise[:3, 3] = torch.tensor([1.0, 2.0, -3.0])
    cube = object_cube(normalise, 1.5)
    torch.testing.assert_close(cube.centre, torch.tensor([-2.0, -4.0, 6.0]))
    assert cube.radius == pytest.approx(3.0)


def test_a_left_label_is_the_holding_hand_too(build: Path, tmp_path: Path) -> None:
    """Protects the class of label 250: HOLD's masks may call the one hand right or left."""
    scene = read_build(build, {"right": MODEL})
    labels = cv2.imread(str(scene.mask_paths[0]), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "left.png"), np.where(labels == 150, 250, labels).astype(np.uint8))
    masks = (tmp_path / "left.png", *scene.mask_paths[1:])
    write_build(tmp_path / "build", replace(scene, mask_paths=masks), {"right": MODEL})
    found = read_scene(tmp_path / "build", MODEL, 1.35).observations.class_u8[0]
    assert torch.equal(found == HAND, torch.from_numpy(labels == 150))


def test_several_cameras_are_refused(build: Path, tmp_path: Path) -> None:
    """Protects against a zooming camera, which the compact reconstruction does not model."""
    scene = read_build(build, {"right": MODEL})
    intrinsics = scene.cameras.intrinsics.clone()
    intrinsics[1, 0, 0] *= 1.1
    zoomed = replace(scene, cameras=scene.cameras._replace(intrinsics=intrinsics))
    write_build(tmp_path / "build", zoomed, {"right": MODEL})
    with pytest.raises(InputError, match="different intrinsics; the compact reconstruction takes one camera"):
        read_scene(tmp_path / "build", MODEL, 1.35)


def test_poses_on_disk_are_the_same_poses(tmp_path: Path) -> None:
    """Protects the file that phases hand on, bit for bit."""
    held = held_box()
    write_poses(tmp_path / "poses.npz", held.poses, seed=3)
    torch.testing.assert_close(read_poses(tmp_path / "poses.npz"), held.poses, atol=0, rtol=0)
    assert read_arrays(tmp_path / "poses.npz", POSES)[1].seed == 3


@pytest.mark.parametrize("name", ["hand_rotvec", "object_scale"])
def test_poses_with_nan_are_refused(tmp_path: Path, name: str) -> None:
    """Protects later phases from a diverged one: the file and the array are named."""
    poses = held_box().poses
    bad = poses._replace(**{name: getattr(poses, name).clone().fill_(torch.nan)})
    write_poses(tmp_path / "poses.npz", bad)
    with pytest.raises(InputError, match=rf"poses\.npz: {name} holds NaN, .*delete it"):
        read_poses(tmp_path / "poses.npz")


def test_poses_that_lack_an_array_are_refused(tmp_path: Path) -> None:
    """Protects against files of an older version."""
    write_arrays(tmp_path / "poses.npz", {"object_scale": np.ones(())}, Header(POSES))
    with pytest.raises(InputError, match=r"lacks \['hand_rotvec'.*run the rule"):
        read_poses(tmp_path / "poses.npz")
