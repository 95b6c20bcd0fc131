"""The file for the public challenge: its layout, both views of every pair, merged and of one size."""

import json
from pathlib import Path

import numpy as np
import pytest

from handloom.evaluation.challenge import write_submission
from handloom.hand.proportions import NOMINAL_BONE_M

from .headset_files import write_headset


def test_every_pair_has_both_views_poses_of_each_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_headset(tmp_path / "headset1", px=2)
    adapted = [path for path in files.predictions if path.match("*/s2dhand/seed1.predictions.npz")]
    write_submission(files.crops, adapted, tmp_path / "challenge.json")
    document = json.loads((tmp_path / "challenge.json").read_text())
    assert set(document) == {"info", "annotations"}
    pairs = document["annotations"]
    assert len(pairs) == 6
    pair = pairs["HMC_0+HMC_2"]
    assert set(pair) == {"sequence-a"}
    assert set(pair["sequence-a"]) == {"HMC_0", "HMC_2"}
    for frames in pair["sequence-a"].values():
        assert list(frames) == ["0", "1"]  # each with a right and a left hand, of which the left stays
        for joints in frames.values():
            found = np.array(joints)
            assert found.shape == (21, 3)
            assert found[0].tolist() == [0, 0, 0]
            assert np.linalg.norm(found[9]) == pytest.approx(1000 * NOMINAL_BONE_M, rel=1e-3)
    assert "24 poses of 6 pairs; 24 more of a frame's other hand" in capsys.readouterr().err
