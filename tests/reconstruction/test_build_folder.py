"""HOLD's build folder: written and read back, refused by name when something is wrong, and nothing in it runs."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch
from PIL import Image

from handloom.hand.mano import HandModel
from handloom.hand.open_hand import open_hand
from handloom.reconstruction.build_folder import data_of_scene, read_build, read_mask, read_pictures, write_build
from handloom.reconstruction.build_scene import AlignedScene, BuildScene, build_scene, unit_sphere_from_points
from handloom.reconstruction.data_npy import pickled_npy, read_data
from handloom.runtime.errors import InputError

FRAMES = 3
MODEL = open_hand()
MODELS = {"right": MODEL}


def aligned_scene(model: HandModel = MODEL) -> AlignedScene:
    random = torch.Generator().manual_seed(2)
    return AlignedScene(
        intrinsics=torch.tensor([[80.0, 0, 31.5], [0, 80, 23.5], [0, 0, 1]]),
        hand_rotvec=0.3 * torch.randn(FRAMES, 16, 3, generator=random),
        hand_shape=torch.randn(model.shape_count, generator=random),
        hand_translation_cam_m=torch.tensor([0.0, 0.0, 0.6]).expand(FRAMES, 3),
        object_rotation=roma.rotvec_to_rotmat(torch.randn(FRAMES, 3, generator=random)),
        object_translation_m=torch.tensor([0.02, 0.01, 0.62]).expand(FRAMES, 3),
        object_scale=0.04,
        points_object=torch.randn(30, 3, generator=random),
    )


@pytest.fixture
def scene(tmp_path: Path) -> BuildScene:
    for kind, shape in (("frames", (48, 64, 3)), ("masks", (48, 64))):
        (tmp_path / kind).mkdir()
        for number in range(FRAMES):
            picture = np.full(shape, 50, np.uint8)
            picture[: number + 1] = 150
            Image.fromarray(picture).save(tmp_path / kind / f"{number:04d}.png")
    return build_scene(
        aligned_scene(),
        MODEL,
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


class TestRoundTrip:
    def test_everything_comes_back(self, scene: BuildScene, folder: Path) -> None:
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
            (read.object.rotvec, scene.object.rotvec),
            (read.object.translation_m, scene.object.translation_m),
            (read.object.normalised_from_sfm, scene.object.normalised_from_sfm),
            (read.object.points_canonical, scene.object.points_canonical),
        ):
            torch.testing.assert_close(found, given, atol=1e-5, rtol=1e-5)
        assert read.object.scale == pytest.approx(scene.object.scale)
        images, masks = read_pictures(read)
        assert images.shape == (FRAMES, 48, 64, 3)
        assert [int((mask == 150).sum()) for mask in masks] == [64, 128, 192]

    def test_two_hands(self, scene: BuildScene, tmp_path: Path) -> None:
        both = replace(scene, hands={**scene.hands, "left": scene.hands["right"]})
        models = {**MODELS, "left": open_hand("left")}
        write_build(tmp_path / "build", both, models)
        assert set(read_build(tmp_path / "build", models).hands) == {"right", "left"}
        with pytest.raises(InputError, match="left hand model"):
            read_build(tmp_path / "build", MODELS)

    def test_numpy_alone_opens_it_with_the_reference_s_types(self, folder: Path) -> None:
        data = np.load(folder / "data.npy", allow_pickle=True).item()
        assert isinstance(data["entities"]["object"]["norm_mat"], torch.Tensor)
        assert type(data["entities"]["object"]["obj_scale"]) is float
        assert data["entities"]["right"]["hand_poses"].dtype == np.float32
        assert data["cameras"]["world_mat_0"].dtype == np.float64
        content = (folder / "data.npy").read_bytes()
        assert b"numpy.core" in content
        assert b"numpy._core" not in content, "NumPy 1 would not know this module"

    def test_equal_scenes_give_equal_bytes(self, scene: BuildScene) -> None:
        assert pickled_npy(data_of_scene(scene, MODELS)) == pickled_npy(data_of_scene(scene, MODELS))

    def test_points_lie_in_the_unit_sphere(self, scene: BuildScene) -> None:
        assert float(scene.object.points_canonical.norm(dim=1).max()) == pytest.approx(1, rel=1e-5)
        with pytest.raises(InputError, match="at least two different"):
            unit_sphere_from_points(torch.ones(4, 3))
        with pytest.raises(InputError, match="found 0 points"):
            unit_sphere_from_points(torch.zeros(0, 3))

    def test_an_older_folder_is_replaced_whole(self, scene: BuildScene, folder: Path) -> None:
        (folder / "image" / "9999.png").write_bytes(b"left over")
        write_build(folder, scene, MODELS)
        assert len(read_build(folder, MODELS).image_paths) == FRAMES

    def test_a_failed_write_leaves_the_older_folder(self, scene: BuildScene, folder: Path) -> None:
        before = sorted(path.name for path in folder.parent.iterdir())
        broken = replace(scene, mask_paths=(*scene.mask_paths[:-1], folder / "nowhere.png"))
        with pytest.raises(InputError, match="nowhere"):
            write_build(folder, broken, MODELS)
        assert read_build(folder, MODELS).names == scene.names
        assert sorted(path.name for path in folder.parent.iterdir()) == before

    def test_every_frame_has_everything(self, scene: BuildScene, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"'images': 3, 'masks': 2"):
            write_build(tmp_path / "build", replace(scene, mask_paths=scene.mask_paths[1:]), MODELS)
        assert not (tmp_path / "build").exists()

    def test_nan_in_the_alignment_is_named(self, scene: BuildScene) -> None:
        aligned = aligned_scene()
        translation = aligned.hand_translation_cam_m.clone()
        translation[1] = torch.nan
        with pytest.raises(InputError, match="hand_translation_cam_m"):
            build_scene(
                replace(aligned, hand_translation_cam_m=translation),
                MODEL,
                sequence="x",
                names=scene.names,
                image_paths=scene.image_paths,
                mask_paths=scene.mask_paths,
            )


class TestStrangeFolders:
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
    def test_what_is_wrong_is_named(self, folder: Path, edit: Callable[[dict[str, Any]], Any], message: str) -> None:
        change(folder, edit)
        with pytest.raises(InputError, match=message):
            read_build(folder, MODELS)

    def test_foreign_keys_are_listed_and_left_alone(self, folder: Path) -> None:
        change(folder, lambda d: (d.update(note="x"), d["entities"]["object"].update(colour=1)))
        assert read_build(folder, MODELS).foreign_keys == ("note", "entities.object.colour")

    def test_numbers_of_files_are_compared(self, folder: Path) -> None:
        (folder / "mask" / "0001.png").unlink()
        with pytest.raises(InputError, match=r"mask: holds 2 PNG files, but corres\.txt names 3"):
            read_build(folder, MODELS)

    def test_missing_files(self, folder: Path) -> None:
        (folder / "corres.txt").unlink()
        with pytest.raises(InputError, match=r"corres\.txt: no such file"):
            read_build(folder, MODELS)
        (folder / "data.npy").unlink()
        with pytest.raises(InputError, match=r"data\.npy: no such file"):
            read_build(folder, MODELS)

    def test_mixed_sizes(self, folder: Path) -> None:
        Image.fromarray(np.zeros((40, 64), np.uint8)).save(folder / "mask" / "0001.png")
        with pytest.raises(InputError, match=r"mask/0001\.png: is 64x40 pixels, but 0000\.png is 64x48"):
            read_pictures(read_build(folder, MODELS))

    def test_binary_masks_are_refused(self, tmp_path: Path) -> None:
        Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "a.png")
        with pytest.raises(InputError, match=r"labels \[255\]"):
            read_mask(tmp_path / "a.png")

    def test_names_with_spaces_are_refused(self, scene: BuildScene, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="hold spaces"):
            write_build(tmp_path / "build", replace(scene, names=("a b", "c", "d")), MODELS)


class Malicious:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.arguments


class TestPickle:
    def test_nothing_in_it_runs(self, folder: Path) -> None:
        trace = folder / "trace"
        change(folder, lambda d: d.update(seq_name=Malicious(os.system, f"touch {trace}")))
        with pytest.raises(InputError, match="not allowed"):
            read_build(folder, MODELS)
        assert not trace.exists()

    @pytest.mark.parametrize("call", [eval, exec, getattr, torch.load, torch.tensor, np.load])
    def test_only_the_list_is_called(self, tmp_path: Path, call: Callable[..., Any]) -> None:
        np.save(tmp_path / "data.npy", {"x": Malicious(call, "1")}, allow_pickle=True)
        with pytest.raises(InputError, match="not allowed"):
            read_data(tmp_path / "data.npy")

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
    def test_tensors_in_torch_s_own_form(self, tmp_path: Path, protocol: int, dtype: torch.dtype) -> None:
        """HOLD's released files hold norm_mat so."""
        tensor = torch.arange(16).reshape(4, 4).to(dtype).T[1:]
        self.write(tmp_path / "data.npy", {"norm_mat": tensor, "n": np.float64(2)}, protocol)
        read = read_data(tmp_path / "data.npy")
        assert torch.equal(read["norm_mat"], tensor)
        assert read["norm_mat"].dtype == dtype
        assert read["n"] == 2

    def test_tensors_beyond_their_numbers_are_refused(self, tmp_path: Path) -> None:
        storage = torch.ones(4)._typed_storage()
        for arguments in (
            (storage, 0, (8,), (1,), False, {}),
            (storage, 2, (4,), (1,), False, {}),
            (storage, -1, (4,), (1,), False, {}),
            ("numbers", 0, (4,), (1,), False, {}),
        ):
            self.write(tmp_path / "data.npy", {"x": Malicious(torch._utils._rebuild_tensor_v2, *arguments)}, 4)
            with pytest.raises(InputError, match="is no pickled dictionary"):
                read_data(tmp_path / "data.npy")

    def test_a_pickle_inside_a_tensor_does_not_run_either(self, tmp_path: Path) -> None:
        trace = tmp_path / "trace"
        inner = pickle.dumps(Malicious(os.system, f"touch {trace}"), 2)
        self.write(tmp_path / "data.npy", {"x": Malicious(torch.storage._load_from_bytes, inner)}, 4)
        with pytest.raises(InputError, match="damaged tensor"):
            read_data(tmp_path / "data.npy")
        assert not trace.exists()

    def test_huge_tensors_are_not_made(self, tmp_path: Path) -> None:
        self.write(tmp_path / "data.npy", {"x": Malicious(torch.Tensor, 10**12)}, 4)
        with pytest.raises(InputError, match="no list of numbers"):
            read_data(tmp_path / "data.npy")
        self.write(tmp_path / "data.npy", {"x": Malicious(torch.Tensor, [{}])}, 4)
        with pytest.raises(InputError, match="is no pickled dictionary"):
            read_data(tmp_path / "data.npy")

    @pytest.mark.parametrize("content", [b"", b"not numpy", b"\x93NUMPY\x01\x00"])
    def test_damaged_files(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "data.npy").write_bytes(content)
        with pytest.raises(InputError, match=r"data\.npy: is no pickled dictionary"):
            read_data(tmp_path / "data.npy")

    def test_cut_short_or_no_dictionary(self, folder: Path, tmp_path: Path) -> None:
        content = (folder / "data.npy").read_bytes()
        (tmp_path / "data.npy").write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match="is no pickled dictionary"):
            read_data(tmp_path / "data.npy")
        for value in ([1], np.zeros(3)):
            np.save(tmp_path / "data.npy", np.array(value, dtype=object), allow_pickle=True)
            with pytest.raises(InputError, match="is no pickled dictionary"):
                read_data(tmp_path / "data.npy")
        np.save(tmp_path / "data.npy", np.zeros(3))
        with pytest.raises(InputError, match="is no pickled dictionary"):
            read_data(tmp_path / "data.npy")

    @staticmethod
    def write(path: Path, content: dict[str, Any], protocol: int) -> None:
        header = (b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (), }").ljust(
            127
        ) + b"\n"
        path.write_bytes(header + pickle.dumps(np.array(content, dtype=object), protocol))
