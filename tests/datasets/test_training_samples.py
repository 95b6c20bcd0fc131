"""Crops prepared for training: where points land, what is mirrored, what is counted as bad."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from handloom.datasets import LABELLED
from handloom.datasets.labelled_hands import LabelledHand, training_crop
from handloom.datasets.training_samples import crop_side, load_samples, write_samples
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.errors import InputError, OutputError
from handloom.runtime.stages import plain, run_job

JOINTS = 0.05 * np.random.default_rng(1).standard_normal((21, 3))


def hand_with_dots(side_px=40.0, is_left=False, channels=3, scale=4):
    """A black image with a bright block of `scale` pixels at every key point; points lie on a coarse grid."""
    image = np.zeros((120 * scale, 160 * scale, channels), np.uint8)
    places = np.array([(60 + 5 * (k % 5), 40 + 6 * (k // 5)) for k in range(21)])
    for x, y in places:
        image[y * scale : (y + 1) * scale, x * scale : (x + 1) * scale] = 255
    keypoints = places * scale + (scale - 1) / 2  # centres of the blocks, pixel centres at whole numbers
    image = image[..., 0] if channels == 1 else image
    return LabelledHand(
        image,
        keypoints.mean(axis=0),
        float(side_px * scale),
        keypoints.astype(float),
        JOINTS.copy(),
        np.ones(21),
        is_left,
    )


def centre_of_light(image, point, radius=2):
    """Centroid of brightness around a point, in the crop's coordinates (pixel centres at halves)."""
    grey = image[..., 0].astype(float)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]] + 0.5
    near = (np.abs(x - point[0]) < radius) & (np.abs(y - point[1]) < radius)
    weight = grey * near
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("is_left", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_key_points_stay_on_what_they_mark(is_left, channels):
    crop = training_crop(hand_with_dots(is_left=is_left, channels=channels), 90)
    assert crop.image_u8.shape == (90, 90, channels)
    for point in crop.keypoints_px:
        np.testing.assert_allclose(centre_of_light(crop.image_u8, point), point, atol=0.3)


def test_left_hands_are_mirrored_throughout():
    right, left = training_crop(hand_with_dots(), 90), training_crop(hand_with_dots(is_left=True), 90)
    np.testing.assert_array_equal(left.image_u8, right.image_u8[:, ::-1])
    np.testing.assert_allclose(left.keypoints_px[:, 0], 90 - right.keypoints_px[:, 0])
    np.testing.assert_allclose(left.joints_m, right.joints_m * [-1, 1, 1])


def test_the_field_of_view_is_the_middle_of_the_crop():
    hand = hand_with_dots(side_px=40)
    crop = training_crop(hand, crop_side(60))
    assert crop_side(60) == 90
    # 40 units of the scene are what the network sees in 60 pixels
    scene = hand.keypoints_px / 4
    pixels_per_unit = (crop.keypoints_px[4] - crop.keypoints_px[0])[0] / (scene[4] - scene[0])[0]
    assert pixels_per_unit == pytest.approx(60 / 40, rel=0.01)
    np.testing.assert_allclose(crop.keypoints_px.mean(axis=0), [45, 45], atol=0.5)


def test_a_square_beyond_the_image_is_zero_there():
    crop = training_crop(hand_with_dots(side_px=400), 90)
    assert (crop.image_u8[0] == 0).all()
    assert crop.image_u8.max() > 0


@dataclass
class Hands:
    bad: tuple[int, ...] = ()
    count: int = 10
    channels: int = 3
    bad_fraction: float = 0.2

    def __len__(self):
        return self.count

    def hand(self, row):
        if row in self.bad:
            raise InputError(f"image{row}.png: cut short")
        return hand_with_dots(side_px=30.0 + row, channels=self.channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_come_back_as_they_were_cropped(tmp_path, channels):
    hands = Hands(channels=channels)
    write_samples(tmp_path / "a.npz", hands, dataset="rhd", crop_px=48)
    samples = load_samples(tmp_path / "a.npz")
    assert len(samples) == 10
    assert samples.dataset == "rhd"
    expected = training_crop(hands.hand(7), 48)
    image = samples.images(np.array([7]))
    assert image.shape == (1, 48, 48, 3)
    np.testing.assert_array_equal(image[0], np.broadcast_to(expected.image_u8, (48, 48, 3)))
    np.testing.assert_array_equal(samples.keypoints_px[7], expected.keypoints_px)
    np.testing.assert_array_equal(samples.joints_m[7], expected.joints_m)


def test_the_file_is_an_npz_that_numpy_opens(tmp_path):
    write_samples(tmp_path / "a.npz", Hands(), dataset="rhd", crop_px=48)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["image_u8"].shape == (10, 48, 48, 3)
        np.testing.assert_array_equal(arrays["image_u8"], load_samples(tmp_path / "a.npz").image_u8)


def test_equal_samples_give_equal_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_samples(tmp_path / name, Hands(), dataset="rhd", crop_px=48)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_bad_images_are_listed_and_left_out(tmp_path, capsys):
    write_samples(tmp_path / "a.npz", Hands(bad=(2, 5)), dataset="rhd", crop_px=48)
    samples = load_samples(tmp_path / "a.npz")
    assert len(samples) == 8
    expected = training_crop(Hands().hand(6), 48)
    np.testing.assert_array_equal(samples.images(np.array([4]))[0], expected.image_u8)
    np.testing.assert_array_equal(samples.keypoints_px[4], expected.keypoints_px)
    output = capsys.readouterr().err
    assert "image2.png: cut short" in output
    assert "8 of 10 hands" in output


def test_too_many_bad_images_stop_the_stage_and_leave_nothing(tmp_path):
    with pytest.raises(InputError, match=r"(?s)datasets\.rhd\.bad_fraction = 0\.2 of its 10 hands.*image5\.png"):
        write_samples(tmp_path / "a.npz", Hands(bad=(2, 3, 5)), dataset="rhd", crop_px=48)
    assert not list(tmp_path.iterdir())


def test_too_many_bad_images_leave_the_earlier_file_whole(tmp_path):
    write_samples(tmp_path / "a.npz", Hands(), dataset="rhd", crop_px=48)
    before = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(InputError, match="bad_fraction"):
        write_samples(tmp_path / "a.npz", Hands(bad=(2, 3, 5)), dataset="rhd", crop_px=48)
    assert (tmp_path / "a.npz").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]


def test_a_data_set_without_a_usable_hand_is_named(tmp_path):
    hands = Hands(bad=tuple(range(10)))
    hands.bad_fraction = 1.0
    with pytest.raises(InputError, match="rhd: none of its 10 hands can be used"):
        write_samples(tmp_path / "a.npz", hands, dataset="rhd", crop_px=48)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_while_crops_are_written_loses_nothing(tmp_path, small_disk):
    write_samples(tmp_path / "a.npz", Hands(count=2), dataset="rhd", crop_px=48)
    before = (tmp_path / "a.npz").read_bytes()
    told = r"no room to write .*a\.npz.*free some space and run again"
    with small_disk(30_000), pytest.raises(OutputError, match=told):
        write_samples(tmp_path / "a.npz", Hands(), dataset="rhd", crop_px=48)
    assert (tmp_path / "a.npz").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]


@pytest.mark.parametrize("dataset", LABELLED)
def test_each_data_set_is_prepared_by_its_own_reader(tmp_path, dataset):
    """By the settings that its rule gives; here none is there, and each reader misses its own files."""
    row = LABELLED[dataset]
    with pytest.raises(InputError, match=f"{tmp_path}/{row.training}"):
        run_job(
            {"stage": row.stage, "settings": plain(row.settings(root=str(tmp_path))), "input_px": 32},
            inputs={},
            outputs={"samples": str(tmp_path / "a.npz")},
            offered={"dataset": dataset},
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["keypoints_px", "joints_cam_m"])
def test_labels_that_are_not_finite_make_a_bad_sample(field):
    hand = hand_with_dots()
    getattr(hand, field)[3] = np.nan
    with pytest.raises(InputError, match=f"{field} is not finite"):
        training_crop(hand, 48)


def test_another_kind_or_a_damaged_file_is_refused(tmp_path):
    write_arrays(tmp_path / "a.npz", {"image_u8": np.zeros(3)}, Header("view_samples"))
    with pytest.raises(InputError, match=r"a\.npz"):
        load_samples(tmp_path / "a.npz")
    write_samples(tmp_path / "b.npz", Hands(), dataset="rhd", crop_px=48)
    content = (tmp_path / "b.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"b\.npz: cannot be read as"):
        load_samples(tmp_path / "b.npz")
    with pytest.raises(InputError, match=r"none\.npz: no such file"):
        load_samples(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        (np.zeros((21, 3)), "all its joints are in one point"),
        (np.ones((21, 3)), "a hand without size, a placeholder"),
        (1000 * JOINTS, "millimetres taken for metres"),
        (100 * JOINTS, "centimetres taken for metres"),
        (JOINTS / 1000, "metres taken for millimetres"),
        (np.where(np.arange(21)[:, None] == 7, JOINTS[6], JOINTS), "one of its bones is 0 mm long"),
    ],
)
def test_joints_of_no_hand_make_a_bad_sample(joints, message):
    hand = replace(hand_with_dots(), joints_cam_m=joints)
    with pytest.raises(InputError, match=message):
        training_crop(hand, 48)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda points: 0 * points + 30, "expected x0 < x1"),
        (lambda points: points / 640, "shares of the picture's sides"),
        (lambda points: points + 5000, "outside of the picture, of 640 x 480"),
    ],
)
def test_key_points_of_no_hand_make_a_bad_sample(change, message):
    hand = hand_with_dots()
    with pytest.raises(InputError, match=message):
        training_crop(replace(hand, keypoints_px=change(hand.keypoints_px)), 48)
