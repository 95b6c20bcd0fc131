"""A left hand is a right one in a mirror: what is found of it is the mirror image of what is found of the right one."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from handloom.datasets.hand_and_object import HoldPredictions
from handloom.hand.anatomy import mirror_pose
from handloom.hand.joints import MIRROR, Side
from handloom.hand.models import open_hand, write_open_hand
from handloom.reconstruction.alignment import align_hand_object
from handloom.reconstruction.build_folder import read_build, read_pictures
from handloom.reconstruction.compact.hand_template import HandTemplate, template_of_build
from handloom.reconstruction.object_mesh import ObjectMesh
from handloom.reconstruction.observations import read_scene
from handloom.reconstruction.predictions import write_predictions
from handloom.reconstruction.refinement import refine_poses
from handloom.reconstruction.registration import register_hands
from handloom.reconstruction.shape.object_shape import ObjectShape, shape_of_build
from handloom.reconstruction.tracks import HandPoses, SequencePoses
from handloom.runtime.config.hold_stages import AlignmentSettings, HandRegistrationSettings, RefinementSettings
from handloom.runtime.errors import InputError

from .compact.scene import small_settings, train_small
from .held_box import WIDTH, arrays, held_box, in_mirror, write_small_build
from .held_hand import HeldHand, held_hand

WIDTH_PX = 481
"""The camera's centre is the picture's: mirrored pictures are of the same camera."""
FRAMES = 11
"""An odd number: the median of an even one is the lower of two."""


@pytest.fixture(scope="module")
def scene() -> HeldHand:
    """Key points on 1/256 pixel, which mirroring does not round."""
    found = held_hand(frames=FRAMES)
    keypoints = (np.round(256 * found.estimates.keypoints_px) / 256).astype(np.float32)
    return replace(found, estimates=replace(found.estimates, keypoints_px=keypoints))


@pytest.fixture(scope="module")
def left_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hand") / "left.npz"
    write_open_hand(path, side="left")
    return path


def mirrored(scene: HeldHand) -> HeldHand:
    """The same as a mirror across the camera's x shows it."""
    seen, thing = scene.estimates, scene.object_poses
    keypoints, centre = seen.keypoints_px.copy(), seen.centre_px.copy()
    keypoints[..., 0], centre[:, 0] = WIDTH_PX - 1 - keypoints[..., 0], WIDTH_PX - 1 - centre[:, 0]
    flip = np.diag([*MIRROR, 1.0])
    return replace(
        scene,
        estimates=replace(
            seen,
            joints_cam=seen.joints_cam * np.float32(MIRROR),
            keypoints_px=keypoints,
            centre_px=centre,
            angle_rad=-seen.angle_rad,
            handedness=1 - seen.handedness,
            side="left",
        ),
        object_poses=replace(
            thing,
            cam_from_object=flip @ thing.cam_from_object @ flip,
            points_object=thing.points_object * MIRROR,
        ),
    )


def reconstructed(folder: Path, scene: HeldHand, hand: Path | None) -> tuple[HandPoses, SequencePoses]:
    """Registration and alignment by few iterations: many enlarge what sums round."""
    folder.mkdir()
    files = {name: folder / f"{name}.npz" for name in ("estimates", "object_poses", "hand_poses", "aligned")}
    scene.estimates.save(files["estimates"])
    scene.object_poses.save(files["object_poses"])
    register_hands(
        *(files[name] for name in ("estimates", "object_poses", "hand_poses")),
        registration=HandRegistrationSettings(iterations=8),
        seed=0,
        hand=hand,
    )
    (folder / "masks").mkdir()
    for frame in range(FRAMES):
        cv2.imwrite(str(folder / f"masks/{frame:04d}.png"), np.zeros((36, 48), np.uint8))
    align_hand_object(
        *(files[name] for name in ("hand_poses", "object_poses", "estimates")),
        *(folder / "masks", files["aligned"], folder / "history.csv"),
        alignment=AlignmentSettings(iterations=5),
        seed=0,
        hand=hand,
    )
    return HandPoses.load(files["hand_poses"]), SequencePoses.load(files["aligned"])


def test_a_mirrored_video_gives_mirrored_poses(tmp_path: Path, scene: HeldHand, left_hand: Path) -> None:
    right_poses, right = reconstructed(tmp_path / "right", scene, None)
    left_poses, left = reconstructed(tmp_path / "left", mirrored(scene), left_hand)
    assert (left_poses.side, left.side) == ("left", "left")
    torch.testing.assert_close(left_poses.rotvec, mirror_pose(right_poses.rotvec), atol=4e-7, rtol=0)
    torch.testing.assert_close(left_poses.translation_m, mirror(right_poses.translation_m), atol=1e-7, rtol=0)
    torch.testing.assert_close(left_poses.shape, right_poses.shape, atol=4e-7, rtol=0)
    torch.testing.assert_close(left.hand_rotvec, mirror_pose(right.hand_rotvec), atol=1e-6, rtol=0)
    torch.testing.assert_close(left.hand_translation_m, mirror(right.hand_translation_m), atol=1e-6, rtol=0)
    torch.testing.assert_close(left.object_rotvec, mirror_pose(right.object_rotvec), atol=1e-6, rtol=0)
    torch.testing.assert_close(left.object_translation_m, mirror(right.object_translation_m), atol=1e-6, rtol=0)
    torch.testing.assert_close(left.object_scale, right.object_scale, atol=1e-6, rtol=0)
    vertices = left.hand.to(torch.float32).skinned(open_hand("left")).vertices_m
    of_right = right.hand.to(torch.float32).skinned(open_hand()).vertices_m
    torch.testing.assert_close(vertices, mirror(of_right), atol=1e-6, rtol=0)


def mirror(points: Tensor) -> Tensor:
    return points * points.new_tensor(MIRROR)


def test_the_other_hand_s_files_are_refused(tmp_path: Path, scene: HeldHand, left_hand: Path) -> None:
    with pytest.raises(InputError, match=r"estimates\.npz: is of a right hand, but the hand model is a left one"):
        reconstructed(tmp_path / "mixed", scene, left_hand)


@pytest.fixture(scope="module")
def left_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_build(tmp_path_factory.mktemp("left"), "left")


def both(build: Path, left_build: Path, left_hand: Path) -> tuple[tuple[Side, Path, Path | None], ...]:
    return ("right", build, None), ("left", left_build, left_hand)


def test_a_left_build_folder_comes_back_and_takes_no_right_hand(build: Path, left_build: Path) -> None:
    right, left = (read_build(each, {side: open_hand(side)}) for side, each in (("right", build), ("left", left_build)))
    assert list(left.hands) == ["left"]
    found, wanted = left.poses_cam(open_hand("left")), in_mirror(right.poses_cam(open_hand()))
    for name, value in arrays(wanted).items():
        torch.testing.assert_close(arrays(found)[name], value, atol=1e-5, rtol=0)
    assert set(np.unique(read_pictures(left)[1])) == {0, 50, 250}
    with pytest.raises(InputError, match=r"data\.npy: holds a left hand, but no left hand model was given"):
        read_build(left_build, {"right": open_hand()})


def test_template_and_shape_are_the_right_ones_mirrored(
    build: Path, left_build: Path, left_hand: Path, tmp_path: Path
) -> None:
    found = {}
    for side, folder, hand in both(build, left_build, left_hand):
        files = [tmp_path / f"{side}_{name}.npz" for name in ("template", "shape", "hull", "hull_poses")]
        template_of_build(folder, files[0], cells=12, hand=hand)
        shape_of_build(folder, *files[1:], cells=16, points_reach=None, hand=hand)
        found[side] = HandTemplate.load(files[0]), ObjectShape.load(files[1])
    (right_template, right), (left_template, left) = found["right"], found["left"]
    assert left_template.side == "left"
    torch.testing.assert_close(left_template.distance_m, right_template.distance_m.flip(1), atol=0, rtol=0)
    torch.testing.assert_close(left.distance, right.distance.flip(1), atol=1e-4, rtol=0)


def test_phase_2_judges_the_left_hand_as_the_right_one(
    build: Path, left_build: Path, left_hand: Path, tmp_path: Path
) -> None:
    """Contact to the last digits; silhouettes are sampled along edges, and a mirror changes where these begin."""
    found = {}
    for side, folder, hand in both(build, left_build, left_hand):
        poses, mesh, refined, history = (tmp_path / f"{side}_{name}" for name in ("poses", "mesh", "refined", "csv"))
        read_scene(folder, {side: open_hand(side)}).poses[side].save(poses)
        box, flip = held_box(), np.array(MIRROR if side == "left" else (1.0, 1.0, 1.0))
        faces = box.box_m.faces[:, ::-1] if side == "left" else box.box_m.faces
        ObjectMesh((box.vertices_sfm * flip).astype(np.float32), faces.astype(np.int32)).save(mesh)
        settings = RefinementSettings(steps=1, long_side_px=WIDTH)
        refine_poses(folder, poses, mesh, refined, history, refinement=settings, hand=hand)
        assert SequencePoses.load(refined).side == side
        found[side] = pd.read_csv(history).iloc[0]
    right, left = found["right"], found["left"]
    assert right["contact"] > 0
    assert left["contact"] == pytest.approx(right["contact"], rel=1e-6)
    for name in ("object_mask", "hand_mask", "penetration"):
        assert left[name] == pytest.approx(right[name], rel=1e-3), name


def test_a_phase_is_of_the_left_hand_to_its_predictions(left_build: Path, left_hand: Path, tmp_path: Path) -> None:
    template, predictions = tmp_path / "template.npz", tmp_path / "predictions.npz"
    template_of_build(left_build, template, cells=12, hand=left_hand)
    hull = tmp_path / "hull.npz", tmp_path / "hull_poses.npz"
    shape_of_build(left_build, tmp_path / "shape.npz", *hull, cells=16, points_reach=None, hand=left_hand)
    phase = train_small(left_build, template, tmp_path / "phase1", small_settings(2), hand=left_hand)
    write_predictions(left_build, phase.poses, phase.mesh, predictions, hand=left_hand)
    found, model = HoldPredictions.load(predictions), open_hand("left")
    assert found.side == "left"
    np.testing.assert_array_equal(found.hand_faces, model.faces.numpy())
    started = read_scene(left_build, {"left": model}).poses["left"].hand.skinned(model).vertices_m.numpy()
    np.testing.assert_allclose(found.hand_vertices_cam_m, started, atol=0.01)
