"""Adaptation of a camera pair: it brings the views together, ends bit-equal after a kill, and needs no heat maps."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from handloom.demo.camera_pair import Filmed
from handloom.footage.camera_rotation import keypoint_rotation, pose_rotation
from handloom.footage.hands_file import poses_of, read_hands
from handloom.footage.learners import PairPoses
from handloom.footage.pair_adaptation import FootageAdaptation, adapt_footage
from handloom.footage.pair_rotation import read_rotation_12
from handloom.footage.pairing import pair_views, read_pairs
from handloom.footage.source_networks import LANDMARKS_KIND, spread_rows
from handloom.geometry.rotations import angle_deg
from handloom.runtime.artifacts import read_weights
from handloom.runtime.config.footage import FootageSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json

from .conftest import Rig, TinyNetwork

OUTPUTS = ("network.safetensors", "history.csv", "rotation.json")


def paired(rig: Rig) -> Path:
    pairs = rig.folder / "pairs.npz"
    pair_views(rig.settings.pairing, "rig", 0.4, *rig.hands, *rig.lists, pairs, rig.folder / "pairing.json")
    return pairs


def adapt(rig: Rig, name: str, **changes: Any) -> Path:
    """Adapt into a folder; `source` is not looked into, but its content counts for what may go on."""
    folder, pairs, source = rig.folder / name, paired(rig), rig.folder / "source.bin"
    source.write_bytes(b"a network")
    settings = FootageSettings.model_validate(
        rig.settings.model_dump() | {"adaptation": rig.settings.adaptation.model_dump() | changes}
    )
    outputs = [folder / each for each in OUTPUTS]
    work = rig.folder / "work"
    adapt_footage(
        *(settings, rig.pair, "rig", rig.frames, rig.hands, pairs, source, *outputs),
        work=work,
        network=TinyNetwork(),
        threads=1,
    )
    return folder


def test_adaptation_brings_the_views_together_and_leaves_its_files(rig: Rig) -> None:
    folder = adapt(
        rig, "whole", epochs=8, learning_rate=3e-3, rotation_momentum=0.0, rotation="poses", teacher_momentum=0.5
    )
    history = pd.read_csv(folder / "history.csv")
    assert history["epoch"].tolist() == list(range(9))
    assert history["joint_loss"].iloc[-1] < 0.8 * history["joint_loss"].iloc[1]
    assert history["disagreement_bones"].iloc[-1] < 0.95 * history["disagreement_bones"].iloc[0]
    rotation = read_json(folder / "rotation.json")
    assert rotation["pairs"] == 20
    assert rotation["start_is_of"] == "poses"
    for which in ("start", "end", "of_poses"):
        turn = read_rotation_12(folder / "rotation.json", which)
        assert torch.allclose(turn @ turn.T, torch.eye(3, dtype=torch.float64), atol=1e-9)
        assert np.linalg.norm(rotation[which]["axis"]) == pytest.approx(1)
    state, header = read_weights(folder / "network.safetensors", LANDMARKS_KIND)
    assert set(state) == set(TinyNetwork().state_dict())
    assert header.seed == 1
    assert not torch.equal(state["joints.bias"], TinyNetwork().joints.bias)


def test_a_killed_adaptation_goes_on_and_ends_bit_equal(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_epoch = FootageAdaptation.run_epoch

    def killed(job: FootageAdaptation) -> None:
        if job.epoch == 2:
            raise KeyboardInterrupt
        run_epoch(job)

    whole = adapt(rig, "whole", augmentation={"rotation_deg": 20.0, "noise": 0.1})
    monkeypatch.setattr(FootageAdaptation, "run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        adapt(rig, "killed", augmentation={"rotation_deg": 20.0, "noise": 0.1})
    assert len(list((rig.folder / "work").rglob("step-*.pt"))) == 2
    assert not (rig.folder / "killed").exists()
    monkeypatch.setattr(FootageAdaptation, "run_epoch", run_epoch)
    capsys.readouterr()
    again = adapt(rig, "killed", augmentation={"rotation_deg": 20.0, "noise": 0.1})
    assert "going on at epoch 2" in capsys.readouterr().err
    for name in OUTPUTS:
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name
    assert list((rig.folder / "work").iterdir()) == []


def test_another_setting_does_not_go_on_from_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_epoch = FootageAdaptation.run_epoch

    def killed(job: FootageAdaptation) -> None:
        if job.epoch == 2:
            raise KeyboardInterrupt
        run_epoch(job)

    monkeypatch.setattr(FootageAdaptation, "run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        adapt(rig, "killed")
    monkeypatch.setattr(FootageAdaptation, "run_epoch", run_epoch)
    capsys.readouterr()
    adapt(rig, "other", learning_rate=2e-4)
    assert "going on" not in capsys.readouterr().err


def test_key_points_give_the_rotation_where_poses_are_wrong(rig: Rig, filmed: Filmed) -> None:
    """Both views' poses flattened along their axes, as networks do: the poses' rotation is off, the rays' is not."""
    hands = read_hands(rig.hands[0])[0], read_hands(rig.hands[1])[0]
    rows = read_pairs(paired(rig)).rows
    left, right = (poses_of(hand, index) for hand, index in zip(hands, rows, strict=True))
    flat = torch.tensor([1.0, 1.0, 0.3], dtype=torch.float64)
    poses = PairPoses(left[0] * flat, right[0] * flat, left[1], right[1])
    true = torch.from_numpy(filmed.right_from_left.T)
    found = keypoint_rotation(poses, hands, rows)
    assert float(angle_deg(pose_rotation(poses).rotation_12, true)) > 8
    assert float(angle_deg(found.rotation_12, true)) < 4
    assert found.deviation_deg is not None
    assert found.deviation_deg < 15


def test_a_start_of_key_points_stays(rig: Rig) -> None:
    rotation = read_json(adapt(rig, "keypoints", learning_rate=1e-3) / "rotation.json")
    assert rotation["start_is_of"] == "key points"
    assert rotation["turned_deg"] == pytest.approx(0, abs=1e-6)
    assert rotation["start_deviation_deg"] > 0


def test_pairs_are_spread_over_the_footage(rig: Rig) -> None:
    pairs = read_pairs(paired(rig))
    left, _ = spread_rows(pairs, 5)
    assert (left[0], left[-1]) == (pairs.rows[0][0], pairs.rows[0][-1])
    assert len(left) == 5
    assert len(spread_rows(pairs, 10_000)[0]) == len(pairs.rows[0])


def test_frames_that_do_not_belong_to_the_hands_are_refused(rig: Rig) -> None:
    paired(rig)
    (rig.frames[0] / "0003.png").unlink()
    with pytest.raises(InputError, match="holds 89 frames, but 90 were looked at"):
        adapt(rig, "short")
