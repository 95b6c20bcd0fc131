"""What trainings see of a video is what it shows: rays, boxes, the empty scene; and a build folder gives it back."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.reconstruction.build_folder import read_build, write_build
from handloom.reconstruction.observations import (
    BACKGROUND,
    CLASS_OF_SIDE,
    HAND,
    OBJECT,
    Observations,
    background_plate,
    label_boxes,
    read_scene,
)
from handloom.reconstruction.scene_poses import ScenePoses
from handloom.runtime.errors import InputError

from .held_box import FRAMES, HEIGHT, MODEL, WIDTH, held_box


def test_a_ray_goes_through_its_pixel() -> None:
    """Protects pixel centres at integers and z = 1, so that a ray's parameter is the depth."""
    seen = held_box().observations()
    pixels = torch.tensor([[0, 0], [79, 59], [12, 40]])
    directions = seen.directions(pixels)
    torch.testing.assert_close(directions[:, 2], torch.ones(3))
    torch.testing.assert_close((5 * directions @ seen.intrinsics.T)[:, :2] / 5, pixels.float(), atol=1e-4, rtol=0)


def test_a_ray_brings_the_pixels_colour_and_class() -> None:
    """Protects the order of column and row, and what counts as background behind an object."""
    seen = held_box().observations()
    frame, pixels = torch.tensor([1, 1, 3]), torch.tensor([[40, 30], [2, 3], [38, 20]])
    batch = seen.rays(frame, pixels)
    for ray, (number, (column, row)) in enumerate(zip(frame.tolist(), pixels.tolist(), strict=True)):
        torch.testing.assert_close(batch.colour[ray], seen.image_u8[number, row, column].float() / 255)
        assert batch.kind[ray] == seen.class_u8[number, row, column]
    shows_background = batch.kind == BACKGROUND
    assert shows_background.tolist() == [False, True, False]
    torch.testing.assert_close(batch.background[1], batch.colour[1])
    torch.testing.assert_close(batch.background[0], seen.plate_u8[30, 40].float() / 255)


def test_plate_is_the_empty_scene_wherever_it_was_ever_seen() -> None:
    """Protects the background model: a still scene behind a moving hand is found exactly, the rest is painted in."""
    held = held_box()
    plate = background_plate(held.image_u8, held.class_u8)
    ever = (held.class_u8 == BACKGROUND).any(0)
    assert 0 < int((~ever).sum()) < 0.3 * ever.numel()
    torch.testing.assert_close(plate[ever], held.background_u8[ever])
    assert plate[~ever].float().mean() > 20  # not black holes


def test_boxes_enclose_the_classes() -> None:
    """Protects the rays' shares: inclusive corners, and the whole image where a class is absent."""
    classes = torch.zeros(2, 10, 12, dtype=torch.uint8)
    classes[0, 3:6, 4:9], classes[0, 8, 11], classes[1, 0, 0] = OBJECT, HAND, HAND
    boxes = label_boxes(classes)
    assert boxes[OBJECT].tolist() == [[4, 3, 8, 5], [0, 0, 11, 9]]
    assert boxes[HAND].tolist() == [[11, 8, 11, 8], [0, 0, 0, 0]]
    assert boxes[BACKGROUND].tolist() == [[0, 0, 11, 9]] * 2


def one_blob() -> Tensor:
    classes = torch.zeros(3, 20, 30, dtype=torch.uint8)
    classes[:, 5:8, 6:9], classes[:, 15, 20] = OBJECT, HAND
    return classes


def test_draws_have_their_shares_and_every_frame() -> None:
    """Protects the sampling: small classes get their share of rays, and the seed decides all of them."""
    classes = one_blob()
    seen = Observations.of(torch.zeros(3, 20, 30, 3, dtype=torch.uint8), classes, torch.eye(3))
    batch = seen.draw(3000, 0.5, 0.3, torch.Generator().manual_seed(0))
    shares = torch.bincount(batch.kind, minlength=3) / 3000
    assert shares[OBJECT] == pytest.approx(0.5 + 0.2 * 9 / 600, abs=0.04)
    assert shares[HAND] == pytest.approx(0.3 + 0.2 * 1 / 600, abs=0.04)
    assert torch.bincount(batch.frame, minlength=3).min() > 800
    again = seen.draw(3000, 0.5, 0.3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(again, batch)


def test_draws_reach_the_images_last_row_and_column() -> None:
    """Protects the edges: a box's last pixel is drawn, none beyond it."""
    seen = Observations.of(torch.zeros(3, 20, 30, 3, dtype=torch.uint8), one_blob(), torch.eye(3))
    pixels = seen.draw(20000, 0.0, 0.0, torch.Generator().manual_seed(0)).directions[:, :2]
    assert pixels.amin(0).tolist() == [0, 0]
    assert pixels.amax(0).tolist() == [29, 19]


@pytest.mark.parametrize(("label", "name"), [(OBJECT, "object"), (HAND, "hand")])
def test_masks_without_object_or_hand_are_refused(label: int, name: str) -> None:
    """Protects the user from training on empty masks: the message names what is missing and what to do."""
    held = held_box()
    empty = torch.where(held.class_u8 == label, BACKGROUND, held.class_u8).to(torch.uint8)
    assert empty.shape == (FRAMES, HEIGHT, WIDTH)
    with pytest.raises(InputError, match=f"labelled {name}; .*correct the prompt"):
        Observations.of(held.image_u8, empty, held.intrinsics)


def test_a_build_folder_gives_back_the_scene(build: Path) -> None:
    """Protects the way from HOLD's scaled world to the OpenCV camera in metres: poses, pixels, camera."""
    held, found = held_box(), read_scene(build, {"right": MODEL})
    assert found.names == tuple(f"{number:04d}.jpg" for number in range(len(held.image_u8)))
    assert torch.equal(found.observations.image_u8, held.image_u8)
    assert torch.equal(found.observations.class_u8, held.class_u8)
    torch.testing.assert_close(found.observations.intrinsics, held.intrinsics, atol=1e-3, rtol=0)
    before, after = held.scene_poses(), ScenePoses(MODEL, found.poses["right"], found.cube)
    torch.testing.assert_close(after.hand().vertices_m, before.hand().vertices_m, atol=2e-5, rtol=0)
    corners = torch.from_numpy(held.vertices_sfm).float()
    cam = [poses.object_to_cam((corners - poses.cube.centre) / poses.cube.radius).detach() for poses in (after, before)]
    torch.testing.assert_close(cam[0], cam[1], atol=2e-5, rtol=0)


def test_the_other_hand_s_label_is_not_the_holding_hand(build: Path, tmp_path: Path) -> None:
    """Protects a sequence with one hand whose masks show the other, too; one that shows only that is refused."""
    scene = read_build(build, {"right": MODEL})
    labels = cv2.imread(str(scene.mask_paths[0]), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "left.png"), np.where(labels == 150, 250, labels).astype(np.uint8))
    masks = (tmp_path / "left.png", *scene.mask_paths[1:])
    write_build(tmp_path / "build", replace(scene, mask_paths=masks), {"right": MODEL})
    found = read_scene(tmp_path / "build", {"right": MODEL}).observations
    assert torch.equal(found.class_u8[0] == CLASS_OF_SIDE["left"], torch.from_numpy(labels == 150))
    assert found.seen["hand"].tolist() == [False] + [True] * (FRAMES - 1)
    write_build(tmp_path / "other", replace(scene, mask_paths=masks[:1] * FRAMES), {"right": MODEL})
    with pytest.raises(InputError, match="labelled hand"):
        read_scene(tmp_path / "other", {"right": MODEL})


def test_several_cameras_are_refused(build: Path, tmp_path: Path) -> None:
    """Protects against a zooming camera, which the compact reconstruction does not model."""
    scene = read_build(build, {"right": MODEL})
    intrinsics = scene.cameras.intrinsics.clone()
    intrinsics[1, 0, 0] *= 1.1
    zoomed = replace(scene, cameras=scene.cameras._replace(intrinsics=intrinsics))
    write_build(tmp_path / "build", zoomed, {"right": MODEL})
    with pytest.raises(InputError, match="different intrinsics; the compact reconstruction takes one camera"):
        read_scene(tmp_path / "build", {"right": MODEL})
