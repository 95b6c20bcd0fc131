"""HOLD's scene placement, build folder, cameras and camera-space predictions against the released code."""

from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from PIL import Image
from torch import Tensor

from handloom.datasets.masks import MASK_LABELS
from handloom.hand.joints import MANO21_FROM_SNAP
from handloom.hand.mano import HandModel, rest_joints_m
from handloom.reconstruction.build_folder import BuildScene, data_of_scene, read_build, read_pictures, write_build
from handloom.reconstruction.build_scene import build_scene
from handloom.reconstruction.holdnet.rays import (
    classes_of_labels,
    rays_through_pixels,
    sample_bilinear,
    sample_classes,
)
from handloom.reconstruction.scene_placement import ScenePlacement, decompose, placement_at
from handloom.reconstruction.tracks import HandTrack, ObjectTrack, SequencePoses

from .hold_files import hold_tensors, random_hand

Arrays = dict[str, Tensor]
FIXED_SHIFT_M = (-0.0085238, -0.01372686, 0.42570806)


def close(actual: Tensor | np.ndarray, expected: Tensor, *, atol: float = 1e-5, rtol: float = 1e-4) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected.numpy(), atol=atol, rtol=rtol)


def rotations(rotvec: Tensor) -> Tensor:
    matrices: Tensor = roma.rotvec_to_rotmat(rotvec)
    return matrices


@pytest.fixture(scope="module")
def model() -> HandModel:
    return random_hand()


@pytest.fixture(scope="module")
def c09() -> Arrays:
    return hold_tensors("c09_build")


@pytest.fixture(scope="module")
def load() -> Arrays:
    return hold_tensors("c09_load")


@pytest.fixture(scope="module", params=["fixed", "auto"])
def shift(request: pytest.FixtureRequest) -> str:
    """HOLD's two ways to place a scene."""
    return str(request.param)


def released_placement(shift: str, object_points_cam_m: Tensor) -> ScenePlacement:
    """A constant; or -D m + (0, 0, -1), m the median over frames of the frames' median object points."""
    median = np.median(np.median(object_points_cam_m.double().numpy(), axis=1), axis=0)
    return placement_at(FIXED_SHIFT_M if shift == "fixed" else [-median[0], median[1], median[2] - 1.0])


@pytest.fixture(scope="module")
def scene(
    c09: Arrays, load: Arrays, model: HandModel, shift: str, tmp_path_factory: pytest.TempPathFactory
) -> BuildScene:
    """The camera-space input of c09 in HOLD's world, with the pictures of c09_load."""
    folder = tmp_path_factory.mktemp("frames")
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
        for number, picture in enumerate(load[kind].numpy()):
            Image.fromarray(picture).save(folder / kind / f"{number:04d}.png")
    pose = torch.cat([c09["in_hand_rot"], c09["in_hand_pose"] + model.hands_mean], dim=1)
    sfm_from_normalised = torch.linalg.inv(c09["in_norm_mat"])
    points = c09["in_pts_cano"] @ sfm_from_normalised[:3, :3].T + sfm_from_normalised[:3, 3]
    matrix, scale = c09["in_o2w_all"].float(), c09["in_obj_scale"].float().reshape(())
    hand = HandTrack(pose.unflatten(1, (16, 3)), c09["in_hand_beta"], c09["in_hand_transl"])
    thing = ObjectTrack(matrix[:, :3, :3], matrix[:, :3, 3], scale)
    return build_scene(
        {"right": SequencePoses.of(hand, thing, "right")},
        points,
        c09["in_K"],
        {"right": model},
        sequence="golden",
        names=[f"{number:04d}.png" for number in range(len(pose))],
        image_paths=sorted((folder / "images").iterdir()),
        mask_paths=sorted((folder / "masks").iterdir()),
        placement=released_placement(shift, thing.placed(points.float())),
        normalised_from_sfm=c09["in_norm_mat"].float(),
    )


class TestBuild:
    def test_data_npy_holds_the_numbers_of_the_reference(
        self, c09: Arrays, scene: BuildScene, model: HandModel, shift: str
    ) -> None:
        data = data_of_scene(scene, {"right": model})
        close(data["normalize_shift"], c09[f"{shift}_normalize_shift"], rtol=1e-5)
        for kind in ("scale_mat", "world_mat"):
            stored = np.stack([data["cameras"][f"{kind}_{frame}"] for frame in range(scene.frame_count)])
            close(stored, c09[f"{shift}_{kind}"], rtol=1e-5)
            assert str(stored.dtype) == {"scale_mat": "float32", "world_mat": "float64"}[kind]
        hand, thing = data["entities"]["right"], data["entities"]["object"]
        poses = c09[f"{shift}_right_hand_poses"]
        close(rotations(torch.from_numpy(hand["hand_poses"][:, :3])), rotations(poses[:, :3]))
        close(hand["hand_poses"][:, 3:], poses[:, 3:])
        close(hand["hand_trans"], c09[f"{shift}_right_hand_trans"], rtol=1e-5, atol=1e-6)
        close(hand["mean_shape"], c09[f"{shift}_right_mean_shape"], rtol=1e-5)
        poses = c09[f"{shift}_object_object_poses"]
        close(rotations(torch.from_numpy(thing["object_poses"][:, :3])), rotations(poses[:, :3]))
        close(thing["object_poses"][:, 3:], poses[:, 3:], rtol=1e-5, atol=1e-6)
        close(np.asarray(thing["obj_scale"]), c09[f"{shift}_object_obj_scale"], rtol=1e-5)
        close(thing["norm_mat"], c09[f"{shift}_object_norm_mat"], rtol=1e-5)
        close(thing["pts.cano"], c09[f"{shift}_object_pts_cano"], rtol=1e-5)

    def test_wrist_at_rest(self, c09: Arrays, model: HandModel) -> None:
        close(rest_joints_m(model, c09["in_hand_beta"])[0], c09["hand_root_rest"], atol=1e-6)

    def test_written_folder_loads_as_the_reference_loads_it(
        self, load: Arrays, scene: BuildScene, model: HandModel, shift: str, tmp_path: Path
    ) -> None:
        write_build(tmp_path / "build", scene, {"right": model})
        read = read_build(tmp_path / "build", {"right": model})
        assert read.names == scene.names
        assert read.foreign_keys == ()
        close(read.cameras.intrinsics, load[f"{shift}_intrinsics"][:, :3, :3], rtol=1e-4)
        close(read.cameras.world_from_cam, load[f"{shift}_cam2world"], atol=1e-5, rtol=0)
        close(torch.tensor(read.placement.scene_scale), load[f"{shift}_scale"].float(), rtol=1e-5)

        hand, thing, params = read.hands["right"], read.object, load[f"{shift}_right_params"]
        close(hand.translation_m, params[:, 1:4], atol=1e-6)
        close(rotations(hand.rotvec[:, 0]), rotations(params[:, 4:7]))
        close(hand.rotvec[:, 1:].flatten(1) - model.hands_mean, params[:, 7:52])
        close(hand.shape.expand(scene.frame_count, -1), params[:, 52:])
        params = load[f"{shift}_object_params"]
        close(thing.translation_m, params[:, 1:4], atol=1e-6)
        close(thing.rotation, rotations(params[:, 4:]))

        images, masks = read_pictures(read)
        assert np.array_equal(images, load["images"].numpy())
        assert np.array_equal(masks, load["masks"].numpy())

    def test_rays(self, load: Arrays, scene: BuildScene, shift: str) -> None:
        centres, directions = rays_through_pixels(load[f"{shift}_uv"], *scene.cameras)
        close(centres, load[f"{shift}_cam_loc"], atol=1e-5, rtol=0)
        close(directions, load[f"{shift}_ray_dirs"], atol=1e-5, rtol=0)


class TestCameras:
    def test_projection_with_skew(self, load: Arrays) -> None:
        cameras = decompose(load["skew_P"][None])
        close(cameras.intrinsics[0], load["skew_K"][:3, :3], atol=1e-9)
        close(cameras.world_from_cam[0], load["skew_c2w"], atol=1e-6)
        centres, directions = rays_through_pixels(
            load["skew_uv"], cameras.intrinsics.float(), cameras.world_from_cam.float()
        )
        close(directions, load["skew_ray_dirs"], atol=1e-5, rtol=0)
        close(centres, load["skew_cam_loc"], atol=1e-5, rtol=0)

    def test_bilinear_look_ups(self, load: Arrays) -> None:
        uv = torch.stack([load["bil_cols"], load["bil_rows"]], dim=-1)[None]
        close(sample_bilinear(load["images"][:1] / 255.0, uv)[0], load["bil_rgb"], atol=1e-6)
        masks = load["masks"][:1].double()
        labels = sample_bilinear(masks[..., None], uv)[0, :, 0]
        close(labels, load["bil_mask"], atol=1e-9)
        assert torch.equal(sample_classes(masks, uv)[0], classes_of_labels(load["bil_mask_int"].float()))

    def test_whole_image(self, load: Arrays) -> None:
        height, width = load["item1_img_size"].tolist()
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        uv = torch.stack([columns, rows], -1).view(-1, 2).float()
        assert len(uv) == int(load["item1_total_pixels"])
        first, last = len(load["item1_uv_first70"]), len(load["item1_uv_last3"])
        assert torch.equal(uv[:first], load["item1_uv_first70"])
        assert torch.equal(uv[-last:], load["item1_uv_last3"])
        colours = sample_bilinear(load["images"][1:2] / 255.0, uv[None])[0, :first]
        close(colours, load["item1_rgb_first70"], atol=1e-6)
        labels = torch.tensor(MASK_LABELS)[sample_classes(load["masks"][1:2].float(), uv[None])[0]]
        assert torch.equal(labels, load["item1_mask_uint"].long())


class TestPredictionsInCamera:
    def test_predictions_from_checkpoint(self, model: HandModel) -> None:
        """Poses learnt in the world, and a mesh of the object's unit sphere, in OpenCV camera metres."""
        c10 = hold_tensors("c10_predictions_from_checkpoint")
        shift = placement_at(c10["normalize_shift"].numpy())
        assert shift.scene_scale == pytest.approx(float(c10["scene_scale"]), rel=1e-6)
        pose = torch.cat([c10["in_right_global_orient"], c10["in_right_pose"] + model.hands_mean], dim=1)
        hand = HandTrack(pose.unflatten(1, (16, 3)), c10["in_right_betas"][0], c10["in_right_transl"])
        found = shift.hand_to_cam(hand, model).skinned(model)
        # The file holds the first vertices only.
        close(found.vertices_m[:, : c10["out_v3d_c_right"].shape[1]], c10["out_v3d_c_right"], rtol=0)
        joints = found.keypoints_m[:, list(MANO21_FROM_SNAP)]
        close(joints, c10["out_j3d_c_right"], rtol=0)
        close(joints - joints[:, :1], c10["out_j3d_ra_right"], rtol=0)
        close(joints[:, 0], c10["out_root_right"], rtol=0)
        scale = c10["in_obj_scale"].float().reshape(())
        in_world = ObjectTrack(rotations(c10["in_object_global_orient"]), c10["in_object_transl"], scale)
        sfm_from_normalised = torch.linalg.inv(c10["norm_mat"])
        vertices = c10["object_cano_verts"].float() @ sfm_from_normalised[:3, :3].T + sfm_from_normalised[:3, 3]
        thing = shift.object_to_cam(in_world).placed(vertices)
        root = (thing.amin(1) + thing.amax(1)) / 2
        close(thing, c10["out_v3d_c_object"], rtol=0)
        close(root, c10["out_root_object"], rtol=0)
        frames = len(c10["out_v3d_ra_object"])
        close((thing - root[:, None])[:frames], c10["out_v3d_ra_object"], rtol=0)
        close((thing - joints[:, :1])[:frames], c10["out_v3d_right_object"], rtol=0)
