"""Hands from files are the hands that the tools saw, in the right frames, or are refused with the reason."""

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch

from handloom.estimators.detnet import file_hands as detnet_files
from handloom.estimators.files import FileHandsSettings
from handloom.estimators.hands import HandSearchSettings
from handloom.estimators.hands.found import FoundHands
from handloom.estimators.hands.meshes import mesh_joints_m
from handloom.estimators.mediapipe import file_hands as mediapipe_files
from handloom.estimators.mediapipe.regions import squares_about_keypoints
from handloom.hand.joints import SNAP_FROM_MANO21
from handloom.hand.models import open_hand, write_hand_model
from handloom.runtime.errors import InputError

from .tool_files import (
    COUNT,
    HAND,
    HEIGHT_PX,
    INTRINSICS,
    NAMES,
    SHOWN,
    WIDTH_PX,
    Sequence8,
    edited,
    hold_folder,
    mirrored_picture,
    one_file_a_picture,
    parameters,
    sequence,
    taken,
)


@pytest.fixture
def place(tmp_path: Path) -> Sequence8:
    return sequence(tmp_path / "mug")


def whole_video_npz(path: Path) -> Path:
    """All hands in one file: rotation vectors, the whole picture's camera, and another person's left hand."""
    hands = [parameters(row) for row in range(COUNT)]
    several = {key: np.array([hand[key] for hand in hands]) for key in ("hand_pose", "betas")}
    orient = torch.from_numpy(SHOWN.rotations[:, 0])
    several["global_orient"] = roma.rotmat_to_rotvec(orient).numpy()
    several |= {
        "cam_t_full": SHOWN.cam_t,
        "is_right": np.ones(COUNT),
        "img_name": np.array([f"{n}.jpg" for n in NAMES]),
    }
    doubled = {key: np.concatenate([values, values[:1]]) for key, values in several.items()}
    doubled["is_right"][-1] = 0
    path.mkdir()
    np.savez(path / "hands.npz", **doubled, scaled_focal_length=SHOWN.focal_px, img_size=[WIDTH_PX, HEIGHT_PX])
    return path / "hands.npz"


def wilor_json(path: Path) -> Path:
    """All pictures in one file, by their names, in the nested form of WiLoR's predictions."""
    path.mkdir()
    content = {}
    for row, name in enumerate(NAMES):
        hand = parameters(row)
        told = {key: hand.pop(key) for key in ("global_orient", "hand_pose", "betas", "pred_cam")}
        content[f"{name}.jpg"] = [{**hand, "wilor_preds": told}]
    (path / "hands.json").write_text(json.dumps(content))
    return path / "hands.json"


def archive(path: Path) -> Path:
    """HaMeR's parameters, one file a hand, zipped, with the hand's number behind the picture's name."""
    folder = one_file_a_picture(path)
    other = one_file_a_picture(path.with_name("left"), is_right=0.0)
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as zipped:
        for name in NAMES:
            zipped.write(folder / f"{name}.npz", f"out/{name}_1.npz")
            zipped.write(other / f"{name}.npz", f"out/{name}_0.npz")
    return path.with_suffix(".zip")


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "HaMeR, an npz a picture": one_file_a_picture,
    "WiLoR, a JSON a picture": lambda path: one_file_a_picture(path, ".json"),
    "HaMeR, one npz": whole_video_npz,
    "WiLoR, one JSON": wilor_json,
    "HaMeR, zipped, a file a hand": archive,
    "HOLD's HaMeR": lambda path: hold_folder(path, "hamer"),
    "HOLD's data folder": lambda path: hold_folder(path / "processed", "hamer").parent,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hands_are_those_that_the_tool_saw(place: Sequence8, tmp_path: Path, layout: str) -> None:
    found = taken(place, LAYOUTS[layout](tmp_path / "given"))
    assert found.found.all()
    np.testing.assert_allclose(found.joints_cam, SHOWN.joints_cam_m, atol=1e-4)
    in_full = "HOLD" in layout or layout == "HaMeR, one npz"
    seen = SHOWN.keypoints_full_px if in_full else SHOWN.keypoints_px
    np.testing.assert_allclose(found.keypoints_px, seen, atol=0.1)
    assert found.vertices_cam is not None
    wrist = SHOWN.vertices_cam_m[:, :1] - found.vertices_cam[:, :1]  # of any origin
    np.testing.assert_allclose(found.vertices_cam + wrist, SHOWN.vertices_cam_m, atol=1e-4)
    np.testing.assert_allclose(found.intrinsics, INTRINSICS)
    assert (found.side, found.side_shown, found.network) == ("right", "right", "files")


def test_hands_of_metro_are_matched_by_the_names_beside_them(
    place: Sequence8, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = hold_folder(tmp_path / "processed", "metro")
    found = taken(place, given)
    assert "its rows name no pictures; the nth is taken for the nth frame" in capsys.readouterr().err
    joints = mesh_joints_m(torch.from_numpy(SHOWN.vertices_cam_m).float(), HAND).numpy()
    joints = joints - joints[:, :1]
    np.testing.assert_allclose(found.joints_cam, joints, atol=1e-4)
    np.testing.assert_allclose(found.keypoints_px, SHOWN.keypoints_px, atol=0.1)
    assert found.side_shown is None  # METRO knows right hands only
    (given / "crop_image").mkdir()
    for name in NAMES[::-1]:
        (given / "crop_image" / f"{name}.png").touch()
    np.testing.assert_allclose(taken(place, given).joints_cam, joints, atol=1e-4)
    # HOLD's next step leaves out what it takes for outliers, and counts joints as MANO.
    full = SHOWN.keypoints_px[:, np.argsort(SNAP_FROM_MANO21)] + 0.5
    full[2] = np.nan
    np.save(given / "j2d.full.npy", np.array({"j2d.right": full}, dtype=object), allow_pickle=True)
    found = taken(place, given)
    assert np.flatnonzero(~found.found).tolist() == [2]
    np.testing.assert_allclose(found.keypoints_px[3:], SHOWN.keypoints_px[3:], atol=0.1)


def test_frames_without_a_hand_stay_without_one(
    place: Sequence8, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = one_file_a_picture(tmp_path / "given", ".json")
    (given / f"{NAMES[1]}.json").write_text("[]")
    (given / f"{NAMES[4]}.json").unlink()
    found = taken(place, given)
    assert np.flatnonzero(~found.found).tolist() == [1, 4]
    np.testing.assert_allclose(found.joints_cam[5], SHOWN.joints_cam_m[5], atol=1e-4)
    assert "in 6 of 8 frames; none in 000002, 000008" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"right hand in 6 of 8 frames; expected a share of 0\.9 \(least_hands\)"):
        taken(place, given, search=HandSearchSettings(least_hands=0.9))


def test_without_mano_the_tools_joints_do(place: Sequence8, tmp_path: Path) -> None:
    write_hand_model(place.hand, open_hand(), {}, {})
    given = hold_folder(tmp_path / "processed", "hamer")
    found = taken(place, given)
    np.testing.assert_allclose(found.joints_cam, SHOWN.joints_cam_m, atol=1e-4)
    assert found.vertices_cam is None
    with pytest.raises(InputError, match=r"MANO's parameters and no joints.*MANO_RIGHT\.pkl.*pred_keypoints_3d"):
        taken(place, one_file_a_picture(tmp_path / "given"))
    with pytest.raises(InputError, match="MANO's mesh and no joints"):
        taken(place, hold_folder(tmp_path / "metro", "metro"))


def test_the_hand_on_the_mask_is_taken_of_several(place: Sequence8, tmp_path: Path) -> None:
    given = one_file_a_picture(tmp_path / "given", ".json")
    elsewhere = {**parameters(5), "box_center": [60.0, 420.0]}
    for row, name in enumerate(NAMES):
        (given / f"{name}.json").write_text(json.dumps([elsewhere, parameters(row)]))
    np.testing.assert_allclose(taken(place, given).joints_cam, SHOWN.joints_cam_m, atol=1e-4)
    with pytest.raises(InputError, match=r"2 right hands in frame 000000, and nothing shows which"):
        taken(place._replace(masks=None), given)


def rows_shifted(folder: Path) -> Path:
    """The files as a tool numbers pictures that it counts from 1."""
    return one_file_a_picture(folder, names=[f"{number:04d}" for number in range(1, 9)])


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "millimetres": (
        lambda path: _edited_hamer(path, _in_mm),
        r"v3d\.npy: 8 of 8 hands are none: the mean length of its bones is .* m.*\(millimetres taken for metres\?\)",
    ),
    "2D joints in OpenPose's order": (
        lambda path: _edited_hamer(path, lambda _: None, lambda j2d: j2d.update({"j2d.right": SHOWN.keypoints_px})),
        r"its 2D joints are not where its 3D joints are: they are in another order, OpenPose's .* where MANO's",
    ),
    "a left hand": (
        lambda path: hold_folder(path, "hamer", side="left"),
        r"v3d\.npy: holds a left hand only \(v3d\.left\), but a right hand was asked for; .* mirror the video",
    ),
    "left parameters": (
        lambda path: one_file_a_picture(path, is_right=0.0),
        r"given: all its 8 hands are left ones \(is_right 0\), but a right hand was asked for; .* mirror the video",
    ),
    "other pictures": (
        lambda path: one_file_a_picture(path, names=[f"cat_{name}" for name in "abcdefgh"]),
        r"its pictures \(cat_a, .* are not named as the frames \(000000, 000002, .*name them so",
    ),
    "another sequence's hands": (
        lambda path: one_file_a_picture(path, box_center=[60.0, 60.0]),
        r"8 of 8 hands do not lie where the masks show the right hand",
    ),
    "pictures of another shape": (
        lambda path: one_file_a_picture(path, img_size=[480, 640]),
        r"is of pictures of 480 x 640 pixels, but the frames have 640 x 480, another shape",
    ),
    "degrees": (
        lambda path: one_file_a_picture(path, global_orient=[[90.0, 20.0, 10.0]]),
        r"global_orient holds a rotation vector .* long, but radians were expected",
    ),
    "no rotation": (
        lambda path: one_file_a_picture(path, global_orient=np.ones((1, 3, 3)).tolist()),
        r"global_orient is not a rotation",
    ),
    "a short shape": (
        lambda path: one_file_a_picture(path, betas=[0.0] * 9),
        r"000000\.npz: betas has the shape \(1, 9\), but 10 numbers for each of 1 hands were expected",
    ),
    "no side": (lambda path: one_file_a_picture(path, is_right="both"), r"is_right is 'both'; expected 1 for a right"),
    "two places": (
        lambda path: one_file_a_picture(path, ".json", pred_cam_t_full=[0.4, 0, 60.0], scaled_focal_length=12500.0),
        r"pred_cam in its box and cam_t put the hand \d+ pixels apart; expected box_center and box_size",
    ),
    "no place": (
        lambda path: _without(one_file_a_picture(path, ".json"), "box_center"),
        r"does not tell where in the picture its hands are: it lacks box_center, pred_cam_t_full",
    ),
    "a pickle": (lambda path: _pickled(path), r"given: holds hands\.pkl, which are programs .*np\.savez"),
    "pickled objects in an npz": (
        lambda path: one_file_a_picture(path, hand_pose=np.array([print], dtype=object)),
        r"000000\.npz: cannot be read as arrays of hands \(hand_pose holds object, but plain numbers",
    ),
    "a pickle that runs": (lambda path: _hostile(path), r"v3d\.npy: cannot be read as .* asks for builtins\.eval"),
    "METRO's rows of other pictures": (
        lambda path: hold_folder(path, "metro", names=NAMES[:7]),
        r"v3d\.npy: has 7 rows without pictures' names, but there are 8 frames; use the pictures that HOLD used",
    ),
    "METRO's boxes as objects": (
        lambda path: _objects(hold_folder(path, "metro"), "boxes.npy"),
        r"boxes\.npy: cannot be read as METRO's boxes .*it holds object, but plain numbers",
    ),
    "joints of other meshes": (
        lambda path: _edited_hamer(path, lambda v3d: v3d.update({"j3d.right": v3d["j3d.right"].flip(0)})),
        r"v3d\.npy: its joints are not those of its meshes",
    ),
    "an empty folder": (lambda path: (path.mkdir(), path)[1], r"given: holds no files but nothing; expected HOLD's"),
    "cut short": (lambda path: _cut_short(path), r"000000\.npz: cannot be read as arrays of hands"),
    "a zip that leads outside": (lambda path: _outside(path), r"given\.zip: cannot be .*leads out of the archive"),
}  # fmt: skip


def _edited_hamer(path: Path, of_space: Callable[[dict[str, Any]], Any], of_image: Any = None) -> Path:
    folder = hold_folder(path, "hamer")
    edited(folder / "v3d.npy", of_space)
    if of_image is not None:
        edited(folder / "j2d.full.npy", of_image)
    return folder


def _in_mm(v3d: dict[str, Any]) -> None:
    for name in ("v3d.right", "j3d.right"):
        v3d[name] = v3d[name] * 1000


def _without(folder: Path, key: str) -> Path:
    for path in folder.iterdir():
        path.write_text(
            json.dumps([{k: v for k, v in hand.items() if k != key} for hand in json.loads(path.read_text())])
        )
    return folder


def _pickled(path: Path) -> Path:
    path.mkdir()
    (path / "hands.pkl").write_bytes(pickle.dumps(parameters(0)))
    return path


class _Runs:
    def __reduce__(self) -> Any:
        return eval, ("1 + 1",)


def _hostile(path: Path) -> Path:
    return _edited_hamer(path, lambda v3d: v3d.update(K=_Runs()))


def _objects(folder: Path, name: str) -> Path:
    np.save(folder / name, np.array([None] * COUNT, dtype=object), allow_pickle=True)
    return folder


def _cut_short(path: Path) -> Path:
    file = one_file_a_picture(path) / f"{NAMES[0]}.npz"
    file.write_bytes(file.read_bytes()[:900])
    return path


def _outside(path: Path) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as zipped:
        zipped.writestr("../../hands.json", "[]")
    return path.with_suffix(".zip")


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_these_hands_is_refused_with_the_reason(place: Sequence8, tmp_path: Path, name: str) -> None:
    make, told = REFUSED[name]
    with pytest.raises(InputError, match=told):
        taken(place, make(tmp_path / "given"))


def test_joints_in_another_order_are_refused(place: Sequence8, tmp_path: Path) -> None:
    """Without MANO nothing else would tell."""
    write_hand_model(place.hand, open_hand(), {}, {})
    openpose = torch.from_numpy(SHOWN.joints_m + SHOWN.cam_t[:, None]).float()
    given = _edited_hamer(tmp_path / "given", lambda v3d: v3d.update({"j3d.right": openpose}))
    with pytest.raises(InputError, match=r"not a hand's in the order that was expected: .* another one, OpenPose's"):
        taken(place, given)


def test_a_left_hand_that_is_called_a_right_one_is_refused(tmp_path: Path) -> None:
    left = mirrored_picture()
    place = sequence(tmp_path / "mug", shown=left)
    given = tmp_path / "given"
    given.mkdir()
    for row, name in enumerate(NAMES):
        joints = (SHOWN.joints_m[row] * [-1, 1, 1]).tolist()
        hand = {**parameters(row, left, is_right=0.0), "pred_keypoints_3d": joints, "is_right": 1}
        for key in ("global_orient", "hand_pose", "betas"):
            hand.pop(key)
        (given / f"{name}.json").write_text(json.dumps(hand))
    with pytest.raises(InputError, match=r"its joints are a left hand's, though it calls them a right one's"):
        taken(place, given)


def test_names_that_gaps_make_ambiguous_are_refused_and_settled(place: Sequence8, tmp_path: Path) -> None:
    """Protects from hands of other frames: 2 is the third frame used, or the second one's original number."""
    given = one_file_a_picture(tmp_path / "given", names=[f"{number:04d}" for number in range(COUNT)])
    found = taken(place, given)  # all of the extracted ones are there
    np.testing.assert_allclose(found.joints_cam, SHOWN.joints_cam_m, atol=1e-4)
    (given / "0001.npz").unlink()
    with pytest.raises(
        InputError, match=r"read as the original frames \(0000 for 000000, 0002 for 000002.*files\.match"
    ):
        taken(place, given)
    found = taken(place, given, match="extracted")
    np.testing.assert_allclose(found.joints_cam[2:], SHOWN.joints_cam_m[2:], atol=1e-4)
    with pytest.raises(InputError, match=r"tells of 7 pictures, but there are 8 frames, and .*match is order"):
        taken(place, given, match="order")


def test_pictures_that_are_counted_from_1_are_refused(tmp_path: Path) -> None:
    place = sequence(tmp_path / "mug", names=[f"{number:06d}" for number in range(COUNT)])
    given = one_file_a_picture(tmp_path / "given", names=[f"{number:04d}" for number in range(1, COUNT + 1)])
    with pytest.raises(
        InputError, match=r"have the numbers 1 to 8, but the frames 0 to 7, as if they were counted from 1"
    ):
        taken(place, given)


def test_smaller_frames_have_the_tools_pixels_scaled(tmp_path: Path) -> None:
    place = sequence(tmp_path / "mug")
    bigger = {"img_size": [2 * WIDTH_PX, 2 * HEIGHT_PX]}
    given = tmp_path / "given"
    given.mkdir()
    for row, name in enumerate(NAMES):
        hand = parameters(row)
        double = {"box_center": (2 * SHOWN.box_center[row] + 0.5).tolist(), "box_size": 2 * SHOWN.box_size[row]}
        (given / f"{name}.json").write_text(json.dumps({**hand, **double, **bigger}))
    np.testing.assert_allclose(taken(place, given).keypoints_px, SHOWN.keypoints_px, atol=0.1)


VIEW: dict[str, Any] = {"masks": None, "object_poses": None, "field_of_view_deg": 60.0}


@pytest.mark.parametrize("files", [detnet_files, mediapipe_files], ids=["detnet", "mediapipe"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_view_of_a_camera_pair_has_them_in_the_squares_of_its_network(
    place: Sequence8, tmp_path: Path, files: Any, side: Any
) -> None:
    """A left hand is a mirrored right one, to the last digit."""
    shown = SHOWN if side == "right" else mirrored_picture()
    focal = WIDTH_PX / 2 / np.tan(np.pi / 6)
    given = tmp_path / "given"
    given.mkdir()
    for row, name in enumerate(NAMES):
        (given / f"{name}.json").write_text(json.dumps(parameters(row, shown, is_right=float(side == "right"))))
    hands = tmp_path / "hands.npz"
    files.find_hands(
        place.frames, place.frames_json, given, hands, network=FileHandsSettings(), side=side, hand=place.hand,
        search=HandSearchSettings(least_hands=0.05), where="footage.pairs.rig.left", **VIEW,
    )  # fmt: skip
    found = FoundHands.load(hands)
    np.testing.assert_allclose(found.keypoints_px, shown.keypoints_px, atol=0.1)
    assert found.intrinsics is not None
    assert (found.intrinsics[0, 0], found.side, found.side_shown) == (pytest.approx(focal), side, side)
    own = squares_about_keypoints(shown.keypoints_px) if files is mediapipe_files else None
    expected = own.angle_rad if own else np.zeros(COUNT)
    np.testing.assert_allclose(found.angle_rad, expected, atol=1e-6)
    if side == "left":
        right = _right_view(place, tmp_path, files)
        np.testing.assert_allclose(found.joints_cam, right.joints_cam * [-1, 1, 1], atol=1e-6)


def _right_view(place: Sequence8, tmp_path: Path, files: Any) -> FoundHands:
    files.find_hands(
        place.frames, place.frames_json, one_file_a_picture(tmp_path / "right"), tmp_path / "right.npz",
        network=FileHandsSettings(), side="right", hand=place.hand,
        search=HandSearchSettings(least_hands=0.05), where="footage.pairs.rig.left", **VIEW,
    )  # fmt: skip
    return FoundHands.load(tmp_path / "right.npz")


def test_a_view_must_know_the_size_of_the_tools_pictures(place: Sequence8, tmp_path: Path) -> None:
    given = hold_folder(tmp_path / "processed", "metro")
    with pytest.raises(InputError, match=r"does not tell the size of its pictures, and no mask shows"):
        taken(place._replace(masks=None), given)


def test_parameters_with_more_shape_than_the_hand_model_are_refused(place: Sequence8, tmp_path: Path) -> None:
    write_hand_model(place.hand, replace(HAND, shapedirs=HAND.shapedirs[..., :6]), {}, {})
    with pytest.raises(InputError, match="has 10 shape coefficients, but the hand model 6"):
        taken(place, one_file_a_picture(tmp_path / "given"))
