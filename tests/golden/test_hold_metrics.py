"""HOLD's metrics against the reference's (tests/golden/hold/README.md)."""

import numpy as np
import pytest
import torch

from handloom.evaluation.mesh_metrics import (
    FramePoints,
    frame_metrics,
    subset_rows,
    surface_scores,
    vertex_subsets,
)

from .hold_files import hold_arrays

REFERENCE_NAMES = {
    "mpjpe_mm": "mpjpe_ra_r",
    "mrrpe_mm": "mrrpe_ho",
    "chamfer_root_cm2": "cd_ra",
    "f5_root_pct": "f5_ra",
    "f10_root_pct": "f10_ra",
    "chamfer_hand_cm2": "cd_right",
    "f5_hand_pct": "f5_right",
    "f10_hand_pct": "f10_right",
}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return hold_arrays("c10_metrics")


@pytest.mark.parametrize("cloud", ["a", "b", "c"])
def test_chamfer_distance_and_f_scores(golden: dict[str, np.ndarray], cloud: str) -> None:
    predicted, true = (FramePoints.of_equal_frames(golden[f"pts_{cloud}_{side}"][None]) for side in ("pred", "gt"))
    scores = surface_scores(predicted, true)
    np.testing.assert_allclose(scores.chamfer_cm2, golden[f"pts_{cloud}_cd_cm2"], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(scores.f5_pct / 100, golden[f"pts_{cloud}_f5"], atol=1e-6)
    np.testing.assert_allclose(scores.f10_pct / 100, golden[f"pts_{cloud}_f10"], atol=1e-6)
    together = [scores.chamfer_cm2[0], scores.f5_pct[0] / 100, scores.f10_pct[0] / 100]
    np.testing.assert_allclose(together, golden[f"pts_{cloud}_icpmetrics_squared"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", ["plain", "nanpred"])
def test_whole_evaluation_with_an_invalid_frame(golden: dict[str, np.ndarray], variant: str) -> None:
    predicted_object = golden["ev_pred_object_cam"].copy()
    if variant == "nanpred":
        predicted_object[int(golden["ev_nan_frame"])] = np.nan
    metrics = frame_metrics(
        golden["ev_pred_joints_cam"],
        FramePoints.of_equal_frames(predicted_object),
        golden["ev_gt_joints_cam"],
        FramePoints.of_equal_frames(golden["ev_gt_object_cam"]),
        golden["ev_is_valid"] > 0,
    )
    assert set(metrics) == {*REFERENCE_NAMES, "chamfer_hand_cm"}
    for ours, theirs in REFERENCE_NAMES.items():
        atol = 1e-4 if ours.endswith("_pct") else 0  # percent: 1e-6 as a fraction
        np.testing.assert_allclose(metrics[ours], golden[f"ev_{variant}_{theirs}"], rtol=1e-5, atol=atol, err_msg=ours)
        mean = golden[f"ev_{variant}_mean_{theirs}"]
        np.testing.assert_allclose(np.nanmean(metrics[ours]), mean, rtol=1e-5, atol=atol, err_msg=ours)


def test_large_meshes_are_compared_at_the_reference_s_vertices(golden: dict[str, np.ndarray]) -> None:
    predicted_m = np.stack([golden["big_pred"], 1.1 * golden["big_pred"]])
    predicted = FramePoints.of_equal_frames(predicted_m)
    true = FramePoints.of_equal_frames(np.stack([golden["big_gt"]] * 2))
    generator = torch.Generator().manual_seed(1)
    for frame in range(2):
        for name in ("pred", "gt"):
            rows = subset_rows(len(golden[f"big_{name}"]), generator)
            np.testing.assert_array_equal(rows, golden[f"big_{name}_idx"][frame])
    scores = surface_scores(*vertex_subsets(predicted, true))
    np.testing.assert_allclose(scores.chamfer_cm2, golden["big_cd_right"], rtol=1e-5)
    np.testing.assert_allclose(scores.f5_pct, golden["big_f5_right"], atol=1e-4)
    np.testing.assert_allclose(scores.f10_pct, golden["big_f10_right"], atol=1e-4)


def test_root_of_an_object_is_the_centre_of_its_bounding_box(golden: dict[str, np.ndarray]) -> None:
    centres = FramePoints.of_equal_frames(golden["bbox_pts"]).bounding_box_centres_m()
    np.testing.assert_allclose(centres, golden["bbox_centers"], rtol=1e-5, atol=1e-7)
