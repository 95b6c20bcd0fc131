"""The quality table of a camera pair: what a user needs to know, and which rotation is not to be trusted."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from handloom.adaptation.fused_poses import FusedPoses
from handloom.evaluation.footage_quality import consistency_mm, jitter_mm, write_footage_quality

from ..own_pair import OwnPair


def quality(pair: OwnPair, table: Path, rotation: Path | None = None) -> dict[str, dict[str, str]]:
    """The table's rows by their quantity."""
    pairing, own_rotation, poses = pair.at("pairing.json", "rotation.json", "poses.npz")
    write_footage_quality(pair.hands, pairing, rotation or own_rotation, poses, table)
    return {row["quantity"]: row for row in csv.DictReader(table.read_text().splitlines())}


def test_the_table_names_what_a_user_needs(posed_pair: OwnPair, tmp_path: Path) -> None:
    rows = quality(posed_pair, tmp_path / "quality.csv")
    poses = FusedPoses.load(posed_pair.folder / "poses.npz")
    assert float(rows["left_frames"]["value"]) == 90
    assert float(rows["right_share_with_hand"]["value"]) == 1
    assert float(rows["left_mean_presence"]["value"]) == pytest.approx(0.9)
    assert (float(rows["offset"]["value"]), rows["offset"]["note"]) == (pytest.approx(0.4, abs=0.005), "given")
    assert float(rows["clock_rate"]["value"]) == pytest.approx(1, abs=0.01)
    assert rows["left_mean_handedness"]["note"].endswith("a right hand")
    assert rows["left_field_of_view"]["note"].startswith("as given")
    assert rows["offset_certainty"]["value"] == ""
    assert float(rows["pairs_with_common_hand"]["value"]) == len(poses.joints_m)
    apart = consistency_mm(poses.joints_left_m, poses.joints_right_m, poses.right_from_left)
    assert float(rows["consistency_after"]["value"]) == pytest.approx(apart, abs=1e-3)
    assert float(rows["jitter_before"]["value"]) > 0


def test_an_uncertain_rotation_is_told(posed_pair: OwnPair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects users from poses that look right in the video and are turned wrongly in space."""
    content = json.loads((posed_pair.folder / "rotation.json").read_text())
    notes = {}
    content["field_of_view_deviation_deg"] = 3.0
    for deviation in (4.0, 15.8, None):
        content["start_deviation_deg"] = deviation
        (tmp_path / "rotation.json").write_text(json.dumps(content))
        rows = quality(posed_pair, tmp_path / "quality.csv", tmp_path / "rotation.json")
        notes[deviation] = rows["camera_rotation_deviation"]["note"]
    assert notes[15.8].startswith("do not trust the poses")
    assert notes[None].startswith("do not trust the poses: nothing holds")
    assert "do not trust" not in notes[4.0]
    assert capsys.readouterr().err.count("camera_rotation_deviation is 15.8 deg") == 1


def test_consistency_and_jitter_in_closed_form() -> None:
    generator = np.random.default_rng(0)
    joints, turn = generator.normal(size=(4, 21, 3)), np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert consistency_mm(joints, joints @ turn.T, turn) == pytest.approx(0, abs=1e-9)
    assert consistency_mm(joints, (joints + np.array([0.003, 0, 0.004])) @ turn.T, turn) == pytest.approx(5)
    times = np.arange(6) / 30
    line = np.zeros((6, 21, 3))
    line[..., 0] = times[:, None]
    assert jitter_mm(line, times) == pytest.approx(0, abs=1e-9)
    line[3, :, 1] = 0.002  # bends 2, 4 and 2 mm at frames 2, 3 and 4 of 1 to 4
    assert jitter_mm(line, times) == pytest.approx((0 + 2 + 4 + 2) / 4)
    times[3:] += 1.0  # frames 1 and 4 alone have even neighbours
    assert jitter_mm(line, times) == pytest.approx((0 + 2) / 2)
    assert np.isnan(jitter_mm(line[:2], times[:2]))


@pytest.mark.parametrize(
    ("told", "of_view", "words"),
    [
        ("assumed", 15.0, "do not trust the poses: nobody told a field of view"),
        ("given", 15.0, "not sure: standard deviation"),
        ("calibrated", 1.0, "standard deviation of the cameras' rotation, 1.0 by field of view"),
    ],
)
def test_what_was_assumed_is_not_called_good(
    posed_pair: OwnPair, tmp_path: Path, told: str, of_view: float, words: str
) -> None:
    content = json.loads((posed_pair.folder / "rotation.json").read_text())
    content |= {"start_deviation_deg": np.hypot(of_view, 4.0), "field_of_view_deviation_deg": of_view}
    content["cameras"] = [camera | {"told": told} for camera in content["cameras"]]
    (tmp_path / "rotation.json").write_text(json.dumps(content))
    rows = quality(posed_pair, tmp_path / "quality.csv", tmp_path / "rotation.json")
    assert rows["camera_rotation_deviation"]["note"].startswith(words)


def test_key_points_off_their_planes_are_told(posed_pair: OwnPair, tmp_path: Path) -> None:
    """Views of different hands or moments fit no rotation, however small its deviation is."""
    content = json.loads((posed_pair.folder / "rotation.json").read_text()) | {"epipolar_error_percent": 17.0}
    (tmp_path / "rotation.json").write_text(json.dumps(content))
    rows = quality(posed_pair, tmp_path / "quality.csv", tmp_path / "rotation.json")
    assert rows["epipolar_error"]["note"].startswith("do not trust the poses")
