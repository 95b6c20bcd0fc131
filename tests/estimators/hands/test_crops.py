"""Hands cut out for a network: of annotated cameras, labels apart, and of a user's views."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handloom.datasets.assembly_hands import HEADSET_CAMERAS, read_annotations
from handloom.datasets.frames import read_frames
from handloom.datasets.invalid_list import list_invalid
from handloom.datasets.views import FramePairs, HandCrops, HandLabels, pair_rows
from handloom.estimators.detnet.hands import cut_boxes
from handloom.estimators.hands.crops import annotated_crops, found_crops
from handloom.estimators.hands.found import Answer, FoundHands
from handloom.estimators.hands.search import nominal_camera
from handloom.estimators.hands.squares import Squares, crops_of
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey

from ...datasets.assembly_hands_files import SplitWriter, small_split
from .small_video import PatchNetwork, Video, small_video

crop_views = annotated_crops("detnet", lambda weights, input_px, device: partial(cut_boxes, input_px=input_px))
crop_pairs = found_crops(lambda weights, device: PatchNetwork())
FIELD_OF_VIEW_DEG = 84.0


@pytest.fixture
def split(tmp_path: Path) -> SplitWriter:
    return small_split(tmp_path / "assemblyhands")


def cropped(split: SplitWriter, camera: int = 1, **dataset: Any) -> tuple[HandCrops, HandLabels]:
    """The hands of a camera of the first headset."""
    settings = split.write().model_copy(update=dataset)
    files = [split.root.with_name(name) for name in ("invalid.txt", "crops.npz", "labels.npz")]
    list_invalid([], files[0], dataset=settings, split="val")
    chosen = {"split": "val", "headset": "headset1", "camera": camera, "input_px": 64}
    crop_views(*files, dataset=settings, field_of_view_deg=FIELD_OF_VIEW_DEG, **chosen)
    return HandCrops.load(files[1]), HandLabels.load(files[2])


def test_a_camera_gives_its_hands_in_order_and_their_labels_apart(split: SplitWriter) -> None:
    crops, labels = cropped(split, camera=3)
    assert crops.camera == labels.camera == HEADSET_CAMERAS["headset1"][2]
    assert crops.image_u8.shape == (4, 64, 64, 1)
    assert crops.image_u8.std() > 10
    assert crops.frame.tolist() == labels.frame.tolist() == [30, 30, 60, 60]
    assert crops.is_left.tolist() == [False, True] * 2
    assert crops.picture_axes_from_crop[:2].tolist() == [np.eye(3).tolist(), np.diag([-1.0, 1, 1]).tolist()]
    assert crops.network == "detnet"


def test_the_rays_of_crops_agree_with_their_cameras(split: SplitWriter) -> None:
    """Rays, which no calibration enters, and intrinsics of the crops describe the same places."""
    crops, labels = cropped(split)
    annotations = read_annotations(split.dataset, "val", cameras=(crops.camera,))
    camera = annotations.intrinsics_px[0]
    height, width = read_grey(annotations.image_path(0)).shape
    slope = crops.rays[:, :2] / crops.rays[:, 2:]
    centre_px = slope * width / 2 / np.tan(np.radians(FIELD_OF_VIEW_DEG / 2)) + [width / 2, height / 2]
    expected = (128 - labels.principal_point_px) / labels.focal_px
    np.testing.assert_allclose((centre_px - camera[:2, 2]) / np.diag(camera)[:2], expected, atol=1e-9)
    assert np.ptp(slope) > 0.1


def test_both_views_of_a_pair_agree_on_the_world(split: SplitWriter) -> None:
    """Mapping both views' camera joints back to the world gives the same hand."""
    views = [cropped(split, camera=number)[1] for number in (1, 4)]
    world = [
        np.einsum("nji,nkj->nki", view.cam_from_world_rotation[rows],
                  1000 * view.joints_cam_m[rows] - view.cam_from_world_translation_mm[rows][:, None])
        for view, rows in zip(views, pair_rows(*views), strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(world[0], world[1], atol=1e-9)


@pytest.mark.parametrize(("damage", "told"), [("missing", "no such image"), ("truncated", "cut short")])
def test_a_bad_image_is_listed_and_its_hands_left_out(
    split: SplitWriter, capsys: pytest.CaptureFixture[str], damage: str, told: str
) -> None:
    path = split.root / "images" / split.images[0]["file_name"]
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    assert [view.frame.tolist() for view in cropped(split)] == [[60, 60]] * 2
    log = capsys.readouterr().err
    for words in ("left out: ", path.name, told, "2 of 4 hands"):
        assert words in log


def test_too_many_bad_images_stop_the_run_and_earlier_crops_stay(split: SplitWriter) -> None:
    cropped(split)
    files = [split.root.with_name(name) for name in ("crops.npz", "labels.npz")]
    before = [path.read_bytes() for path in files]
    (split.root / "images" / split.images[0]["file_name"]).unlink()
    with pytest.raises(InputError, match=r"2 of 4 hands.*bad_fraction = 0.4(.|\n)*000030.png"):
        cropped(split, bad_fraction=0.4)
    assert [path.read_bytes() for path in files] == before


def test_a_camera_whose_hands_are_all_listed_and_a_headset_that_is_none(split: SplitWriter) -> None:
    for annotation in split.annotations[1:]:
        annotation["joint_valid"] = [0] * 42
    assert cropped(split)[0].frame.tolist() == [30, 30]
    with pytest.raises(InputError, match="lists every hand that HMC_21176623 sees in split val"):
        cropped(split, camera=2)


def test_unknown_keys_are_ignored(split: SplitWriter) -> None:
    """Later versions of the data set may add some."""
    split.images[0]["colour"] = "grey"
    write = split.write

    def with_info() -> Any:
        dataset = write()
        document = json.loads(split.files.data.read_text())
        split.files.data.write_text(json.dumps(document | {"info": {"version": 2}}))
        return dataset

    split.write = with_info  # type: ignore[method-assign]
    assert len(cropped(split)[0]) == 4


@pytest.fixture
def video(tmp_path: Path) -> Video:
    return small_video(tmp_path, ((50, 30), (55, 33), None, (60, 40)))


ROWS = np.array([0, 1, 3])
SQUARES = Squares(
    np.array([[64.0, 50.0], [70.0, 53.0], [74.0, 60.0]]), np.array([80.0, 70.0, 90.0]), np.array([0.0, 0.3, -0.2])
)


def crops_of_view(video: Video, side: str = "right", camera: bool = True, frames: int = 4) -> HandCrops:
    """The crops of frames 1 and 3: in the others the second view shows no hand."""
    folder = video.frames.parent
    intrinsics = nominal_camera(read_frames(video.frames, video.frames_json), 65.0) if camera else None
    joints = np.random.default_rng(0).normal(size=(3, 21, 3))
    answer = Answer(SQUARES, joints[..., :2] + 60, joints, np.ones((3, 21)), np.ones(3), np.ones(3))
    choices: dict[str, Any] = {"ray_share": 1.0, "bone_m": None, "side": side, "network": "patches"}
    FoundHands.of(answer, ROWS, frames, intrinsics, **choices).save(folder / "hands.npz")
    index, none = np.arange(4), np.zeros(0)
    clock = np.array([0.0, 1.0])
    FramePairs(index, index, np.array([False, True, False, True]), none, none, none, none, clock).save(
        folder / "pairs.npz"
    )
    files = (folder / name for name in ("hands.npz", "pairs.npz", "none", "crops.npz"))
    crop_pairs(video.frames, video.frames_json, *files, view="left")
    return HandCrops.load(folder / "crops.npz")


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_users_view_is_cut_once_where_both_views_show_the_hand(video: Video, side: str) -> None:
    crops = crops_of_view(video, side)
    assert (crops.camera, crops.rank.tolist(), crops.is_left.tolist()) == ("left", [0, 1], [side == "left"] * 2)
    for row, chosen in enumerate((1, 2)):
        picture = video.pictures[ROWS[chosen]].picture()
        expected = crops_of(picture, SQUARES.at(np.array([chosen])), 32, border=0)[0]
        np.testing.assert_array_equal(crops.image_u8[row], expected[:, ::-1] if side == "left" else expected)
    np.testing.assert_allclose(np.linalg.det(crops.picture_axes_from_crop), -1 if side == "left" else 1)
    assert np.degrees(np.arctan2(*crops.picture_axes_from_crop[0, :2, 1])) == pytest.approx(-np.degrees(0.3))


def test_frames_that_do_not_belong_to_the_hands_and_hands_without_a_camera_are_refused(video: Video) -> None:
    with pytest.raises(InputError, match=r"frames: holds 4 frames, but 5 were looked at; run again"):
        crops_of_view(video, frames=5)
    with pytest.raises(InputError, match=r"hands\.npz: knows no camera; find the hands again"):
        crops_of_view(video, camera=False)
    (video.frames / "0003.png").unlink()
    with pytest.raises(InputError, match=r"holds 3 frames, and no 0003\.png"):
        crops_of_view(video)
