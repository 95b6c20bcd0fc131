"""RHD's layout: which hand is taken, in which order its joints come, how large its square is."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image

from handloom.datasets import ImageSetSettings
from handloom.datasets.rhd import RhdHands
from handloom.datasets.training_samples import load_samples, write_samples
from handloom.runtime.errors import InputError


def write_rhd(root, annotations, masks=None):
    folder = root / "RHD_published_v2" / "training"
    for name in ("color", "mask"):
        (folder / name).mkdir(parents=True)
    (folder / "anno_training.pickle").write_bytes(pickle.dumps(annotations))
    for index in annotations:
        colour = np.full((320, 320, 3), (10, 20, 30), np.uint8)
        Image.fromarray(colour).save(folder / "color" / f"{index:05d}.png")
        mask = np.zeros((320, 320), np.uint8) if masks is None else masks[index]
        Image.fromarray(mask).save(folder / "mask" / f"{index:05d}.png")
    return ImageSetSettings(root=str(root))


def labels(left_visible, right_visible):
    """Key point k of hand h at (100 h + k, 50 + 2 k), joints at (h, k, 1) centimetres."""
    uv_vis, xyz = np.zeros((42, 3)), np.zeros((42, 3))
    for hand, visible in enumerate((left_visible, right_visible)):
        for joint in range(21):
            row = 21 * hand + joint
            uv_vis[row] = (100 * hand + joint, 50 + 2 * joint, joint < visible)
            xyz[row] = (0.01 * hand, 0.01 * joint, 0.01)
    return {"uv_vis": uv_vis, "xyz": xyz, "K": np.eye(3)}


def test_the_left_hand_needs_strictly_more_visible_key_points(tmp_path):
    settings = write_rhd(tmp_path, {0: labels(5, 4), 1: labels(5, 5), 2: labels(4, 21)})
    hands = RhdHands(settings)
    assert [hands.hand(row).is_left for row in range(len(hands))] == [True, False, False]
    assert hands.hand(0).joints_cam_m[0].tolist() == [0, 0, 0.01]
    assert hands.hand(1).joints_cam_m[0].tolist() == [0.01, 0, 0.01]


def test_fingers_come_base_to_tip(tmp_path):
    hand = RhdHands(write_rhd(tmp_path, {0: labels(0, 21)})).hand(0)
    order = [0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17]
    assert (100 * hand.joints_cam_m[:, 1]).round(9).tolist() == order
    assert (hand.keypoints_px[:, 0] - 100).tolist() == order


def test_the_square_is_twice_the_larger_extent_around_the_key_points(tmp_path):
    narrow, wide = np.zeros((320, 320), np.uint8), np.zeros((320, 320), np.uint8)
    narrow[60:70, 100:110] = 20
    wide[60:70, 100:201] = 33  # extent 100 exceeds the key points' 40
    wide[:, 300] = 5  # the other hand's label does not count
    hands = RhdHands(write_rhd(tmp_path, {3: labels(0, 21), 8: labels(0, 21)}, {3: narrow, 8: wide}))
    assert hands.hand(0).side_px == 80
    assert hands.hand(1).side_px == 200
    assert hands.hand(0).centre_px.tolist() == [110, 70]
    assert hands.hand(0).image_u8[0, 0].tolist() == [10, 20, 30]


def test_a_share_of_the_images_shows_people_on_grey(tmp_path):
    mask = np.zeros((320, 320), np.uint8)
    mask[40:100, 90:130] = 20
    settings = write_rhd(tmp_path, {index: labels(0, 21) for index in range(4)}, dict.fromkeys(range(4), mask))
    hands = RhdHands(settings, masked_share=0.5)
    masked = [hands.hand(row).image_u8[0, 0].tolist() == [128] * 3 for row in range(4)]
    assert masked == [False, True, False, True]
    assert (hands.hand(1).image_u8[mask > 0] == (10, 20, 30)).all()


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({0: {"uv_vis": np.zeros((42, 3))}}, "image 0 has nothing as 'xyz'"),
        ({0: {"uv_vis": np.zeros((21, 3)), "xyz": np.zeros((42, 3))}}, r"ndarray of shape \(21, 3\) as 'uv_vis'"),
        ({0: [1, 2]}, "entry 0 is a list"),
        ({"a": labels(1, 1)}, "entry 'a' is a dict"),
        ([1, 2], "holds list"),
        ({}, "holds dict"),
    ],
)
def test_unusable_annotations_are_named(tmp_path, annotations, words):
    folder = tmp_path / "RHD_published_v2" / "training"
    folder.mkdir(parents=True)
    (folder / "anno_training.pickle").write_bytes(pickle.dumps(annotations))
    with pytest.raises(InputError, match=rf"anno_training\.pickle.*{words}"):
        RhdHands(ImageSetSettings(root=str(tmp_path)))


class _Malicious:
    def __reduce__(self):
        return os.system, ("exit 1",)


def test_a_malicious_annotation_file_is_refused(tmp_path):
    folder = tmp_path / "RHD_published_v2" / "training"
    folder.mkdir(parents=True)
    (folder / "anno_training.pickle").write_bytes(pickle.dumps({0: _Malicious()}))
    with pytest.raises(InputError, match="system, which is not allowed"):
        RhdHands(ImageSetSettings(root=str(tmp_path)))


def cropped(tmp_path, settings):
    """Prepare the hands for training; returns the rows that could be used."""
    hands = RhdHands(settings.model_copy(update={"bad_fraction": 0.5}))
    write_samples(tmp_path / "rhd.npz", hands, dataset="rhd", crop_px=48)
    return load_samples(tmp_path / "rhd.npz").row.tolist()


@pytest.mark.parametrize("folder", ["color", "mask"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_bad_picture_is_named_and_only_its_hand_left_out(tmp_path, capsys, folder, damage):
    settings = write_rhd(tmp_path, {number: labels(0, 21) for number in (3, 4, 5)})
    path = tmp_path / "RHD_published_v2" / "training" / folder / "00004.png"
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    assert cropped(tmp_path, settings) == [0, 2]
    told = capsys.readouterr().err
    assert f"left out: hand 1: {path}: {'no such image' if damage == 'missing' else 'cannot be decoded'}" in told
    assert "2 of 3 hands of rhd cropped" in told


@pytest.mark.parametrize(("key", "named"), [("uv_vis", "keypoints_px"), ("xyz", "joints_cam_m")])
def test_a_hand_with_nan_labels_is_left_out(tmp_path, capsys, key, named):
    annotations = {number: labels(0, 21) for number in (3, 4, 5)}
    annotations[4][key][30, 1] = np.nan
    assert cropped(tmp_path, write_rhd(tmp_path, annotations)) == [0, 2]
    assert f"left out: hand 1: {named} is not finite" in capsys.readouterr().err


def test_annotations_cut_short_are_named(tmp_path):
    settings = write_rhd(tmp_path, {0: labels(0, 21)})
    path = tmp_path / "RHD_published_v2" / "training" / "anno_training.pickle"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"anno_training\.pickle: cannot be read as a pickle"):
        RhdHands(settings)
