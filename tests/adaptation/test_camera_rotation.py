"""The first rotation: right for every pair, robust, refused when it cannot be had, calibration kept apart."""

import json
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from handloom.adaptation.camera_rotation import (
    chosen_pairs,
    consensus_rotation,
    disagreement,
    estimate_rotation,
    own_pair_rotations,
    start_rotations,
)
from handloom.adaptation.learner import Poses
from handloom.adaptation.map_learner import predict_source
from handloom.adaptation.pair_predictions import SourcePredictions, first_rotation
from handloom.adaptation.pseudo_labels import align_poses
from handloom.datasets.views import HandCrops, HandLabels
from handloom.estimators.hands.found import FoundHands
from handloom.geometry.rotations import angle_deg
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.cameras import KnownCamera
from handloom.runtime.config.footage import OWN_PAIRS
from handloom.runtime.errors import InputError
from rendered_pair import Filmed

from ..own_pair import OwnPair
from .rig import PAIRS, ROOT_JOINT, Rig, make_view, open_hand, other_labels


def rotation_of(path: Path, pair: str, kind: str) -> Tensor:
    return torch.from_numpy(first_rotation(path, pair, kind))


PAIR_NAMES = ["1-2", "1-3", "1-4", "2-3", "2-4", "3-4"]


def camera_rotations() -> Tensor:
    """Four cameras about as far apart as a headset's: up to 150 degrees."""
    vectors = torch.tensor([[0.0, 0, 0], [0.2, 2.6, 0.1], [0.3, 1.4, -0.2], [-0.4, 1.2, 0.3]], dtype=torch.float64)
    return roma.rotvec_to_rotmat(vectors)


def noisy_poses(noise: Tensor, seed: int = 0) -> list[Poses]:
    """The same hands seen by the cameras, each with its own noise."""
    g = torch.Generator().manual_seed(seed)
    turns = roma.rotvec_to_rotmat(torch.randn(PAIRS, 3, generator=g, dtype=torch.float64))
    hands = torch.from_numpy(open_hand() / 0.1) @ turns
    return [
        Poses(
            hands @ rotation.T + sigma * torch.randn(hands.shape, generator=g, dtype=torch.float64),
            0.5 + 0.5 * torch.rand(PAIRS, 21, generator=g, dtype=torch.float64),
        )
        for rotation, sigma in zip(camera_rotations(), noise, strict=True)
    ]


class Headset(NamedTuple):
    """The files of four cameras."""

    crops: list[Path]
    labels: list[Path]
    predictions: Path

    def predict(self, poses: list[Poses]) -> None:
        """Write these poses as the source network's."""
        joints, confidence = (torch.cat(values).float().numpy() for values in zip(*poses, strict=True))
        cameras = np.arange(4).repeat(PAIRS)
        SourcePredictions(cameras, joints, confidence, ROOT_JOINT, False).save(self.predictions)


@pytest.fixture
def headset(tmp_path: Path) -> Headset:
    files = [[tmp_path / f"camera{number}{suffix}" for number in range(1, 5)] for suffix in (".npz", ".labels.npz")]
    found = Headset(*files, tmp_path / "source_predictions.npz")
    for number, rotation in enumerate(camera_rotations()):
        crops, labels = make_view(f"camera{number + 1}", rotation.numpy(), number)
        crops.save(found.crops[number])
        labels.save(found.labels[number])
    found.predict(noisy_poses(torch.tensor([0.2, 0.1, 0.05, 0.05])))
    return found


def start(headset: Headset, fidelity: str = "fixed", ray_share: float = 0.0, **settings: Any) -> Path:
    output = headset.predictions.with_name(f"rotations_{fidelity}.json")
    choices: dict[str, Any] = {"fidelity": fidelity, "headset": "headset2", "ray_share": ray_share}
    start_rotations(*headset, output, adaptation=AdaptationSettings(**settings), **choices)
    return output


def estimates(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["estimates"]
    return found


def errors_deg(path: Path, kind: str) -> np.ndarray:
    return np.array([v[f"{kind}_error_deg"] for v in json.loads(path.read_text())["diagnostics"].values()])


@pytest.mark.parametrize("fidelity", ["fixed", "faithful"])
def test_all_pairs_are_estimated_and_compared_with_the_calibration(headset: Headset, fidelity: str) -> None:
    output = start(headset, fidelity)
    document = json.loads(output.read_text())
    assert list(document["estimates"]) == PAIR_NAMES == list(document["diagnostics"])
    cameras = camera_rotations()
    for pair, (a, b) in zip(PAIR_NAMES, combinations(range(4), 2), strict=True):
        truth, told = cameras[a] @ cameras[b].T, document["diagnostics"][pair]
        torch.testing.assert_close(torch.tensor(told["calibrated"]).double(), truth, atol=1e-6, rtol=0)
        assert document["estimates"][pair]["published"] == document["estimates"][pair]["single"]
        for kind in ("published", "single"):
            error = float(angle_deg(rotation_of(output, pair, kind), truth))
            assert error == pytest.approx(told[f"{kind}_error_deg"], abs=1e-4)
            assert fidelity == "faithful" or error < 6


@pytest.mark.parametrize("ray_share", [0.0, 0.5])
def test_estimates_do_not_depend_on_annotations_in_fixed_mode(headset: Headset, ray_share: float) -> None:
    before = estimates(start(headset, ray_share=ray_share))
    other_labels(headset.labels)
    assert estimates(start(headset, ray_share=ray_share)) == before


def off_axis(headset: Headset, lacking: float) -> None:
    """Put every crop at its own place 12 to 35 degrees off the axis, and take `lacking` of that turn from its pose."""
    predicted = SourcePredictions.load(headset.predictions)
    poses = []
    for number, path in enumerate(headset.crops):
        g = np.random.default_rng(11 + number)
        # A hand is off to one side more often than to the other, as a headset's cameras see it.
        direction = g.normal(0.7 * (number + 1), 0.5, PAIRS)
        angle = np.radians(g.uniform(12, 35, PAIRS))[:, None]
        axis = np.stack([-np.sin(direction), np.cos(direction), np.zeros(PAIRS)], 1)
        # z to the ray, by scipy and apart from the code under test.
        rays = Rotation.from_rotvec(angle * axis).apply([0, 0, 1])
        replace(HandCrops.load(path), rays=rays).save(path)
        joints, confidence = predicted.of_camera(number)
        turns = Rotation.from_rotvec(lacking * angle * axis).as_matrix()
        lacked = np.einsum("nji,nkj->nki", turns, joints.astype(np.float64))
        poses.append(Poses(torch.from_numpy(lacked), torch.from_numpy(confidence)))
    headset.predict(poses)


def test_only_the_whole_turn_to_the_hands_gives_the_cameras_rotation_when_poses_lack_it(headset: Headset) -> None:
    headset.predict(noisy_poses(torch.zeros(4)))
    off_axis(headset, lacking=1.0)
    without, half, whole = (errors_deg(start(headset, ray_share=share), "single") for share in (0.0, 0.5, 1.0))
    assert without.max() > 20
    assert (half > 0.3 * without).all()
    assert whole.max() < 1e-3
    output = start(headset, ray_share=1.0)
    np.testing.assert_array_equal(errors_deg(output, "published"), without)


def test_a_share_of_the_turn_is_made_up_for_by_the_same_share(headset: Headset) -> None:
    plain = errors_deg(start(headset), "single")
    off_axis(headset, lacking=0.5)
    shares = {share: errors_deg(start(headset, ray_share=share), "single").mean() for share in (0.0, 0.25, 0.5, 1.0)}
    assert shares[0.5] == pytest.approx(plain.mean(), abs=1.5)  # the noise of the predictions stays
    assert shares[0.25] > shares[0.5] + 1
    assert shares[0.0] > shares[0.25] + 1
    assert shares[1.0] > shares[0.5] + 1


def test_poses_that_were_turned_already_are_not_turned_again(headset: Headset) -> None:
    off_axis(headset, lacking=0.5)
    replace(SourcePredictions.load(headset.predictions), turned=True).save(headset.predictions)
    found = estimates(start(headset, ray_share=0.5))
    assert all(values["single"] == values["published"] for values in found.values())


def test_a_share_of_zero_is_the_published_estimate_bit_for_bit(headset: Headset) -> None:
    off_axis(headset, lacking=0.5)
    zero, half = (estimates(start(headset, ray_share=share)) for share in (0.0, 0.5))
    predicted = SourcePredictions.load(headset.predictions)
    first, second = (Poses(*map(torch.from_numpy, predicted.of_camera(camera))) for camera in (0, 1))
    aligned = align_poses(first.joints.double(), second.joints.double(), ROOT_JOINT)
    direct = consensus_rotation(aligned.view_1, aligned.view_2, first.confidence * second.confidence).rotation_12
    assert zero["1-2"]["single"] == zero["1-2"]["published"] == half["1-2"]["published"] == direct.tolist()
    assert half["1-2"]["single"] != half["1-2"]["published"]


def test_faithful_turns_nothing(headset: Headset) -> None:
    with pytest.raises(ValueError, match="turns by viewing rays belong to fixed"):
        start(headset, "faithful", ray_share=0.5)


def test_released_rotations_replace_the_estimates(headset: Headset, tmp_path: Path) -> None:
    given = {pair: roma.random_rotmat().double() for pair in PAIR_NAMES}
    keys = {f"set1-{int(p[0]) - 1},{int(p[2]) - 1}": {"R_pred": r.tolist()} for p, r in given.items()}
    file = tmp_path / "R_config.json"
    file.write_text(json.dumps(keys))
    output = start(headset, ray_share=0.5, rotations=str(file))
    for pair, rotation in given.items():
        for kind in ("published", "single"):
            torch.testing.assert_close(rotation_of(output, pair, kind), rotation)
    del keys["set1-0,2"]
    file.write_text(json.dumps(keys))
    with pytest.raises(InputError, match=r"set1-0,2\.R_pred"):
        start(headset, rotations=str(file))
    keys["set1-0,2"] = {"R_pred": torch.diag(torch.tensor([1.0, 1.0, -1.0])).tolist()}
    file.write_text(json.dumps(keys))
    with pytest.raises(InputError, match="is not a rotation"):
        start(headset, rotations=str(file))


def without_frames(headset: Headset, camera: int, frames: slice) -> None:
    """Move some frames of a camera, counted from 0, to moments that no other camera has."""
    for kind, paths in ((HandCrops, headset.crops), (HandLabels, headset.labels)):
        view = kind.load(paths[camera])
        view.frame[frames] += 1000 * (camera + 1)
        view.save(paths[camera])


def test_a_pair_without_a_common_frame_does_not_stop_the_others(
    headset: Headset, capsys: pytest.CaptureFixture[str]
) -> None:
    """Camera 1 sees the first half only and camera 4 the second; both share frames with cameras 2 and 3."""
    without_frames(headset, 0, slice(PAIRS // 2, None))
    without_frames(headset, 3, slice(PAIRS // 2))
    output = start(headset)
    document = json.loads(output.read_text())
    assert [*document["estimates"]] == [*document["diagnostics"]] == [pair for pair in PAIR_NAMES if pair != "1-4"]
    assert all(values["single_error_deg"] < 8 for values in document["diagnostics"].values())
    told = capsys.readouterr().err
    assert "pair 1-4 has no rotation: cameras camera1 and camera4 share no hand" in told
    assert "leave this pair out of `pairs`" in told
    with pytest.raises(InputError, match="has no single 3x3 rotation of pair 1-4"):
        first_rotation(output, "1-4", "single")


def test_cameras_that_share_nothing_leave_the_earlier_rotations_whole(headset: Headset) -> None:
    output = start(headset)
    before = output.read_bytes()
    for camera in (1, 2, 3):
        without_frames(headset, camera, slice(None))
    with pytest.raises(InputError, match="no two cameras of the headset share a hand"):
        start(headset)
    assert output.read_bytes() == before


def test_consensus_survives_wrong_hands_and_flat_ones() -> None:
    """A third of the pairs show unrelated poses; flat hands alone would often give reflections."""
    first, second = (noisy_poses(torch.full((4,), 0.25), seed=5)[camera].joints for camera in (0, 1))
    flat = torch.tensor([1.0, 1.0, 0.05], dtype=torch.float64)
    second = second.clone()
    second[::3] = torch.randn(second[::3].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    truth, ones = camera_rotations()[0] @ camera_rotations()[1].T, torch.ones(PAIRS, 21, dtype=torch.float64)
    found = consensus_rotation(first, second, ones)
    assert float(angle_deg(found.rotation_12, truth)) < 8
    assert float(torch.linalg.det(found.rotation_12)) == pytest.approx(1)
    assert float(angle_deg(consensus_rotation(first * flat, first * flat @ truth, ones).rotation_12, truth)) < 1e-4


def test_nothing_to_estimate_from_is_said() -> None:
    poses = torch.full((3, 21, 3), math.nan, dtype=torch.float64)
    with pytest.raises(InputError, match="none of 3 pairs of poses is finite"):
        consensus_rotation(poses, poses, torch.ones(3, 21, dtype=torch.float64))
    sure, blind = (Poses(torch.randn(3, 21, 3), torch.full((3, 21), value)) for value in (0.9, 0.0))
    with pytest.raises(InputError, match="joints valid in both views"):
        estimate_rotation(sure, blind, root_joint=0, fidelity="fixed")


def test_annotated_validity_is_refused_in_fixed_mode() -> None:
    found = Poses(torch.randn(3, 21, 3), torch.rand(3, 21))
    with pytest.raises(ValueError, match="belongs to faithful"):
        estimate_rotation(found, found, root_joint=0, fidelity="fixed", true_common=torch.ones(3, 21, dtype=torch.bool))


def test_source_predictions_are_unmirrored_turned_if_asked_and_remember_their_root(rig: Rig) -> None:
    output = rig.folder / "source_predictions.npz"
    predict_source(rig.crops, rig.source, output, ray_share=1.0)
    found, crops = SourcePredictions.load(output), HandCrops.load(rig.crops[0])
    assert (found.root_joint, found.turned) == (ROOT_JOINT, False)
    joints, confidence = found.of_camera(0)
    assert (joints.shape, confidence.shape) == ((PAIRS, 21, 3), (PAIRS, 21))
    # The thumb points to the other side on left hands.
    assert (joints[crops.is_left, 4, 0] > 0).all()
    assert (joints[~crops.is_left, 4, 0] < 0).all()
    half = np.sin(np.pi / 6), 0.0, np.cos(np.pi / 6)
    replace(crops, rays=np.tile(half, (PAIRS, 1))).save(rig.crops[0])
    predict_source(rig.crops, rig.source, output, ray_share=1.0, turned_poses=True)
    turned = SourcePredictions.load(output)
    assert turned.turned
    turn = Rotation.from_euler("y", 30, degrees=True)
    np.testing.assert_allclose(turned.of_camera(0)[0], np.einsum("ij,nkj->nki", turn.as_matrix(), joints), atol=1e-5)
    np.testing.assert_array_equal(turned.of_camera(1)[0], found.of_camera(1)[0])


def test_the_first_pairs_are_chosen_or_those_spread_over_the_footage() -> None:
    few = AdaptationSettings(pairs=5)
    assert chosen_pairs(100, few).tolist() == [0, 1, 2, 3, 4]
    assert chosen_pairs(3, few).tolist() == [0, 1, 2]
    spread = few.model_copy(update={"spread_pairs": True})
    assert chosen_pairs(101, spread).tolist() == [0, 25, 50, 75, 100]
    assert chosen_pairs(3, spread).tolist() == [0, 1, 2]


def test_the_disagreement_of_views_is_in_bones_and_needs_the_rotation() -> None:
    rotation = camera_rotations()[1]
    left = torch.randn(4, 21, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left[:, [0, 9]] = torch.tensor([[0.0, 0, 0], [0, 2, 0]], dtype=torch.float64)
    aligned = align_poses(left, left @ rotation + torch.tensor([0.3, 0.0, 0.4]), 0)
    assert disagreement(aligned, rotation) == pytest.approx(0, abs=1e-9)
    moved = aligned._replace(view_2=aligned.view_2 + torch.tensor([0.3, 0.0, 0.4]))
    assert disagreement(moved, rotation) == pytest.approx(0.25)


def own_rotations(pair: OwnPair) -> dict[str, Any]:
    pair.pair()
    pair.rotate(OWN_PAIRS)
    found: dict[str, Any] = json.loads((pair.folder / "first_rotation.json").read_text())["estimates"]["left-right"]
    return found


def test_both_views_hands_give_the_rotation_of_an_own_pair(own_pair: OwnPair, filmed: Filmed) -> None:
    found, true = own_rotations(own_pair), torch.from_numpy(filmed.right_from_left.T)
    for kind in ("poses", "keypoints"):
        assert float(angle_deg(rotation_of(own_pair.folder / "first_rotation.json", "left-right", kind), true)) < 3
    assert found["samples"] == 65
    assert found["keypoints_deviation_deg"] > found["field_of_view_deviation_deg"] > 0
    assert 0 < found["epipolar_error_percent"] < 10


@pytest.mark.parametrize("told_deg", [50.0, 85.0, None])
def test_the_deviation_holds_a_wrong_field_of_view(own_pair: OwnPair, filmed: Filmed, told_deg: float | None) -> None:
    """The key points fit nearly as well by a wrong one, so that only moving it shows what it costs."""
    camera = KnownCamera.of(told_deg, None)
    for path in own_pair.hands:
        hands = FoundHands.load(path)
        assert hands.intrinsics is not None
        assert camera.field_of_view_deg is not None
        scale = math.tan(math.radians(65 / 2)) / math.tan(math.radians(camera.field_of_view_deg / 2))
        replace(hands, intrinsics=hands.intrinsics * [[scale, 1, 1], [1, scale, 1], [1, 1, 1]]).save(path)
    own_pair.pair()
    files = own_pair.at("pairs.npz", "first_rotation.json")
    own_pair_rotations(own_pair.hands, *files, adaptation=OWN_PAIRS, cameras=(camera, camera))
    found = json.loads(files[1].read_text())["estimates"]["left-right"]
    off = angle_deg(torch.tensor(found["keypoints"], dtype=torch.float64), torch.from_numpy(filmed.right_from_left.T))
    assert float(off) < found["keypoints_deviation_deg"]
    assert found["cameras"][0]["told"] == ("assumed" if told_deg is None else "given")


def test_a_calibrated_camera_costs_little(own_pair: OwnPair) -> None:
    own_pair.pair()
    files = own_pair.at("pairs.npz", "first_rotation.json")
    costs = []
    for camera in (KnownCamera.calibrated(), KnownCamera.of(65.0, 5.0), KnownCamera.of(65.0, None)):
        own_pair_rotations(own_pair.hands, *files, adaptation=OWN_PAIRS, cameras=(camera, camera))
        costs.append(json.loads(files[1].read_text())["estimates"]["left-right"]["field_of_view_deviation_deg"])
    assert costs == sorted(costs)
    assert costs[0] < 2


def test_key_points_give_the_rotation_where_poses_are_wrong(own_pair: OwnPair, filmed: Filmed) -> None:
    """Both views' poses flattened along their axes, as networks do: the poses' rotation is off, the rays' is not."""
    for path in own_pair.hands:
        hands = FoundHands.load(path)
        replace(hands, joints_cam=hands.joints_cam * [1.0, 1.0, 0.3]).save(path)
    found, true = own_rotations(own_pair), torch.from_numpy(filmed.right_from_left.T)
    assert float(angle_deg(torch.tensor(found["poses"], dtype=true.dtype), true)) > 8
    assert float(angle_deg(torch.tensor(found["keypoints"], dtype=true.dtype), true)) < 4
    of_fit = found["keypoints_deviation_deg"] ** 2 - found["field_of_view_deviation_deg"] ** 2
    assert of_fit < 15**2
