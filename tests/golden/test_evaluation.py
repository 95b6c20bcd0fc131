"""The AssemblyHands reader and the metrics against the published implementation (golden/s2d/README.md, c7 and c8)."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from handloom.datasets.assembly_hands import HEADSET_CAMERAS, read_annotations
from handloom.datasets.crops import squares_around
from handloom.datasets.invalid_list import list_invalid, read_invalid
from handloom.datasets.views import ViewSamples, crop_views, load_views, pair_samples
from handloom.estimators.detnet.targets import delta_target, key_point_heat_maps, location_target

from ..datasets.assembly_hands_files import SplitWriter  # noqa: TID252  # tests/ is not on sys.path

Arrays = Mapping[str, np.ndarray]
CAMERAS = HEADSET_CAMERAS["headset1"][:2]
SEQUENCE = "golden-sequence"


class PairedViews(NamedTuple):
    """Both views, and the rows (pairs, 2) of the pairs in them."""

    views: tuple[ViewSamples, ViewSamples]
    rows: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """One column of the samples as (pairs, views, ...)."""
        return np.stack([getattr(view, name)[self.rows[:, v]] for v, view in enumerate(self.views)], axis=1)


@pytest.fixture(scope="module")
def c8(golden) -> Arrays:
    return golden("c8_crop")


@pytest.fixture(scope="module")
def written(c8: Arrays, tmp_path_factory: pytest.TempPathFactory) -> SplitWriter:
    """The arrays of c8 as the data set's own files."""
    writer = SplitWriter(tmp_path_factory.mktemp("assembly_hands"))
    for i, frame in enumerate(c8["frame"]):
        for j, camera in enumerate(CAMERAS):
            writer.add_image(
                sequence=SEQUENCE,
                frame=int(frame),
                camera=camera,
                image=c8["image_u8"][i, j],
                boxes=c8["bbox"][i, j],
                joint_valid=c8["joint_valid"][i, j],
                intrinsics=c8["K"][j],
                cam_from_world_mm=c8["Rt"][i, j],
                world_mm=c8["world_mm"][i],
            )
    writer.write()
    return writer


@pytest.fixture(scope="module")
def invalid(written: SplitWriter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("views") / "invalid.txt"
    list_invalid(written.dataset, path, split="val")
    return path


@pytest.fixture(scope="module")
def pairs(written: SplitWriter, invalid: Path) -> PairedViews:
    views = []
    for number in (1, 2):
        output = invalid.with_name(f"camera{number}.npz")
        crop_views(
            written.dataset, invalid, output, split="val", headset="headset1", camera_number=number, input_px=128
        )
        views.append(load_views(output))
    return PairedViews((views[0], views[1]), np.stack(pair_samples(views[0], views[1]), axis=1))


def test_hands_with_too_few_valid_joints_are_listed(c8: Arrays, invalid: Path) -> None:
    expected = {
        (f"ego_images_rectified/val/{SEQUENCE}/{CAMERAS[camera]}_mono10bit/{c8['frame'][frame]:06d}.png", bool(hand))
        for frame, camera, hand in c8["invalid_list"]
    }
    assert read_invalid(invalid) == expected


def test_pairs_come_in_the_published_order(c8: Arrays, pairs: PairedViews) -> None:
    np.testing.assert_array_equal(pairs.column("frame")[:, 0], c8["frame"][c8["out_pair_frame_index"]])
    np.testing.assert_array_equal(pairs.column("is_left"), np.repeat(c8["out_pair_hand"][:, None], 2, axis=1))
    assert 0 < c8["pic3_num"] <= len(pairs.rows)


def test_squares_match(c8: Arrays, written: SplitWriter, pairs: PairedViews) -> None:
    annotations = read_annotations(written.dataset, "val")
    row_of_rank = {int(rank): row for row, rank in enumerate(annotations.rank)}
    rows = np.array([[row_of_rank[int(rank)] for rank in ranks] for ranks in pairs.column("rank")])
    squares = squares_around(annotations.bbox_px)
    np.testing.assert_array_equal(squares.corner_px[rows], c8["out_corner_side"][..., :2])
    np.testing.assert_array_equal(squares.side_px[rows], c8["out_corner_side"][..., 2])


def test_crops_match_pixel_for_pixel(c8: Arrays, pairs: PairedViews) -> None:
    difference = np.abs(pairs.column("image_u8").astype(int) - c8["out_crop_u8"])
    assert difference.max() <= 1
    assert (difference > 0).sum() <= 8, "more than a few pixels differ by a grey level"


def test_intrinsics_and_cameras_match(c8: Arrays, pairs: PairedViews) -> None:
    np.testing.assert_allclose(pairs.column("focal_px"), c8["out_focal"], atol=1e-3, rtol=0)
    np.testing.assert_allclose(pairs.column("principal_point_px"), c8["out_princpt"], atol=1e-3, rtol=0)
    np.testing.assert_allclose(pairs.column("cam_from_world_rotation"), c8["out_cam_rot"], atol=1e-6)
    np.testing.assert_allclose(pairs.column("cam_from_world_translation_mm"), c8["out_cam_t"], atol=1e-3)


def test_joints_key_points_and_validity_match(c8: Arrays, pairs: PairedViews) -> None:
    np.testing.assert_allclose(pairs.column("joints_cam_m"), c8["out_joint_m"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(pairs.column("keypoints_256px"), c8["out_kp2d"], atol=1e-3, rtol=0)
    np.testing.assert_array_equal(pairs.column("joint_valid"), c8["out_vis"])


def test_targets_from_the_crops_match(c8: Arrays, pairs: PairedViews) -> None:
    """What training sees: heat maps, veil, and root-relative targets of mirrored left hands."""
    maps, veil = key_point_heat_maps(torch.from_numpy(pairs.column("keypoints_256px").astype(np.float32)), 128, 32)
    np.testing.assert_allclose(maps.numpy(), c8["out_hm"], atol=1e-6)
    np.testing.assert_array_equal(veil.numpy(), c8["out_hm_veil"])
    mirror = np.where(pairs.column("is_left")[..., None, None], [-1.0, 1.0, 1.0], 1.0)
    joints = torch.from_numpy(pairs.column("joints_cam_m") * mirror)
    np.testing.assert_allclose(location_target(joints, 0).numpy(), c8["out_loc"], atol=1e-5)
    np.testing.assert_allclose(delta_target(joints).numpy(), c8["out_delta"], atol=5e-5)
    np.testing.assert_allclose(location_target(joints, 9)[0].numpy(), c8["out_loc_root9_pair0"], atol=1e-5)
