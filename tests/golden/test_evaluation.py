"""The AssemblyHands reader and the metrics against the published implementation (tests/golden/s2d/README.md)."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from handloom.datasets.assembly_hands import HEADSET_CAMERAS, read_annotations
from handloom.datasets.box_crops import squares_around
from handloom.datasets.invalid_list import list_invalid, read_invalid
from handloom.datasets.views import HandCrops, HandLabels, pair_rows
from handloom.estimators.detnet.hands import crop_views
from handloom.estimators.detnet.targets import delta_target, key_point_heat_maps, location_target
from handloom.evaluation.pose_metrics import (
    PCK_THRESHOLDS_MM,
    PlacedPoses,
    auc,
    dual_m,
    joint_errors,
    mean_per_joint,
    median_m,
    merge_views,
    mono_m,
    pck_curve,
    place_on_ground_truth,
)
from handloom.geometry.rotations import mean_rotation_chordal, mean_rotation_unsigned, rotation_between

from ..datasets.assembly_hands_files import SplitWriter
from .reference_log import calc_metrics, euler_angles, read_log

Arrays = Mapping[str, np.ndarray]
CAMERAS = HEADSET_CAMERAS["headset1"][:2]
SEQUENCE = "golden-sequence"


class PairedViews(NamedTuple):
    """Both views' crops and labels, and the rows (pairs, 2) of the pairs in them."""

    crops: list[HandCrops]
    labels: list[HandLabels]
    rows: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """One column of the labels, or the pictures, as (pairs, views, ...)."""
        views = self.crops if name == "image_u8" else self.labels
        return np.stack([getattr(view, name)[self.rows[:, v]] for v, view in enumerate(views)], axis=1)


@pytest.fixture(scope="module")
def crops(golden) -> Arrays:
    return golden("c8_crop")


@pytest.fixture(scope="module")
def written(crops: Arrays, tmp_path_factory: pytest.TempPathFactory) -> SplitWriter:
    """The golden crops' annotations as the data set's own files."""
    writer = SplitWriter(tmp_path_factory.mktemp("assembly_hands"))
    for i, frame in enumerate(crops["frame"]):
        for j, camera in enumerate(CAMERAS):
            writer.add_image(
                sequence=SEQUENCE,
                frame=int(frame),
                camera=camera,
                image=crops["image_u8"][i, j],
                boxes=crops["bbox"][i, j],
                joint_valid=crops["joint_valid"][i, j],
                intrinsics=crops["K"][j],
                cam_from_world_mm=crops["Rt"][i, j],
                world_mm=crops["world_mm"][i],
            )
    writer.write()
    return writer


@pytest.fixture(scope="module")
def invalid(written: SplitWriter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("views") / "invalid.txt"
    list_invalid([], path, dataset=written.dataset, split="val")
    return path


@pytest.fixture(scope="module")
def pairs(written: SplitWriter, invalid: Path) -> PairedViews:
    crops, labels = [], []
    for number in (1, 2):
        files = [invalid.with_name(f"camera{number}.{kind}.npz") for kind in ("crops", "labels")]
        chosen = {"split": "val", "headset": "headset1", "camera": number, "input_px": 128, "field_of_view_deg": 100.0}
        crop_views(invalid, *files, dataset=written.dataset, **chosen)
        crops.append(HandCrops.load(files[0]))
        labels.append(HandLabels.load(files[1]))
    return PairedViews(crops, labels, np.stack(pair_rows(*crops), axis=1))


def test_hands_with_too_few_valid_joints_are_listed(crops: Arrays, invalid: Path) -> None:
    expected = {
        (f"ego_images_rectified/val/{SEQUENCE}/{CAMERAS[camera]}_mono10bit/{crops['frame'][frame]:06d}.png", bool(hand))
        for frame, camera, hand in crops["invalid_list"]
    }
    assert read_invalid(invalid) == expected


def test_pairs_come_in_the_published_order(crops: Arrays, pairs: PairedViews) -> None:
    np.testing.assert_array_equal(pairs.column("frame")[:, 0], crops["frame"][crops["out_pair_frame_index"]])
    np.testing.assert_array_equal(pairs.column("is_left"), np.repeat(crops["out_pair_hand"][:, None], 2, axis=1))
    assert 0 < crops["pic3_num"] <= len(pairs.rows)


def test_squares_match(crops: Arrays, written: SplitWriter, pairs: PairedViews) -> None:
    annotations = read_annotations(written.dataset, "val")
    row_of_rank = {int(rank): row for row, rank in enumerate(annotations.rank)}
    rows = np.array([[row_of_rank[int(rank)] for rank in ranks] for ranks in pairs.column("rank")])
    squares = squares_around(annotations.bbox_px)
    np.testing.assert_array_equal(squares.corner_px[rows], crops["out_corner_side"][..., :2])
    np.testing.assert_array_equal(squares.side_px[rows], crops["out_corner_side"][..., 2])


def test_crops_match_pixel_for_pixel(crops: Arrays, pairs: PairedViews) -> None:
    difference = np.abs(pairs.column("image_u8")[..., 0].astype(int) - crops["out_crop_u8"])
    assert difference.max() <= 1
    assert (difference > 0).sum() <= 8, "more than a few pixels differ by a grey level"


def test_intrinsics_and_cameras_match(crops: Arrays, pairs: PairedViews) -> None:
    np.testing.assert_allclose(pairs.column("focal_px"), crops["out_focal"], atol=1e-3, rtol=0)
    np.testing.assert_allclose(pairs.column("principal_point_px"), crops["out_princpt"], atol=1e-3, rtol=0)
    np.testing.assert_allclose(pairs.column("cam_from_world_rotation"), crops["out_cam_rot"], atol=1e-6)
    np.testing.assert_allclose(pairs.column("cam_from_world_translation_mm"), crops["out_cam_t"], atol=1e-3)


def test_joints_key_points_and_validity_match(crops: Arrays, pairs: PairedViews) -> None:
    np.testing.assert_allclose(pairs.column("joints_cam_m"), crops["out_joint_m"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(pairs.column("keypoints_256px"), crops["out_kp2d"], atol=1e-3, rtol=0)
    np.testing.assert_array_equal(pairs.column("joint_valid"), crops["out_vis"])


def test_targets_from_the_crops_match(crops: Arrays, pairs: PairedViews) -> None:
    """What training sees: heat maps, veil, and root-relative targets of mirrored left hands."""
    maps, veil = key_point_heat_maps(torch.from_numpy(pairs.column("keypoints_256px").astype(np.float32)), 128, 32)
    np.testing.assert_allclose(maps.numpy(), crops["out_hm"], atol=1e-6)
    np.testing.assert_array_equal(veil.numpy(), crops["out_hm_veil"])
    mirror = np.where(pairs.column("is_left")[..., None, None], [-1.0, 1.0, 1.0], 1.0)
    joints = torch.from_numpy(pairs.column("joints_cam_m") * mirror)
    np.testing.assert_allclose(location_target(joints, 0).numpy(), crops["out_loc"], atol=1e-5)
    np.testing.assert_allclose(delta_target(joints).numpy(), crops["out_delta"], atol=5e-5)
    np.testing.assert_allclose(location_target(joints, 9)[0].numpy(), crops["out_loc_root9_pair0"], atol=1e-5)


@pytest.fixture(scope="module")
def evaluation(golden) -> Arrays:
    return golden("c7_evaluation")


@pytest.fixture(scope="module", params=[0, 9], ids=["root0", "root9"])
def scored(request: pytest.FixtureRequest, evaluation: Arrays) -> tuple[Arrays, PlacedPoses]:
    """The golden numbers of one root joint, and our alignment of the same predictions."""
    prefix = f"root{request.param}_"
    expected = {name.removeprefix(prefix): value for name, value in evaluation.items() if name.startswith(prefix)}
    mirror = np.where(evaluation["left"][:, None, None, None] > 0, [-1.0, 1.0, 1.0], 1.0)
    return expected, place_on_ground_truth(evaluation["pred_net"] * mirror, evaluation["gt_m"], request.param)


@pytest.fixture
def own_rotations(evaluation: Arrays, scored: tuple[Arrays, PlacedPoses]) -> torch.Tensor:
    """rot() of each pair over the joints valid in both views."""
    both = torch.from_numpy((evaluation["valid"][:, 0] * evaluation["valid"][:, 1] > 0) * 1.0)
    poses = torch.from_numpy(scored[0]["pred_mm"])
    return rotation_between(poses[:, 0], poses[:, 1], both, proper=False)


def test_alignment_matches(scored: tuple[Arrays, PlacedPoses]) -> None:
    expected, poses = scored
    np.testing.assert_allclose(poses.predicted_mm, expected["pred_mm"], atol=2e-4, rtol=0)
    np.testing.assert_allclose(poses.true_mm, expected["gt_mm"], atol=2e-4, rtol=0)


def test_mono_m_matches(evaluation: Arrays, scored: tuple[Arrays, PlacedPoses]) -> None:
    expected, poses = scored
    errors = joint_errors(poses.predicted_mm, poses.true_mm)
    per_joint, count = mean_per_joint(errors, evaluation["valid"])
    np.testing.assert_allclose(per_joint, expected["epe_per_joint"], atol=1e-4, rtol=0)
    np.testing.assert_array_equal(count, expected["count_per_joint"])
    assert mono_m(errors, evaluation["valid"]) == pytest.approx(float(expected["mono_m"]), abs=1e-4)
    assert median_m(errors, evaluation["valid"]) == pytest.approx(float(expected["median_m"]), abs=1e-4)


def test_pck_and_auc_match(evaluation: Arrays, scored: tuple[Arrays, PlacedPoses]) -> None:
    """From the stored millimetres: a threshold between two errors must not hang on the last digit."""
    expected, _ = scored
    errors = joint_errors(expected["pred_mm"], expected["gt_mm"])
    thresholds = expected["thresholds"]
    np.testing.assert_allclose(PCK_THRESHOLDS_MM, thresholds)
    np.testing.assert_allclose(pck_curve(errors, evaluation["valid"], thresholds), expected["pck_curve"], atol=1e-9)
    assert auc(errors, evaluation["valid"], thresholds) == pytest.approx(float(expected["auc"]), abs=1e-9)


def test_dual_m_matches(evaluation: Arrays, scored: tuple[Arrays, PlacedPoses]) -> None:
    expected, poses = scored
    merged = merge_views(expected["pred_mm"], evaluation["valid"], evaluation["R12"])
    np.testing.assert_allclose(merged[:, 0], expected["merged1"], atol=1e-9)
    np.testing.assert_allclose(merged[:, 1], expected["merged2"], atol=1e-9)
    from_stored = dual_m(expected["pred_mm"], expected["gt_mm"], evaluation["valid"], evaluation["R12"])
    assert from_stored == pytest.approx(float(expected["dual_m"]), abs=1e-9)
    assert dual_m(*poses, evaluation["valid"], evaluation["R12"]) == pytest.approx(float(expected["dual_m"]), abs=1e-4)


def test_dual_m_with_each_pairs_own_rotation_matches(
    evaluation: Arrays, scored: tuple[Arrays, PlacedPoses], own_rotations: torch.Tensor
) -> None:
    expected, _ = scored
    found = dual_m(expected["pred_mm"], expected["gt_mm"], evaluation["valid"], own_rotations.numpy())
    assert found == pytest.approx(float(expected["dual_m_per_pair_R"]), abs=1e-7)


def test_rotations_of_a_pair_of_cameras_match(
    evaluation: Arrays, scored: tuple[Arrays, PlacedPoses], own_rotations: torch.Tensor
) -> None:
    expected, _ = scored
    poses = torch.from_numpy(expected["pred_mm"])
    over_all = rotation_between(poses[:, 0], poses[:, 1], proper=False).numpy()
    cameras = evaluation["cam_rot"].astype(np.float64)
    true = cameras[:, 0] @ np.swapaxes(cameras[:, 1], -1, -2)
    np.testing.assert_allclose(euler_angles(over_all) - euler_angles(true), expected["euler_diff"], atol=2e-7)
    np.testing.assert_allclose(mean_rotation_unsigned(own_rotations).numpy(), expected["R_from_log"], atol=1e-7)
    both = torch.from_numpy((evaluation["valid"][:, 0] * evaluation["valid"][:, 1] > 0) * 1.0)
    proper = rotation_between(poses[:, 0], poses[:, 1], both)
    np.testing.assert_allclose(mean_rotation_chordal(proper).numpy(), expected["R_chordal_fixed"], atol=1e-7)


def test_the_references_log_gives_its_numbers(evaluation: Arrays, golden_folder: Path) -> None:
    log = read_log(golden_folder / "c7_six_pairs.log")
    assert log.footer_auc == pytest.approx(float(evaluation["six_auc"]), abs=1e-12)
    assert log.footer_epe_mm == pytest.approx(float(evaluation["six_mono_m"]), abs=1e-12)
    assert log.auc() == pytest.approx(float(evaluation["six_auc"]), abs=1e-9)
    assert log.mono_m() == pytest.approx(float(evaluation["six_mono_m"]), abs=1e-4)
    metrics = calc_metrics(log, evaluation["R12"])
    assert metrics.views == evaluation["six_num"]
    assert metrics.dual_m_mm == pytest.approx(float(evaluation["six_dual_m"]), abs=1e-9)
    assert metrics.dual_m_own_rotation_mm == pytest.approx(float(evaluation["six_dual_m_per_pair_R"]), abs=1e-7)
    np.testing.assert_allclose(metrics.rotation_from_log, evaluation["six_R_from_log"], atol=1e-7)
    np.testing.assert_allclose(metrics.euler_difference_rad, evaluation["six_euler_diff"], atol=2e-7)
