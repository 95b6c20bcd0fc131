"""The first rotation: right for every pair, robust, refused when it cannot be had, calibration kept apart."""

import json
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from handloom.adaptation.pseudo_labels import align_poses
from handloom.adaptation.rotation_start import (
    consensus_rotation,
    estimate_rotation,
    read_rotation,
    start_rotations,
)
from handloom.adaptation.source_prediction import load_source_predictions, predict_source
from handloom.datasets.views import load_views, save_views
from handloom.estimators.detnet.prediction import Predictions
from handloom.geometry.rotations import angle_deg
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.errors import InputError

from .conftest import PAIRS, ROOT_JOINT, Rig, make_view, open_hand

FIELD_OF_VIEW_DEG = 84.0
PAIR_NAMES = ["1-2", "1-3", "1-4", "2-3", "2-4", "3-4"]


def camera_rotations() -> Tensor:
    """Four cameras about as far apart as a headset's: up to 150 degrees."""
    vectors = torch.tensor([[0.0, 0, 0], [0.2, 2.6, 0.1], [0.3, 1.4, -0.2], [-0.4, 1.2, 0.3]], dtype=torch.float64)
    return roma.rotvec_to_rotmat(vectors)


def noisy_predictions(noise: Tensor, seed: int = 0) -> list[Predictions]:
    """The same hands seen by the cameras, each with its own noise."""
    g = torch.Generator().manual_seed(seed)
    turns = roma.rotvec_to_rotmat(torch.randn(PAIRS, 3, generator=g, dtype=torch.float64))
    hands = torch.from_numpy(open_hand() / 0.1) @ turns
    return [
        Predictions(
            hands @ rotation.T + sigma * torch.randn(hands.shape, generator=g, dtype=torch.float64),
            0.5 + 0.5 * torch.rand(PAIRS, 21, generator=g, dtype=torch.float64),
        )
        for rotation, sigma in zip(camera_rotations(), noise, strict=True)
    ]


@pytest.fixture
def headset(tmp_path: Path) -> tuple[list[Path], Path]:
    """The four cameras' views and source predictions as files."""
    views, arrays = [], {}
    predictions = noisy_predictions(torch.tensor([0.2, 0.1, 0.05, 0.05]))
    for number, (rotation, found) in enumerate(zip(camera_rotations(), predictions, strict=True), start=1):
        view = make_view(f"camera{number}", rotation.numpy(), np.random.default_rng(number), 32)
        views.append(tmp_path / f"camera{number}.npz")
        save_views(views[-1], view)
        arrays[f"joints_camera{number}"] = found.joints.float().numpy()
        arrays[f"confidence_camera{number}"] = found.confidence.float().numpy()
    header = Header("source_predictions", extra={"root_joint": str(ROOT_JOINT), "cameras": "4"})
    write_arrays(tmp_path / "source_predictions.npz", arrays, header)
    return views, tmp_path / "source_predictions.npz"


def start(headset: tuple[list[Path], Path], fidelity: str = "fixed", ray_share: float = 0.0, **changes: object) -> Path:
    views, predictions = headset
    output = predictions.with_name(f"rotations_{fidelity}.json")
    run = {"root_joint": ROOT_JOINT, "fidelity": fidelity, "headset": "headset2", "ray_share": ray_share}
    settings = AdaptationSettings(field_of_view_deg=FIELD_OF_VIEW_DEG, **changes)
    start_rotations(settings, predictions, views, output, **run)
    return output


@pytest.mark.parametrize("fidelity", ["fixed", "faithful"])
def test_all_pairs_are_estimated_and_compared_with_the_calibration(
    headset: tuple[list[Path], Path], fidelity: str
) -> None:
    output = start(headset, fidelity)
    document = json.loads(output.read_text())
    assert list(document["estimates"]) == PAIR_NAMES == list(document["diagnostics"])
    cameras = camera_rotations()
    for pair, (a, b) in zip(PAIR_NAMES, combinations(range(4), 2), strict=True):
        truth = cameras[a] @ cameras[b].T
        torch.testing.assert_close(
            torch.tensor(document["diagnostics"][pair]["calibrated"]).double(), truth, atol=1e-6, rtol=0
        )
        assert document["estimates"][pair]["published"] == document["estimates"][pair]["single"]
        for init in ("published", "single", "synchronised"):
            error = float(angle_deg(read_rotation(output, pair, init), truth))
            assert error == pytest.approx(document["diagnostics"][pair][f"{init}_error_deg"], abs=1e-4)
            if fidelity == "fixed":
                assert error < 6
    synchronised = [read_rotation(output, pair, "synchronised") for pair in ("1-2", "2-3", "1-3")]
    torch.testing.assert_close(synchronised[0] @ synchronised[1], synchronised[2], atol=1e-6, rtol=0)


@pytest.mark.parametrize("ray_share", [0.0, 0.5])
def test_estimates_do_not_depend_on_annotations_in_fixed_mode(
    headset: tuple[list[Path], Path], ray_share: float
) -> None:
    before = json.loads(start(headset, ray_share=ray_share).read_text())["estimates"]
    for path in headset[0]:
        view = load_views(path)
        view.joint_valid[:] = 0
        view.joints_cam_m[:] = 7
        view.focal_px[:] = 7
        view.principal_point_px[:] = 7
        view.cam_from_world_rotation[:] = np.eye(3)
        save_views(path, view)
    assert json.loads(start(headset, ray_share=ray_share).read_text())["estimates"] == before


def off_axis(headset: tuple[list[Path], Path], lacking: float) -> None:
    """Put every crop at its own place 12 to 35 degrees off the axis, and take `lacking` of that turn from its pose."""
    views, predictions = headset
    arrays, header = read_arrays(predictions, "source_predictions")
    for number, path in enumerate(views, start=1):
        view = load_views(path)
        assert set(view.is_left.tolist()) == {False, True}
        g = np.random.default_rng(10 + number)
        # A hand is off to one side more often than to the other, as a headset's cameras see it.
        direction = g.normal(0.7 * number, 0.5, PAIRS)
        slope = np.tan(np.radians(g.uniform(12, 35, PAIRS)))[:, None] * np.stack(
            [np.cos(direction), np.sin(direction)], 1
        )
        save_views(path, replace(view, crop_offset_half_widths=slope / np.tan(np.radians(FIELD_OF_VIEW_DEG / 2))))
        # z to the ray, by scipy and apart from the code under test.
        angle = np.arctan(np.linalg.norm(slope, axis=1, keepdims=True))
        axis = np.stack([-np.sin(direction), np.cos(direction), np.zeros(PAIRS)], 1)
        turns = Rotation.from_rotvec(lacking * angle * axis).as_matrix()
        joints = arrays[f"joints_camera{number}"].astype(np.float64)
        arrays[f"joints_camera{number}"] = np.einsum("nji,nkj->nki", turns, joints).astype(np.float32)
    write_arrays(predictions, arrays, header)


def errors_deg(output: Path, kind: str) -> np.ndarray:
    return np.array([v[f"{kind}_error_deg"] for v in json.loads(output.read_text())["diagnostics"].values()])


def test_only_the_whole_turn_to_the_hands_gives_the_cameras_rotation_when_poses_lack_it(
    headset: tuple[list[Path], Path],
) -> None:
    """Right and left hands alike: the predictions are un-mirrored, and so are the crops' places."""
    arrays, header = read_arrays(headset[1], "source_predictions")
    exact = noisy_predictions(torch.zeros(4))
    for number, found in enumerate(exact, start=1):
        arrays[f"joints_camera{number}"] = found.joints.float().numpy()
    write_arrays(headset[1], arrays, header)
    off_axis(headset, lacking=1.0)
    without, half, whole = (errors_deg(start(headset, ray_share=share), "single") for share in (0.0, 0.5, 1.0))
    assert without.max() > 20
    assert (half > 0.3 * without).all()
    assert whole.max() < 1e-3
    output = start(headset, ray_share=1.0)
    assert errors_deg(output, "synchronised").max() < 1e-3
    np.testing.assert_array_equal(errors_deg(output, "published"), without)


def test_a_share_of_the_turn_is_made_up_for_by_the_same_share(headset: tuple[list[Path], Path]) -> None:
    plain = errors_deg(start(headset), "single")
    off_axis(headset, lacking=0.5)
    shares = {share: errors_deg(start(headset, ray_share=share), "single").mean() for share in (0.0, 0.25, 0.5, 1.0)}
    assert shares[0.5] == pytest.approx(plain.mean(), abs=1.5)  # the noise of the predictions stays
    assert shares[0.25] > shares[0.5] + 1
    assert shares[0.0] > shares[0.25] + 1
    assert shares[1.0] > shares[0.5] + 1


def test_a_share_of_zero_is_the_published_estimate_bit_for_bit(headset: tuple[list[Path], Path]) -> None:
    off_axis(headset, lacking=0.5)
    zero, half = (json.loads(start(headset, ray_share=share).read_text())["estimates"] for share in (0.0, 0.5))
    first, second = load_source_predictions(headset[1], ROOT_JOINT)[:2]
    aligned = align_poses(first.joints.double(), second.joints.double(), ROOT_JOINT)
    direct = consensus_rotation(aligned.view_1, aligned.view_2, first.confidence * second.confidence).rotation_12
    assert zero["1-2"]["single"] == zero["1-2"]["published"] == half["1-2"]["published"] == direct.tolist()
    assert half["1-2"]["single"] != half["1-2"]["published"]


def test_faithful_turns_nothing(headset: tuple[list[Path], Path]) -> None:
    with pytest.raises(ValueError, match="turns by viewing rays belong to fixed"):
        start(headset, "faithful", ray_share=0.5)


def test_released_rotations_replace_the_estimates(headset: tuple[list[Path], Path], tmp_path: Path) -> None:
    given = {pair: roma.random_rotmat().double() for pair in PAIR_NAMES}
    keys = {f"set1-{int(p[0]) - 1},{int(p[2]) - 1}": {"R_pred": r.tolist()} for p, r in given.items()}
    file = tmp_path / "R_config.json"
    file.write_text(json.dumps(keys))
    output = start(headset, ray_share=0.5, rotations=str(file))
    for pair, rotation in given.items():
        for kind in ("published", "single"):
            torch.testing.assert_close(read_rotation(output, pair, kind), rotation)
    del keys["set1-0,2"]
    file.write_text(json.dumps(keys))
    with pytest.raises(InputError, match=r"set1-0,2\.R_pred"):
        start(headset, rotations=str(file))
    keys["set1-0,2"] = {"R_pred": torch.diag(torch.tensor([1.0, 1.0, -1.0])).tolist()}
    file.write_text(json.dumps(keys))
    with pytest.raises(InputError, match="is not a rotation"):
        start(headset, rotations=str(file))


def without_frames(path: Path, frames: slice) -> None:
    """Move some frames of a camera to moments that no other camera has."""
    view = load_views(path)
    view.frame[frames] += 1000 * int(view.camera.removeprefix("camera"))
    save_views(path, view)


def test_a_pair_without_a_common_frame_does_not_stop_the_others(
    headset: tuple[list[Path], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Camera 1 sees the first half only and camera 4 the second; both share frames with cameras 2 and 3."""
    without_frames(headset[0][0], slice(PAIRS // 2, None))
    without_frames(headset[0][3], slice(PAIRS // 2))
    output = start(headset)
    document = json.loads(output.read_text())
    assert [*document["estimates"]] == [*document["diagnostics"]] == [pair for pair in PAIR_NAMES if pair != "1-4"]
    assert all(values["synchronised_error_deg"] < 8 for values in document["diagnostics"].values())
    told = capsys.readouterr().err
    assert "pair 1-4 has no rotation: cameras camera1 and camera4 share no hand" in told
    assert "leave this pair out of `pairs`" in told
    with pytest.raises(InputError, match="has no single 3x3 rotation of pair 1-4"):
        read_rotation(output, "1-4", "single")


def test_cameras_that_share_nothing_leave_the_earlier_rotations_whole(headset: tuple[list[Path], Path]) -> None:
    before = start(headset).read_bytes()
    for path in headset[0][2:]:
        without_frames(path, slice(None))
    with pytest.raises(InputError, match=r"from camera 0 only cameras \[0, 1\] can be reached"):
        start(headset)
    without_frames(headset[0][1], slice(None))
    with pytest.raises(InputError, match="no two cameras of the headset share a hand"):
        start(headset)
    assert headset[1].with_name("rotations_fixed.json").read_bytes() == before


def test_consensus_survives_wrong_hands_and_flat_ones() -> None:
    """A third of the pairs show unrelated poses; flat hands alone would often give reflections (3.2)."""
    first, second = (noisy_predictions(torch.full((4,), 0.25), seed=5)[camera].joints for camera in (0, 1))
    flat = torch.tensor([1.0, 1.0, 0.05], dtype=torch.float64)
    second = second.clone()
    second[::3] = torch.randn(second[::3].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    truth = camera_rotations()[0] @ camera_rotations()[1].T
    found = consensus_rotation(first, second, torch.ones(PAIRS, 21, dtype=torch.float64))
    assert float(angle_deg(found.rotation_12, truth)) < 8
    assert float(torch.linalg.det(found.rotation_12)) == pytest.approx(1)
    flat_hands = consensus_rotation(first * flat, first * flat @ truth, torch.ones(PAIRS, 21, dtype=torch.float64))
    assert float(angle_deg(flat_hands.rotation_12, truth)) < 1e-4


def test_nothing_to_estimate_from_is_said() -> None:
    poses = torch.full((3, 21, 3), math.nan, dtype=torch.float64)
    with pytest.raises(InputError, match="none of 3 pairs of poses is finite"):
        consensus_rotation(poses, poses, torch.ones(3, 21, dtype=torch.float64))
    sure, unsure = (Predictions(torch.randn(3, 21, 3), torch.full((3, 21), value)) for value in (0.9, 0.1))
    with pytest.raises(InputError, match="confidence_threshold"):
        estimate_rotation(sure, unsure, root_joint=0, fidelity="fixed", confidence_threshold=0.5)


def test_annotated_validity_is_refused_in_fixed_mode() -> None:
    found = Predictions(torch.randn(3, 21, 3), torch.rand(3, 21))
    with pytest.raises(ValueError, match="belongs to faithful"):
        estimate_rotation(found, found, root_joint=0, fidelity="fixed", true_common=torch.ones(3, 21, dtype=torch.bool))


def test_source_predictions_are_unmirrored_and_remember_their_root(rig: Rig) -> None:
    output = rig.folder / "source_predictions.npz"
    predict_source(rig.detnet, rig.source, rig.views, output, root_joint=ROOT_JOINT)
    first, _ = load_source_predictions(output, ROOT_JOINT)
    is_left = torch.from_numpy(load_views(rig.views[0]).is_left)
    assert first.joints.shape == (PAIRS, 21, 3)
    # The thumb points to the other side on left hands.
    thumb_x = first.joints[:, 4, 0]
    assert bool((thumb_x[is_left] > 0).all())
    assert bool((thumb_x[~is_left] < 0).all())
    with pytest.raises(InputError, match="was made with root joint 0, expected 9"):
        load_source_predictions(output, 9)
