"""The AssemblyHands reader: columns, units and joint order, and every way in which the files can be wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handloom.datasets.assembly_hands import ALL_CAMERAS, HEADSET_CAMERAS, read_annotations
from handloom.runtime.errors import InputError

from .assembly_hands_files import SplitWriter


def test_hands_come_in_annotation_order_right_before_left(split: SplitWriter) -> None:
    hands = read_annotations(split.write(), "val")
    assert len(hands) == 2 * 2 * 4 * 2
    assert np.all(np.diff(hands.rank) > 0)
    assert hands.is_left.tolist() == [False, True] * 16
    assert hands.sequence[0] == "sequence-a"
    assert hands.sequence[-1] == "sequence-b"


def test_joints_are_gathered_into_snap_order_per_hand(split: SplitWriter) -> None:
    """The wrist is joint 20 of the right hand and 41 of the left in the files; the index tip is 4 and 25."""
    world = np.array(split.joints["sequence-a"]["000030"]["world_coord"])
    hands = read_annotations(split.write(), "val")
    np.testing.assert_allclose(hands.joints_world_mm[0, [0, 8]], world[[20, 4]])
    np.testing.assert_allclose(hands.joints_world_mm[1, [0, 8]], world[[41, 25]])


def test_validity_is_gathered_like_the_joints(split: SplitWriter) -> None:
    split.annotations[0]["joint_valid"] = [0] * 42
    split.annotations[0]["joint_valid"][20 + 21] = 1  # the left wrist
    hands = read_annotations(split.write(), "val")
    assert hands.joint_valid[0].sum() == 0
    assert hands.joint_valid[1].tolist() == [1.0] + [0.0] * 20


def test_camera_joints_and_key_points_by_hand(split: SplitWriter) -> None:
    """Metres from millimetres, `R x + t`, and the pinhole projection."""
    hands = read_annotations(split.write(), "val", cameras=HEADSET_CAMERAS["headset1"][1:2])
    world_mm = hands.joints_world_mm[0]
    expected_m = (world_mm + np.array([10, 0, 5])) / 1000
    np.testing.assert_allclose(hands.joints_cam_m[0], expected_m)
    np.testing.assert_allclose(
        hands.keypoints_px[0], 350 * expected_m[:, :2] / expected_m[:, 2:] + [318, 240], atol=1e-9
    )


def test_only_the_asked_cameras_are_read(split: SplitWriter) -> None:
    """A headset can be used although the other headset's calibration is missing."""
    del split.calibration["sequence-b"]
    hands = read_annotations(split.write(), "val", cameras=HEADSET_CAMERAS["headset1"])
    assert set(hands.camera) == set(HEADSET_CAMERAS["headset1"])


def test_a_hand_without_a_box_is_no_sample(split: SplitWriter) -> None:
    split.annotations[0]["bbox"]["right"] = None
    hands = read_annotations(split.write(), "val")
    assert len(hands) == 31
    assert hands.is_left[0]


def test_unused_joints_may_be_nan(split: SplitWriter) -> None:
    """A frame's NaN joints matter only if a box asks for that hand."""
    frame = split.joints["sequence-a"]["000030"]["world_coord"]
    frame[25] = [float("nan")] * 3
    for annotation in split.annotations[:4]:
        annotation["bbox"]["left"] = None
    assert np.isfinite(read_annotations(split.write(), "val").joints_world_mm).all()


@pytest.mark.parametrize("which", ["data", "calibration", "joints"])
def test_json_cut_short_names_the_file(split: SplitWriter, which: str) -> None:
    dataset = split.write()
    path: Path = getattr(split.files, which)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match=f"{re.escape(path.name)}.*cannot be read as a JSON file"):
        read_annotations(dataset, "val")


def test_missing_file_tells_which_setting_to_change(split: SplitWriter) -> None:
    dataset = split.write()
    split.files.calibration.unlink()
    with pytest.raises(InputError, match=r"ego_calib.*no such file.*datasets.assembly_hands.root"):
        read_annotations(dataset, "val")


def test_missing_key_is_named(split: SplitWriter) -> None:
    del split.images[3]["frame_idx"]
    with pytest.raises(InputError, match=r"ego_data.*images\.3\.frame_idx"):
        read_annotations(split.write(), "val")


def test_too_few_validity_flags_are_refused(split: SplitWriter) -> None:
    split.annotations[2]["joint_valid"] = [1] * 21
    with pytest.raises(InputError, match=r"ego_data.*at least 42 items.*annotations\.2\.joint_valid"):
        read_annotations(split.write(), "val")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_joints_are_refused(split: SplitWriter, value: float) -> None:
    """JSON written by Python may hold NaN and Infinity."""
    split.joints["sequence-b"]["000060"]["world_coord"][7][1] = value
    with pytest.raises(InputError, match=r"joint_3d.*sequence-b, frame 000060 are NaN.*4 hands"):
        read_annotations(split.write(), "val")


def test_null_coordinates_are_refused(split: SplitWriter) -> None:
    split.joints["sequence-b"]["000060"]["world_coord"][7][1] = None
    with pytest.raises(InputError, match=r"joint_3d.*sequence-b, frame 000060 are NaN, infinite or null.*4 hands"):
        read_annotations(split.write(), "val")


def test_null_validity_of_some_hands_is_refused(split: SplitWriter) -> None:
    split.annotations[0]["joint_valid"] = None
    with pytest.raises(InputError, match=r"ego_data.*joint_valid of sequence sequence-a, frame 000030.*2 hands"):
        read_annotations(split.write(), "val")


@pytest.mark.parametrize("part", ["intrinsics", "extrinsics"])
def test_camera_missing_from_the_calibration(split: SplitWriter, part: str) -> None:
    known = split.calibration["sequence-a"][part]
    del (known if part == "intrinsics" else known["000030"])["HMC_21110305_mono10bit"]
    with pytest.raises(InputError, match=rf"ego_calib.*HMC_21110305_mono10bit is missing from the {part}.*21176875"):
        read_annotations(split.write(), "val")


def test_frame_missing_from_the_calibration(split: SplitWriter) -> None:
    del split.calibration["sequence-a"]["extrinsics"]["000060"]
    with pytest.raises(InputError, match=r"ego_calib.*no extrinsics of frame 000060"):
        read_annotations(split.write(), "val")


def test_frame_without_joints(split: SplitWriter) -> None:
    del split.joints["sequence-a"]["000060"]
    with pytest.raises(InputError, match=r"joint_3d.*no joints of sequence sequence-a, frame 000060"):
        read_annotations(split.write(), "val")


def test_annotation_of_an_unknown_image(split: SplitWriter) -> None:
    split.annotations[4]["image_id"] = 9999
    with pytest.raises(InputError, match="annotation 4 names image_id 9999"):
        read_annotations(split.write(), "val")


def test_cameras_that_see_nothing(split: SplitWriter) -> None:
    keep = [image for image in split.images if image["camera"] != ALL_CAMERAS[0]]
    wanted = {image["id"] for image in keep}
    dataset = split.write()
    annotations = [annotation for annotation in split.annotations if annotation["image_id"] in wanted]
    split.files.data.write_text(json.dumps({"images": keep, "annotations": annotations}))
    with pytest.raises(InputError, match=f"none of its 14 annotations.*{ALL_CAMERAS[0]}"):
        read_annotations(dataset, "val", cameras=ALL_CAMERAS[:1])


def test_file_names_cannot_leave_the_images_folder(split: SplitWriter) -> None:
    split.images[0]["file_name"] = "../../secret.png"
    with pytest.raises(InputError, match="leaves the images folder"):
        read_annotations(split.write(), "val")


def withheld_as(kind: str, split: SplitWriter) -> None:
    """What published splits hold in the place of labels."""
    frames = [frame for sequence in split.joints.values() for frame in sequence.values()]
    for frame in frames:
        if kind in ("zero", "one", "null"):
            frame["world_coord"] = [[{"zero": 0.0, "one": 1.0, "null": None}[kind]] * 3] * 42
        elif kind == "no world_coord":
            frame["world_coord"] = None
    for annotation in split.annotations:
        if kind == "validity null":
            annotation["joint_valid"] = None
        elif kind == "validity absent":
            del annotation["joint_valid"]
        elif kind == "validity zero":
            annotation["joint_valid"] = [0] * 42
    if kind == "empty file":
        split.joints.clear()


KINDS = (
    "zero",
    "one",
    "null",
    "no world_coord",
    "validity null",
    "validity absent",
    "validity zero",
    "empty file",
    "no file",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_whose_labels_are_withheld_is_unlabelled(
    split: SplitWriter, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    withheld_as(kind, split)
    dataset = split.write()
    if kind == "no file":
        split.files.joints.unlink()
    hands = read_annotations(dataset, "val")
    assert len(hands) == 32
    assert not hands.labelled.any()
    assert not hands.joint_valid.any()
    assert np.isnan(hands.joints_world_mm).all()
    assert set(hands.unlabelled) == {"sequence-a", "sequence-b"}
    assert "sequence-a has no labels: " in capsys.readouterr().err


def test_one_sequence_may_have_labels_and_another_none(split: SplitWriter) -> None:
    del split.joints["sequence-b"]
    hands = read_annotations(split.write(), "val")
    assert set(hands.sequence[hands.labelled]) == {"sequence-a"}
    assert hands.unlabelled["sequence-b"].endswith("joint_3d_v1-1.json has none of it")


def scaled(split: SplitWriter, factor: float) -> None:
    for sequence in split.joints.values():
        for frame in sequence.values():
            frame["world_coord"] = (factor * np.array(frame["world_coord"])).tolist()


def boxes(change: Callable[[list[float]], list[float]]) -> Callable[[SplitWriter], None]:
    def changed(split: SplitWriter) -> None:
        for annotation in split.annotations:
            annotation["bbox"] = {side: change(box) for side, box in annotation["bbox"].items()}

    return changed


def cameras(part: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[SplitWriter], None]:
    def changed(split: SplitWriter) -> None:
        for sequence in split.calibration.values():
            of_frames = [sequence[part]] if part == "intrinsics" else list(sequence[part].values())
            for known in of_frames:
                for name, matrix in known.items():
                    known[name] = change(np.array(matrix)).tolist()

    return changed


def extrinsics(rotation: np.ndarray, translation: float = 1.0) -> Callable[[SplitWriter], None]:
    return cameras("extrinsics", lambda m: np.hstack([rotation @ m[:, :3], translation * m[:, 3:]]))


SHEAR = np.array([[1.0, 0.1, 0], [0, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda split: scaled(split, 0.001), r"joint_3d.*joints of the right hand.*metres taken for millimetres"),
        (lambda split: scaled(split, 0.1), r"joint_3d.*centimetres taken for millimetres"),
        (lambda split: scaled(split, 1000.0), r"joint_3d.*the mean length of its bones is .* m, but 0\.01 to 0\.15 m"),
        (boxes(lambda b: [b[2], b[1], b[0], b[3]]), r"ego_data.*expected x0 < x1 and y0 < y1"),
        (boxes(lambda b: [b[0] / 636, b[1] / 480, b[2] / 636, b[3] / 480]), r"ego_data.*shares of the picture's sides"),
        (boxes(lambda b: [b[0] + 2000, b[1], b[2] + 2000, b[3]]), r"ego_data.*outside of the picture, of 636 x 480"),
        (boxes(lambda b: [True, *b[1:]]), r"ego_data.*valid number at annotations\.0\.bbox\.right\.0, found True"),
        (boxes(lambda b: [str(value) for value in b]), r"ego_data.*bbox\.right\.0, found '300\.0'"),
        (
            cameras("extrinsics", lambda m: np.add(m, 1e6 * np.eye(4)[[0, 0, 3]] * [0, 0, 0, 1])),
            r"joint_3d.*its distance from the camera is 1e\+03 m",
        ),
        (boxes(lambda b: [float("nan"), *b[1:]]), r"ego_data.*bbox of the right hand"),
        (cameras("intrinsics", lambda m: 0 * m), r"ego_calib.*no camera matrix: its last rows"),
        (cameras("intrinsics", lambda m: m * [[0], [0], [1]]), r"ego_calib.*focal lengths are \[0\.0, 0\.0\]"),
        (cameras("intrinsics", lambda m: m * [[-1], [1], [1]]), r"ego_calib.*focal lengths are \[-350\.0"),
        (cameras("intrinsics", lambda m: m + np.outer([5000.0, 0, 0], [0, 0, 1])), r"ego_calib.*centre is \[5318"),
        (cameras("intrinsics", np.transpose), r"ego_calib.*its last rows are"),
        (extrinsics(2 * np.eye(3)), r"ego_calib.*frame 000030 is not a rotation: it is 2 times one.*\(16 such views\)"),
        (extrinsics(SHEAR), r"ego_calib.*not a rotation: it is off orthonormal by 0\.1"),
        (extrinsics(np.diag([1.0, 1, -1])), r"ego_calib.*not a rotation: it mirrors"),
        (extrinsics(0 * np.eye(3)), r"ego_calib.*not a rotation: it is off orthonormal by 1"),
        (extrinsics(np.eye(3) * np.nan), r"ego_calib.*is not finite"),
        (
            extrinsics(np.diag([1.0, -1, -1])),
            r"ego_calib.*16 of 16|ego_calib.*32 of 32 hands are not where their boxes",
        ),
    ],
)
def test_labels_cameras_and_boxes_that_are_none_are_refused(
    split: SplitWriter, wrong: Callable[[SplitWriter], None], message: str
) -> None:
    wrong(split)
    with pytest.raises(InputError, match=message):
        read_annotations(split.write(), "val")


def test_images_of_a_camera_that_no_headset_has_are_named(
    split: SplitWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    split.images[0]["camera"] = "HMC_1"
    assert len(read_annotations(split.write(), "val")) == 30
    assert "1 of 16 images are left out, as no headset has their cameras HMC_1" in capsys.readouterr().err


def test_a_few_bad_hands_are_left_out_and_counted(split: SplitWriter, capsys: pytest.CaptureFixture[str]) -> None:
    split.annotations[0]["bbox"]["left"] = [50.0, 40, 30, 60]
    frame = split.joints["sequence-b"]["000060"]["world_coord"]
    frame[:21] = [frame[0]] * 21
    hands = read_annotations(split.write(), "val")
    assert len(hands) == 32 - 1 - 4
    told = capsys.readouterr().err
    assert "(1 of 32 hands)" in told
    assert "a hand without size, a placeholder? (4 of 32 hands)" in told


@pytest.mark.parametrize("what", ["image", "id", "file", "moment"])
def test_what_is_there_twice_is_refused(split: SplitWriter, what: str) -> None:
    if what == "image":
        split.annotations[3]["image_id"] = split.images[0]["id"]
    elif what == "id":
        split.images[3]["id"] = split.images[0]["id"]
    elif what == "file":
        split.images[3]["file_name"] = split.images[0]["file_name"]
    else:
        split.images[3] |= {name: split.images[0][name] for name in ("seq_name", "camera", "frame_idx")}
    named = "annotations 0 and 3 are both of image 100" if what == "image" else "is there twice, as "
    with pytest.raises(InputError, match=named):
        read_annotations(split.write(), "val")


def test_a_frame_number_of_forty_digits_is_refused(split: SplitWriter) -> None:
    split.images[0]["frame_idx"] = 10**40
    with pytest.raises(InputError, match=r"ego_data.*frame_idx is 1"):
        read_annotations(split.write(), "val")
