"""Views of one camera, the pairs that two cameras share, and the list of hands that cannot be used."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from handloom.datasets.assembly_hands import HEADSET_CAMERAS, read_annotations
from handloom.datasets.invalid_list import is_listed, list_invalid, read_invalid
from handloom.datasets.views import ViewSamples, crop_views, load_views, pair_samples
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.config.datasets import AssemblyHandsSettings, Headset
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey

from .assembly_hands_files import SplitWriter


def cropped(
    dataset: AssemblyHandsSettings, folder: Path, camera: int = 1, headset: Headset = "headset1"
) -> ViewSamples:
    invalid, output = folder / "invalid.txt", folder / f"{headset}-{camera}.npz"
    if not invalid.exists():
        list_invalid(dataset, invalid, split="val")
    crop_views(dataset, invalid, output, split="val", headset=headset, camera_number=camera, input_px=64)
    return load_views(output)


def view(hands: list[tuple[int, str, int, bool]], camera: str = "A") -> ViewSamples:
    """Samples that only have an identity: (rank, sequence, frame, is_left)."""
    count = len(hands)
    rank, sequence, frame, is_left = zip(*hands, strict=True)
    return ViewSamples(
        camera=camera,
        rank=np.array(rank),
        file_name=np.array([""] * count),
        sequence=np.array(sequence),
        frame=np.array(frame),
        is_left=np.array(is_left),
        image_u8=np.zeros((count, 8, 8), dtype=np.uint8),
        joints_cam_m=np.zeros((count, 21, 3)),
        joint_valid=np.zeros((count, 21)),
        keypoints_256px=np.zeros((count, 21, 2)),
        focal_px=np.zeros((count, 2)),
        principal_point_px=np.zeros((count, 2)),
        crop_offset_half_widths=np.zeros((count, 2)),
        cam_from_world_rotation=np.zeros((count, 3, 3)),
        cam_from_world_translation_mm=np.zeros((count, 3)),
        unreadable_image=np.array([], dtype=str),
        unreadable_reason=np.array([], dtype=str),
    )


def test_a_camera_gives_its_hands_in_order(split: SplitWriter, tmp_path: Path) -> None:
    samples = cropped(split.write(), tmp_path, camera=3)
    assert samples.camera == HEADSET_CAMERAS["headset1"][2]
    assert samples.image_u8.shape == (4, 64, 64)
    assert samples.image_u8.std() > 10
    assert samples.frame.tolist() == [30, 30, 60, 60]
    assert samples.is_left.tolist() == [False, True] * 2
    assert len(samples.unreadable_image) == 0


def test_the_places_of_crops_agree_with_their_cameras(split: SplitWriter, tmp_path: Path) -> None:
    """Offsets, which no calibration enters, and intrinsics of the crops describe the same rays."""
    dataset = split.write()
    samples = cropped(dataset, tmp_path)
    annotations = read_annotations(dataset, "val", cameras=(samples.camera,))
    camera = annotations.intrinsics_px[0]
    height, width = read_grey(annotations.image_path(0)).shape
    centre_px = samples.crop_offset_half_widths * width / 2 + [width / 2, height / 2]
    expected = (128 - samples.principal_point_px) / samples.focal_px
    np.testing.assert_allclose((centre_px - camera[:2, 2]) / np.diag(camera)[:2], expected, atol=1e-9)
    assert np.ptp(samples.crop_offset_half_widths) > 0.1


def test_saved_views_read_back_equal(split: SplitWriter, tmp_path: Path) -> None:
    dataset = split.write()
    first, second = cropped(dataset, tmp_path), cropped(dataset, tmp_path)
    for field in dataclasses.fields(ViewSamples):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


def test_an_artifact_without_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "camera1.npz"
    write_arrays(path, {"rank": np.arange(3)}, Header("view_samples"))
    with pytest.raises(InputError, match=r"camera1.npz: lacks .*image_u8"):
        load_views(path)


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_bad_image_is_listed_and_its_hands_left_out(
    split: SplitWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    dataset = split.write()
    path = split.root / "images" / split.images[0]["file_name"]
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    samples = cropped(dataset, tmp_path)
    assert samples.frame.tolist() == [60, 60]
    assert samples.unreadable_image.tolist() == [split.images[0]["file_name"]]
    assert ("no such image" if damage == "missing" else "cut short") in samples.unreadable_reason[0]
    log = capsys.readouterr().err
    assert "left out" in log
    assert path.name in log
    assert "2 of 4 hands" in log


def test_too_many_bad_images_stop_the_run_and_earlier_crops_stay(split: SplitWriter, tmp_path: Path) -> None:
    dataset = split.write().model_copy(update={"bad_fraction": 0.4})
    cropped(dataset, tmp_path)
    before = (tmp_path / "headset1-1.npz").read_bytes()
    (split.root / "images" / split.images[0]["file_name"]).unlink()
    with pytest.raises(InputError, match=r"2 of 4 hands.*bad_fraction = 0.4(.|\n)*000030.png"):
        cropped(dataset, tmp_path)
    assert (tmp_path / "headset1-1.npz").read_bytes() == before


def test_the_invalid_list_covers_all_cameras_of_both_headsets(split: SplitWriter, tmp_path: Path) -> None:
    """The reference's list knew only the two cameras of its first run; later pairs kept bad hands."""
    nine_valid = [1] * 9 + [0] * 12 + [1] * 21
    for position in (0, 3, 9):
        split.annotations[position]["joint_valid"] = nine_valid
    dataset = split.write()
    cropped(dataset, tmp_path)
    listed = read_invalid(tmp_path / "invalid.txt")
    assert listed == {(split.images[position]["file_name"], False) for position in (0, 3, 9)}
    assert cropped(dataset, tmp_path, camera=4).is_left.tolist() == [True, False, True]


def test_ten_valid_joints_are_enough(split: SplitWriter, tmp_path: Path) -> None:
    split.annotations[0]["joint_valid"] = [1] * 10 + [0] * 11 + [1] * 21
    list_invalid(split.write(), tmp_path / "invalid.txt", split="val")
    assert (tmp_path / "invalid.txt").read_text() == ""


def test_a_users_list_is_added_to_ours(split: SplitWriter, tmp_path: Path) -> None:
    split.annotations[0]["joint_valid"] = [0] * 42
    dataset = split.write()
    split.files.invalid.write_text(f"{split.images[5]['file_name']},1\n")
    list_invalid(dataset, tmp_path / "invalid.txt", split="val")
    first, other = split.images[0]["file_name"], split.images[5]["file_name"]
    assert read_invalid(tmp_path / "invalid.txt") == {(first, False), (first, True), (other, True)}
    hands = read_annotations(dataset, "val")
    assert is_listed(hands, read_invalid(tmp_path / "invalid.txt")).sum() == 3


@pytest.mark.parametrize("line", ["image.jpg", "image.jpg,2", ",1", "image.jpg;0"])
def test_a_broken_invalid_list_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "invalid_val_ego.txt"
    path.write_text(f"good,name.jpg,0\n{line}\n")
    with pytest.raises(InputError, match=r"invalid_val_ego.txt: line 2"):
        read_invalid(path)


def test_a_camera_whose_hands_are_all_listed(split: SplitWriter, tmp_path: Path) -> None:
    for annotation in split.annotations:
        annotation["joint_valid"] = [0] * 42
    with pytest.raises(InputError, match="lists every hand"):
        cropped(split.write(), tmp_path)


def test_pairs_share_sequence_frame_and_hand() -> None:
    first = view([(0, "s", 1, False), (1, "s", 1, True), (4, "s", 2, False)])
    second = view([(3, "s", 1, True), (6, "s", 2, False), (7, "s", 2, True)], camera="B")
    index_1, index_2 = pair_samples(first, second)
    assert list(zip(index_1.tolist(), index_2.tolist(), strict=True)) == [(1, 0), (2, 1)]


def test_pair_order_is_first_appearance_in_the_file_not_numeric() -> None:
    """Sequence z and frame 9 come first because the annotation file has them first, in either camera."""
    first = view([(2, "a", 5, False), (4, "z", 9, False), (6, "z", 3, False), (7, "z", 3, True), (12, "a", 1, False)])
    second = view(
        [(0, "z", 9, False), (8, "z", 3, False), (9, "z", 3, True), (10, "a", 5, False), (14, "a", 1, False)],
        camera="B",
    )
    index_1, _ = pair_samples(first, second)
    named = [(str(first.sequence[i]), int(first.frame[i]), bool(first.is_left[i])) for i in index_1]
    assert named == [("z", 9, False), ("z", 3, False), ("z", 3, True), ("a", 5, False), ("a", 1, False)]


def test_a_hand_annotated_twice_counts_with_its_last_annotation() -> None:
    first = view([(0, "s", 1, False), (8, "s", 1, False)])
    index_1, index_2 = pair_samples(first, view([(2, "s", 1, False)], camera="B"))
    assert index_1.tolist() == [1]
    assert index_2.tolist() == [0]


def test_a_pair_without_a_common_frame_is_an_error() -> None:
    with pytest.raises(InputError, match=r"cameras A and B share no hand.*leave this pair out"):
        pair_samples(view([(0, "s", 1, False)]), view([(2, "s", 1, True)], camera="B"))


def test_both_views_of_a_pair_agree_on_the_world(split: SplitWriter, tmp_path: Path) -> None:
    """Mapping both views' camera joints back to the world gives the same hand."""
    dataset = split.write()
    views = [cropped(dataset, tmp_path, camera=number) for number in (1, 4)]
    indices = pair_samples(*views)
    world = [
        np.einsum("nji,nkj->nki", v.cam_from_world_rotation[i],
                  1000 * v.joints_cam_m[i] - v.cam_from_world_translation_mm[i][:, None])
        for v, i in zip(views, indices, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(world[0], world[1], atol=1e-9)


def test_unknown_keys_are_ignored(split: SplitWriter, tmp_path: Path) -> None:
    """Later versions of the data set may add some."""
    split.images[0]["colour"] = "grey"
    dataset = split.write()
    document = json.loads(split.files.data.read_text())
    document["info"] = {"version": 2}
    split.files.data.write_text(json.dumps(document))
    assert len(cropped(dataset, tmp_path)) == 4
