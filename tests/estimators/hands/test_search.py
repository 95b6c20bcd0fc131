"""The hand of every frame: where it is looked for, what counts as one, and what a user is told who has too few."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handloom.datasets.frames import read_frames
from handloom.estimators.hands import HandSearchSettings
from handloom.estimators.hands.found import Answer, FoundHands, bone_lengths, camera_turns
from handloom.estimators.hands.search import HandFrame, HandNetwork, hand_search, look, nominal_camera
from handloom.estimators.hands.squares import Squares
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.hand.joints import Side
from handloom.runtime.artifacts import read_arrays, write_arrays
from handloom.runtime.config.base import Settings
from handloom.runtime.errors import InputError

from .small_video import CORNERS, HAND, HEIGHT_PX, WIDTH_PX, PatchNetwork, Video, small_video

CENTRES = np.array([[64.5, 49.5], [74.5, 59.5], [84.5, 49.5]])
"""Of the three patches."""


class Own(Settings):
    """Of a network that needs none."""


@pytest.fixture
def video(tmp_path: Path) -> Video:
    return small_video(tmp_path)


def search(**changed: Any) -> HandSearchSettings:
    return HandSearchSettings.model_validate({"least_hands": 0.5, "object_reach": None, **changed})


def found_in(video: Video, network: HandNetwork | None = None, side: Side = "right", **given: Any) -> FoundHands:
    """What the stage writes; without masks or boxes the network looks at whole pictures."""
    hands = video.frames.with_name("hands.npz")
    find_hands = hand_search(lambda *_: network or PatchNetwork(), Own)
    files = {"frames": video.frames, "frames_json": video.frames_json, "weights": Path("none"), "hands": hands}
    find_hands(**files, **{"network": Own(), "search": search(), "side": side, "where": "my.video", **given})
    return FoundHands.load(hands)


def boxes_csv(folder: Path, rows: list[tuple[int, ...]]) -> Path:
    path = folder / "boxes.csv"
    path.write_text("\n".join(["frame,x0,y0,x1,y1", *(",".join(map(str, row)) for row in rows)]))
    return path


def object_poses(intrinsics: np.ndarray) -> ObjectPoses:
    """Of a camera, and nothing else that matters here."""
    poses, seen = np.tile(np.eye(4), (len(CORNERS), 1, 1)), np.ones(len(CORNERS), bool)
    return ObjectPoses(intrinsics, 0.0, poses, seen, np.zeros((3, 3)), 0.5, "known")


def test_masks_lead_to_hands_in_holds_camera_at_the_size_of_the_model(
    video: Video, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    intrinsics = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])
    object_poses(intrinsics).save(tmp_path / "object_poses.npz")
    hands = found_in(video, masks=video.masks, object_poses=tmp_path / "object_poses.npz")
    assert hands.found.tolist() == [True, False, True, True]
    np.testing.assert_allclose(hands.centre_px[hands.found], CENTRES)
    np.testing.assert_allclose(hands.side_px[hands.found], 2.0 * 40)
    np.testing.assert_allclose(hands.intrinsics, intrinsics)
    joints = (HAND - HAND[:1]) * (0.0953 / bone_lengths(HAND[None])[0])
    turns = camera_turns(CENTRES, intrinsics)
    np.testing.assert_allclose(hands.joints_cam[hands.found], joints @ turns.swapaxes(1, 2), atol=1e-3)
    np.testing.assert_allclose(bone_lengths(hands.joints_cam[hands.found]), 0.095, atol=0.003)
    assert (hands.side, hands.network, hands.ray_share) == ("right", "patches", 1.0)
    assert re.search(r"hand found in 3 of 4 frames, mean score 0\.784; none in 1$", capsys.readouterr().err, re.M)


def test_boxes_lead_to_hands_of_the_networks_own_size_in_a_nominal_camera(video: Video, tmp_path: Path) -> None:
    boxes = boxes_csv(tmp_path, [(3, 70, 30, 99, 69), (0, 50, 30, 79, 69)])
    hands = found_in(video, boxes=boxes, field_of_view_deg=90.0, search=search(ray_share=0.0))
    assert hands.found.tolist() == [True, False, False, True]
    np.testing.assert_allclose(hands.keypoints_px[0, 5], [64.5, 49.5])
    np.testing.assert_allclose(hands.joints_cam[3], HAND - HAND[:1], atol=1e-6)
    assert hands.intrinsics is not None
    np.testing.assert_allclose(hands.intrinsics, [[80, 0, 79.5], [0, 80, 59.5], [0, 0, 1]])
    alone = found_in(video, boxes=boxes)
    assert alone.intrinsics is None


def test_a_network_that_cannot_search_asks_for_boxes_and_one_that_can_is_asked(video: Video) -> None:
    with pytest.raises(
        InputError, match=r"patches: cannot find a hand in a whole picture; give the boxes .*left_boxes"
    ):
        found_in(video)

    class Searching(PatchNetwork):
        def search(self, frames: Any, side: Side) -> tuple[np.ndarray, Answer]:
            rows = np.array([0, 2])
            return rows, self.answer([frames[row] for row in rows], Squares(CENTRES[:2], np.ones(2), np.zeros(2)), side)

    assert found_in(video, Searching()).found.tolist() == [True, False, True, False]


def test_frames_below_the_score_count_as_without(video: Video, capsys: pytest.CaptureFixture[str]) -> None:
    dark = video.frames / "0002.png"
    cv2.imwrite(str(dark), np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8))  # a score of 0.35
    rows, _ = look(PatchNetwork(), video.pictures, None, search(), "right", "my.video")
    assert rows.tolist() == [0, 3]  # the network's own 0.5
    assert "none in 1, 2" in capsys.readouterr().err
    rows, answer = look(PatchNetwork(), video.pictures, None, search(least_score=0.3), "right", "my.video")
    assert rows.tolist() == [0, 2, 3]
    assert answer.presence.tolist() == pytest.approx([200 / 255, 90 / 255, 200 / 255])


@pytest.mark.parametrize(
    ("boxes", "masked", "changed", "told"),
    [
        (None, True, {"least_hands": 0.8}, r"^my\.video: a right hand in 3 of 4 .*a share of 0\.8 \(least_hands\);"
         r" check that the masks label the right hand 150, or set `side`"),
        (None, True, {"least_score": 0.9}, r"^my\.video, with a score of 0\.9: a right hand in 0 of 4 .*masks label"),
        ([[np.nan] * 4] * 4, False, {"least_hands": 0.0}, r"a right hand in 0 of 4 .*; check the boxes$"),
        ([[50.0, 30, 79, 69]] * 4, False, {"least_hands": 0.9}, r"in 2 of 4 .*; check the boxes$"),
    ],
)  # fmt: skip
def test_too_few_hands_are_refused_with_what_to_do(
    video: Video, boxes: Any, masked: bool, changed: dict[str, float], told: str
) -> None:
    frames = video.pictures if masked else video.unmasked
    given = None if boxes is None else np.array(boxes)
    with pytest.raises(InputError, match=told):
        look(PatchNetwork(), frames, given, search(**changed), "right", "my.video")


def test_pictures_without_any_hand_are_refused_with_how_to_film(video: Video) -> None:
    class Blind(PatchNetwork):
        def search(self, frames: Any, side: Side) -> tuple[np.ndarray, Answer]:
            none = np.zeros((0, 2)), np.zeros(0), np.zeros(0)
            return np.zeros(0, np.int64), self.answer([], Squares(*none), side)

    with pytest.raises(InputError, match=r"a left hand in 0 of 4 frames .*; film the hand larger, brighter"):
        found_in(video, Blind(), side="left", search=search(least_hands=0.05))
    assert not video.frames.with_name("hands.npz").exists()


def test_a_frame_without_its_mask_and_a_camera_that_is_not_finite_are_refused(video: Video, tmp_path: Path) -> None:
    """A NaN camera would make every joint NaN, and every hand missing in the next stage."""
    camera = tmp_path / "object_poses.npz"
    object_poses(np.eye(3)).save(camera)
    arrays, header = read_arrays(camera, "object_poses")
    write_arrays(camera, arrays | {"intrinsics": np.full((3, 3), np.nan)}, header)
    with pytest.raises(InputError, match=r"object_poses\.npz: intrinsics holds NaN"):
        found_in(video, masks=video.masks, object_poses=camera)
    assert not (tmp_path / "hands.npz").exists()
    (video.masks / "0001.png").unlink()
    with pytest.raises(InputError, match=r"masks: .*0001\.png"):
        found_in(video, masks=video.masks)


def test_what_the_mask_shows_to_be_no_hand_is_painted_grey_if_asked_to(video: Video, tmp_path: Path) -> None:
    frame = video.pictures[0]
    assert (frame.picture() == HandFrame(frame.image).picture(hide_others=True)).all()
    hidden = frame.picture(hide_others=True)
    assert hidden[40, 60].tolist() == [200] * 3
    assert hidden[10, 10].tolist() == [128] * 3
    cv2.imwrite(str(frame.mask), np.zeros((8, 8), np.uint8))
    with pytest.raises(
        InputError, match=r"0000\.png: is \(8, 8\), but its frame is \(120, 160\); make the masks again"
    ):
        frame.picture(hide_others=True)


def test_a_nominal_camera_looks_through_the_middle(video: Video) -> None:
    camera = nominal_camera(read_frames(video.frames, video.frames_json), 65.0)
    edge = np.linalg.inv(camera) @ [159.5, 59.5, 1]
    assert np.degrees(np.arctan2(edge[0], 1)) == pytest.approx(65 / 2)
    assert edge[1] == pytest.approx(0)


def test_a_network_that_only_answers_cannot_be_adapted(video: Video) -> None:
    class Answering(PatchNetwork):
        cut = HandNetwork.cut

    with pytest.raises(InputError, match="patches: cannot be adapted; choose a network that learns"):
        Answering().cut(video.pictures[0].picture(), Squares(CENTRES, np.ones(3), np.zeros(3)), "right")
