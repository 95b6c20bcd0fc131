"""GANerated Hands' layout: text files, millimetres, left hands."""

import numpy as np
import pytest
from PIL import Image

from handloom.datasets import ImageSetSettings
from handloom.datasets.ganerated import GaneratedHands
from handloom.datasets.training_samples import load_samples, write_samples
from handloom.runtime.errors import InputError

KEYPOINTS = np.stack([100 + np.arange(21.0), 80 + 3 * np.arange(21.0)], axis=1)
JOINTS_MM = np.arange(63.0).reshape(21, 3)


@pytest.fixture
def root(tmp_path):
    for kind in ("withObject", "noObject"):
        folder = tmp_path / "data" / kind / "0001"
        folder.mkdir(parents=True)
        Image.fromarray(np.zeros((256, 256, 3), np.uint8)).save(folder / "0001_color_composed.png")
        (folder / "0001_joint2D.txt").write_text(",".join(f"{value:.3f}" for value in KEYPOINTS.ravel()) + "\n")
        (folder / "0001_joint_pos_global.txt").write_text(",".join(f"{value:.3f}" for value in JOINTS_MM.ravel()))
    return tmp_path


def test_a_hand_is_left_in_metres_and_in_snap_order(root):
    hands = GaneratedHands(ImageSetSettings(root=str(root)))
    assert len(hands) == 2
    hand = hands.hand(0)
    assert hand.is_left
    np.testing.assert_allclose(hand.joints_cam_m, JOINTS_MM / 1000)
    np.testing.assert_allclose(hand.keypoints_px, KEYPOINTS)
    assert hand.side_px == 2 * 60
    assert hand.centre_px.tolist() == [110, 110]


@pytest.mark.parametrize(
    ("content", "words"),
    [("1,2,3", "holds 3 values, but 63 finite"), ("x," * 63, "cannot be read"), ("nan," * 63, "63 finite numbers")],
)
def test_unusable_text_files_are_named(root, content, words):
    (root / "data" / "noObject" / "0001" / "0001_joint_pos_global.txt").write_text(content)
    with pytest.raises(InputError, match=rf"0001_joint_pos_global\.txt: .*{words}"):
        GaneratedHands(ImageSetSettings(root=str(root))).hand(0)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"found no .*datasets\.ganerated\.root"):
        GaneratedHands(ImageSetSettings(root=str(tmp_path)))


@pytest.mark.parametrize(
    ("suffix", "missing", "words"),
    [
        ("color_composed.png", False, "cannot be decoded"),
        ("joint2D.txt", False, "holds 8 values, but 42 finite"),
        ("joint2D.txt", True, "no such file; expected a file of comma-separated numbers"),
        ("joint_pos_global.txt", True, "no such file; expected a file of comma-separated numbers"),
    ],
)
def test_a_bad_file_is_named_and_only_its_hand_left_out(root, tmp_path, capsys, suffix, missing, words):
    path = root / "data" / "noObject" / "0001" / f"0001_{suffix}"
    content = path.read_bytes()
    path.unlink()
    if not missing:
        path.write_bytes(content[:60])
    hands = GaneratedHands(ImageSetSettings(root=str(root), bad_fraction=0.5))
    write_samples(tmp_path / "ganerated.npz", hands, dataset="ganerated", crop_px=48)
    assert load_samples(tmp_path / "ganerated.npz").row.tolist() == [1]
    told = capsys.readouterr().err
    assert f"left out: hand 0: {path}: {words}" in told
    assert "1 of 2 hands of ganerated cropped" in told
