"""HOLD's build folder: written and read back, and refused by name when something in it is wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch
from PIL import Image

from handloom.hand.models import open_hand
from handloom.reconstruction.build_folder import (
    BuildScene,
    data_of_scene,
    read_build,
    read_mask,
    read_pictures,
    write_build,
)
from handloom.reconstruction.build_scene import build_scene
from handloom.reconstruction.tracks import HandTrack, ObjectTrack, SequencePoses
from handloom.runtime.errors import InputError
from handloom.runtime.pickled_npy import pickled_npy

FRAMES = 3
MODEL = open_hand()
MODELS = {"right": MODEL}


INTRINSICS = torch.tensor([[80.0, 0, 31.5], [0, 80, 23.5], [0, 0, 1]])


def aligned() -> SequencePoses:
    random = torch.Generator().manual_seed(2)
    hand = HandTrack(
        0.3 * torch.randn(FRAMES, 16, 3, generator=random),
        torch.randn(MODEL.shape_count, generator=random),
        torch.tensor([0.0, 0.0, 0.6]).expand(FRAMES, 3),
    )
    rotation = roma.rotvec_to_rotmat(torch.randn(FRAMES, 3, generator=random))
    thing = ObjectTrack(rotation, torch.tensor([0.02, 0.01, 0.62]).expand(FRAMES, 3), torch.tensor(0.04))
    return SequencePoses.of(hand, thing, "right")


@pytest.fixture
def scene(tmp_path: Path) -> BuildScene:
    for kind, shape in (("frames", (48, 64, 3)), ("masks", (48, 64))):
        (tmp_path / kind).mkdir()
        for number in range(FRAMES):
            picture = np.full(shape, 50, np.uint8)
            picture[: number + 1] = 150
            Image.fromarray(picture).save(tmp_path / kind / f"{number:04d}.png")
    return build_scene(
        {"right": aligned()},
        torch.randn(30, 3, generator=torch.Generator().manual_seed(3)),
        INTRINSICS,
        MODELS,
        sequence="turning",
        names=[f"{number:04d}.jpg" for number in range(FRAMES)],
        image_paths=sorted((tmp_path / "frames").iterdir()),
        mask_paths=sorted((tmp_path / "masks").iterdir()),
    )


@pytest.fixture
def folder(scene: BuildScene, tmp_path: Path) -> Path:
    write_build(tmp_path / "build", scene, MODELS)
    return tmp_path / "build"


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit data.npy as a stranger would, with NumPy alone."""
    content = np.load(folder / "data.npy", allow_pickle=True).item()
    edit(content)
    np.save(folder / "data.npy", content, allow_pickle=True)


def test_everything_comes_back(scene: BuildScene, folder: Path) -> None:
    read = read_build(folder, MODELS)
    assert read.sequence == "turning"
    assert read.names == scene.names
    assert read.frame_count == FRAMES
    assert read.placement.shift_m == pytest.approx(scene.placement.shift_m)
    assert read.placement.scene_scale == pytest.approx(scene.placement.scene_scale, rel=1e-6)
    for found, given in (
        (read.cameras.intrinsics, scene.cameras.intrinsics),
        (read.cameras.world_from_cam, scene.cameras.world_from_cam),
        (read.hands["right"].rotvec, scene.hands["right"].rotvec),
        (read.hands["right"].translation_m, scene.hands["right"].translation_m),
        (read.hands["right"].shape, scene.hands["right"].shape),
        (read.object.rotation, scene.object.rotation),
        (read.object.translation_m, scene.object.translation_m),
        (read.object.scale, scene.object.scale),
        (read.normalised_from_sfm, scene.normalised_from_sfm),
        (read.points_canonical, scene.points_canonical),
    ):
        torch.testing.assert_close(found, given, atol=1e-5, rtol=1e-5)
    images, masks = read_pictures(read)
    assert images.shape == (FRAMES, 48, 64, 3)
    assert [int((mask == 150).sum()) for mask in masks] == [64, 128, 192]


def test_two_hands(scene: BuildScene, tmp_path: Path) -> None:
    both = replace(scene, hands={**scene.hands, "left": scene.hands["right"]})
    models = {**MODELS, "left": open_hand("left")}
    write_build(tmp_path / "build", both, models)
    assert set(read_build(tmp_path / "build", models).hands) == {"right", "left"}
    with pytest.raises(InputError, match="left hand model"):
        read_build(tmp_path / "build", MODELS)
    write_build(tmp_path / "build", scene, MODELS)
    with pytest.raises(InputError, match=r"holds a right hand, but models of .*set the sequence's hands to \[right\]"):
        read_build(tmp_path / "build", models)


def test_numpy_alone_opens_it_with_the_reference_s_types(folder: Path) -> None:
    data = np.load(folder / "data.npy", allow_pickle=True).item()
    assert isinstance(data["entities"]["object"]["norm_mat"], torch.Tensor)
    assert type(data["entities"]["object"]["obj_scale"]) is float
    assert data["entities"]["right"]["hand_poses"].dtype == np.float32
    assert data["cameras"]["world_mat_0"].dtype == np.float64
    content = (folder / "data.npy").read_bytes()
    assert b"numpy.core" in content
    assert b"numpy._core" not in content, "NumPy 1 would not know this module"


def test_equal_scenes_give_equal_bytes(scene: BuildScene) -> None:
    assert pickled_npy(data_of_scene(scene, MODELS)) == pickled_npy(data_of_scene(scene, MODELS))


def test_an_older_folder_is_replaced_whole(scene: BuildScene, folder: Path) -> None:
    (folder / "image" / "9999.png").write_bytes(b"left over")
    write_build(folder, scene, MODELS)
    assert len(read_build(folder, MODELS).image_paths) == FRAMES


def test_a_failed_write_leaves_the_older_folder(scene: BuildScene, folder: Path) -> None:
    before = sorted(path.name for path in folder.parent.iterdir())
    broken = replace(scene, mask_paths=(*scene.mask_paths[:-1], folder / "nowhere.png"))
    with pytest.raises(InputError, match="nowhere"):
        write_build(folder, broken, MODELS)
    assert read_build(folder, MODELS).names == scene.names
    assert sorted(path.name for path in folder.parent.iterdir()) == before


def test_every_frame_has_everything(scene: BuildScene, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'images': 3, 'masks': 2"):
        write_build(tmp_path / "build", replace(scene, mask_paths=scene.mask_paths[1:]), MODELS)
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("normalize_shift"), r"lacks \['normalize_shift'\]"),
        (lambda d: d["cameras"].pop("world_mat_1"), r"lacks \['cameras.world_mat_1'\]"),
        (lambda d: d["cameras"].update(world_mat_3=np.eye(4), scale_mat_3=np.eye(4)), "beyond the 3 names"),
        (lambda d: d["entities"]["right"].pop("mean_shape"), r"entities\.right\.mean_shape"),
        (lambda d: d["entities"]["object"].pop("pts.cano"), r"entities\.object\.pts\.cano"),
        (lambda d: d["entities"].pop("object"), "an object and a right or left hand"),
        (lambda d: d["entities"].pop("right"), "an object and a right or left hand"),
        (lambda d: d["entities"].update(cup={}), r"entities are \['cup', 'object', 'right'\]"),
        (lambda d: d.update(entities=3), "entities is of type int"),
        (lambda d: d["entities"]["right"].update(hand_poses=np.zeros((2, 48))), r"hand_poses is .*\(2, 48\)"),
        (lambda d: d["entities"]["right"].update(mean_shape=np.zeros(7)), r"mean_shape is .*\(7,\)"),
        (
            lambda d: d["entities"]["right"]["hand_trans"].__setitem__((2, 1), np.nan),
            r"hand_trans holds NaN .*\[2\]",
        ),
        (lambda d: d["entities"]["object"].update(norm_mat="unit"), "norm_mat is"),
        (lambda d: d["cameras"].update(scale_mat_0=-np.eye(4)), "scale_mat"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, edit: Callable[[dict[str, Any]], Any], message: str) -> None:
    change(folder, edit)
    with pytest.raises(InputError, match=message):
        read_build(folder, MODELS)


def scaled(*keys: str, by: float) -> Callable[[dict[str, Any]], Any]:
    """Multiply an array of the content, all cameras for one."""

    def edit(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = np.asarray(content[keys[-1]]) * by

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (scaled("entities", "object", "obj_scale", by=1000), "obj_scale: the extent.*millimetres taken for metres"),
        (scaled("entities", "object", "obj_scale", by=1e-4), "obj_scale: the extent"),
        (scaled("entities", "right", "hand_trans", by=1000), "hand_trans: the distance from the camera"),
        (scaled("entities", "object", "object_poses", by=180 / np.pi), "object_poses .*radians .*degrees"),
        (scaled("entities", "right", "hand_poses", by=180 / np.pi), "hand_poses .*radians .*degrees"),
        (lambda d: d["cameras"].update(world_mat_1=np.eye(4)), "world_mat_1: is no camera matrix"),
        (
            lambda d: d["cameras"].update(
                {f"world_mat_{n}": np.diag([100.0, 100, 1, 1]) @ d["cameras"][f"world_mat_{n}"] for n in range(FRAMES)}
            ),
            "world_mat_0: is no camera matrix: its",
        ),
    ],
)
def test_other_units_and_what_is_no_camera_are_named(
    folder: Path, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    change(folder, edit)
    with pytest.raises(InputError, match=rf"data\.npy: .*{message}"):
        read_build(folder, MODELS)


def test_foreign_keys_are_listed_and_left_alone(folder: Path) -> None:
    change(folder, lambda d: (d.update(note="x"), d["entities"]["object"].update(colour=1)))
    assert read_build(folder, MODELS).foreign_keys == ("note", "entities.object.colour")


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "mask" / "0001.png").unlink()
    with pytest.raises(
        InputError, match=r"image/ holds 3 pictures and mask/ 2, with 0001\.png and 0002\.png in one place"
    ):
        read_build(folder, MODELS)
    (folder / "corres.txt").unlink()
    with pytest.raises(InputError, match=r"corres\.txt: no such file"):
        read_build(folder, MODELS)
    (folder / "data.npy").unlink()
    with pytest.raises(InputError, match=r"data\.npy: no such file"):
        read_build(folder, MODELS)


def test_mixed_sizes(folder: Path) -> None:
    Image.fromarray(np.zeros((40, 64), np.uint8)).save(folder / "mask" / "0001.png")
    with pytest.raises(InputError, match=r"mask/0001\.png: is 64x40 pixels, but 0000\.png is 64x48"):
        read_pictures(read_build(folder, MODELS))


def test_binary_masks_and_names_that_one_line_does_not_hold_are_refused(scene: BuildScene, tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"labels \[255\]"):
        read_mask(tmp_path / "a.png")
    with pytest.raises(InputError, match="hold ends of lines"):
        write_build(tmp_path / "build", replace(scene, names=("a\nb", "c", "d")), MODELS)
