"""HOLD's registration, gap filling and hand-object alignment against numbers of the released code."""

import numpy as np
import pytest
import roma
import torch
from torch import Tensor

from handloom.geometry.camera import project
from handloom.hand.joints import MANO21_FROM_SNAP
from handloom.hand.mano import skin
from handloom.reconstruction.gradient_alignment import (
    MODES,
    AlignmentObservations,
    Placement,
    object_loss,
    object_points_cam_m,
    reprojection_loss,
    run,
    smoothness_loss,
)
from handloom.reconstruction.hand_energy import geman_mcclure
from handloom.reconstruction.mesh_registration import (
    MeshFit,
    edge_loss,
    filled_rotations,
    filled_rows,
    filled_shapes,
    fingertip_loss,
    fit_mesh,
    fit_vertices_m,
    registration_loss,
    vertex_loss,
    volume_outliers,
)

from .hold_files import hold_tensors, random_hand

Arrays = dict[str, Tensor]


def close(actual: Tensor | float, expected: Tensor, *, atol: float = 1e-5, rtol: float = 1e-4) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected.numpy(), atol=atol, rtol=rtol)


@pytest.fixture(scope="module")
def losses() -> Arrays:
    return hold_tensors("c11_align_losses")


@pytest.fixture(scope="module")
def gaps() -> Arrays:
    return hold_tensors("c11_slerp")


def test_robust_square(losses: Arrays) -> None:
    for rho in (25, 3):
        close(geman_mcclure(losses["gm_x"], float(rho)), losses[f"gm_rho{rho}"])


def test_hand_loss_leaves_out_missing_key_points(losses: Arrays) -> None:
    target = losses["in_right_j2d_gt"][..., :2].clone()
    close(reprojection_loss(losses["in_right_j2d"], target), losses["loss_ho_h"], rtol=1e-5)
    target[int(losses["in_right_j2d_gt_nanframe"])] = torch.nan
    close(reprojection_loss(losses["in_right_j2d"], target), losses["loss_ho_h_nan"], rtol=1e-5)


def test_object_loss_with_the_object_before_and_behind_the_camera(losses: Arrays) -> None:
    hand = losses["in_right_j3d"].mean(1)
    pixels = losses["in_object_j2d"], losses["in_object_j2d_gt"]
    close(object_loss(hand, losses["in_object_j3d"], *pixels), losses["loss_ho_o"], rtol=1e-5)
    close(object_loss(hand, losses["in_object_j3d_behind"], *pixels), losses["loss_ho_o_behind"], rtol=1e-5)


def test_smoothness(losses: Arrays) -> None:
    hand, thing = losses["in_right_v3d"].mean(1), losses["in_object_j3d"].mean(1)
    close(smoothness_loss(hand) + smoothness_loss(thing), losses["loss_ho_ho_smooth"], rtol=1e-5)


def test_two_hands(losses: Arrays) -> None:
    pixels = [
        reprojection_loss(losses[f"in_{side}_j2d"], losses[f"in_{side}_j2d_gt"][..., :2]) for side in ("right", "left")
    ]
    close((pixels[0] + pixels[1]) / 2, losses["loss_h2o_h"], rtol=1e-5)
    seen = losses["in_object_j3d"], losses["in_object_j2d"], losses["in_object_j2d_gt"]
    near = [object_loss(losses[f"in_{side}_j3d"].mean(1), *seen) for side in ("right", "left")]
    close((near[0] + near[1]) / 2, losses["loss_h2o_o"], rtol=1e-5)
    right, left, thing = (
        smoothness_loss(losses[name].mean(1)) for name in ("in_right_v3d", "in_left_v3d", "in_object_j3d")
    )
    close(right + left + thing / 3, losses["loss_h2o_ho_smooth"], rtol=1e-5)  # it divides only the last term


def test_three_runs_step_by_step() -> None:
    """Losses before each update, learning rates and the parameters after each run; every run starts from the last."""
    golden = hold_tensors("c11_align_trajectory")
    model = random_hand()
    frames = len(golden["in_right_betas"])
    shape = golden["in_right_betas"].mean(0)
    close(shape, golden["h_end_hand_beta"])
    pose = torch.cat([golden["in_right_global_orient"], golden["in_right_hand_pose"] + model.hands_mean], 1)
    hand = skin(
        model,
        pose_rotvec=pose.unflatten(1, (16, 3)),
        shape=shape.expand(frames, -1),
        translation_m=torch.zeros(frames, 3),
    )
    sfm_from_canonical = torch.linalg.inv(golden["in_object_normalize_mat"])
    points = golden["in_object_object_cano"] @ sfm_from_canonical[:3, :3].T + sfm_from_canonical[:3, 3]
    poses = golden["in_object_o2w_all"]
    seen = AlignmentObservations(
        intrinsics=golden["in_K"],
        hand_joints_m=hand.keypoints_m[:, list(MANO21_FROM_SNAP)],
        hand_vertex_centroid_m=hand.vertices_m.mean(1),
        hand_keypoints_px=golden["in_right_j2d_gt"][..., :2],
        object_rotation=poses[:, :3, :3],
        object_points=points,
        object_keypoints_px=golden["in_object_j2d_gt"],
    )
    placement = Placement(torch.tensor([0.0, 0.0, 1.0]).expand(frames, 3), poses[:, :3, 3], torch.ones(()))
    for mode in MODES:
        rows = []
        placement = run(mode, seen, placement, steps=golden[f"{mode}_steps"].tolist(), rows=rows)
        found = torch.tensor([row["loss"] for row in rows])
        close(found[:10], golden[f"{mode}_loss"][:10], rtol=1e-5)
        close(found, golden[f"{mode}_loss"], rtol=1e-3)
        close(torch.tensor([row["learning_rate"] for row in rows]), golden[f"{mode}_lr"])
        close(placement.hand_translation_m, golden[f"{mode}_hand_transl"], atol=1e-3)
        close(placement.object_translation_m, golden[f"{mode}_obj_transl"], atol=1e-3)
        close(placement.object_scale[None], golden[f"{mode}_obj_scale"], atol=1e-3)
        if mode == "h":
            joints = seen.hand_joints_m + placement.hand_translation_m[:, None]
            close(joints, golden["h_end_right_j3d"], atol=1e-3)
            close(project(joints, seen.intrinsics), golden["h_end_right_j2d"], atol=1e-2)
            close(object_points_cam_m(seen, placement), golden["h_end_object_j3d"], atol=1e-3)


@pytest.mark.parametrize("case", ["mid", "head", "tail"])
def test_gaps_are_interpolated(gaps: Arrays, case: str) -> None:
    def track(prefix: str) -> tuple[Tensor, Tensor, Tensor]:
        pose = torch.cat([gaps[f"{prefix}global_orient"], gaps[f"{prefix}hand_pose"]], 1).unflatten(1, (16, 3))
        return pose, gaps[f"{prefix}betas"], gaps[f"{prefix}transl"]

    rotvec, shape, translation = track("in_")
    missing = torch.zeros(len(shape), dtype=torch.bool)
    missing[gaps[f"{case}_outliers"]] = True
    wanted_rotvec, wanted_shape, wanted_translation = track(f"{case}_out_")
    close(roma.rotvec_to_rotmat(filled_rotations(rotvec, missing)), roma.rotvec_to_rotmat(wanted_rotvec))
    close(filled_shapes(shape, missing), wanted_shape)
    close(filled_rows(translation, missing), wanted_translation)


def test_outliers_by_volume(gaps: Arrays) -> None:
    assert volume_outliers(gaps["volumes"]).nonzero()[:, 0].tolist() == gaps["volumes_outliers"].tolist()


def test_missing_key_points_are_interpolated(gaps: Arrays) -> None:
    missing = gaps["j2d_nan"].isnan().any(-1).any(-1)
    close(filled_rows(gaps["j2d_nan"], missing), gaps["j2d_filled"])


def test_mesh_registration() -> None:
    """Each loss at the start, and sixty steps of both stages from it."""
    golden, model = hold_tensors("c11_registration"), random_hand()
    start = MeshFit(golden["in_rot"], golden["in_pose"], golden["in_shape"], golden["in_trans"])
    target = golden["target_vertices"]
    tips = [golden[f"sem_idx_{group}"] for group in (12, 11, 4, 5, 6)]
    vertices = fit_vertices_m(model, start)
    close(vertices, golden["start_vertices"])
    single = {
        "loss_v": vertex_loss(vertices, target),
        "loss_edge": edge_loss(vertices, target, model.faces),
        "loss_sem": fingertip_loss(vertices, target, tips),
        "loss_beta": start.shape.square().mean(),
        "total_coarse": registration_loss(model, start, target, "coarse", tips),
        "total_fine": registration_loss(model, start, target, "fine", tips),
    }
    for name, loss in single.items():
        close(loss, golden[name], atol=0, rtol=1e-4)
    for stage in ("coarse", "fine"):
        _, loss = fit_mesh(model, target, start, stage, tips, iterations=60)
        close(loss, golden[f"{stage}60_last_loss"], atol=0, rtol=0.2)
