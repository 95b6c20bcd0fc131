"""MediaPipe's networks on frames, by stand-ins that see coloured spots: any direction, lost hands, palms and sides."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handloom.datasets.invalid_list import list_invalid
from handloom.datasets.views import HandCrops, HandLabels
from handloom.estimators.hands.search import HandFrame
from handloom.estimators.hands.squares import Squares
from handloom.estimators.mediapipe import LANDMARKS_FILE, PALMS_FILE, MediapipeSettings
from handloom.estimators.mediapipe import hands as mediapipe
from handloom.estimators.mediapipe.hands import MediaPipeHands, load
from handloom.estimators.mediapipe.landmark_network import HandLandmarks
from handloom.hand.joints import Side
from handloom.hand.models import open_hand
from handloom.runtime.errors import InputError

from ...datasets.assembly_hands_files import small_split
from .coloured_hand import SpotNetwork, palms_at, spots_picture
from .small_tflite import landmark_file, palm_file

CENTRE = np.array([80.0, 60.0])
NOTHING = np.zeros((120, 160, 3), np.uint8)


def hand_at(angle: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Wrist and finger tip of a hand of 40 pixels that is turned by an angle about the picture's middle."""
    up = 20.0 * np.array([math.sin(angle), -math.cos(angle)])
    return tuple(CENTRE - up), tuple(CENTRE + up)


def written(folder: Path, pictures: Sequence[np.ndarray], mask: np.ndarray | None = None) -> list[HandFrame]:
    frames = []
    for row, picture in enumerate(pictures):
        frames.append(HandFrame(folder / f"{row:04d}.png", None if mask is None else folder / f"mask{row}.png"))
        cv2.imwrite(str(frames[-1].image), picture[..., ::-1])
        if mask is not None:
            cv2.imwrite(str(frames[-1].mask), mask)
    return frames


def about(count: int, side: float = 80.0) -> Squares:
    return Squares(np.tile(CENTRE, (count, 1)), np.full(count, side), np.zeros(count))


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_hand_is_found_whichever_way_it_points_and_shown_as_it_is(tmp_path: Path, side: Side) -> None:
    """Key points lie where the spots are, and joints point where the hand does, in the picture's axes."""
    angles = np.linspace(-math.pi, math.pi, 9)
    frames = written(tmp_path, [spots_picture(*hand_at(angle)) for angle in angles])
    network = SpotNetwork(tmp_path)
    found = MediaPipeHands(network).answer(frames, about(9), side)
    assert network.seen == 9 * 5
    np.testing.assert_allclose(found.keypoints_px[:, [0, 20]], [hand_at(angle) for angle in angles], atol=0.3)
    np.testing.assert_allclose(found.presence, 0.9, atol=1e-6)
    np.testing.assert_allclose(found.confidence, 0.9, atol=1e-6)
    along = found.joints[:, 20] - found.joints[:, 0]
    np.testing.assert_allclose(np.arctan2(along[:, 0], -along[:, 1])[1:-1], angles[1:-1], atol=0.02)
    np.testing.assert_allclose(along[:, 2], 0.02, atol=1e-6)
    np.testing.assert_allclose(np.sin(found.squares.angle_rad - angles), 0.0, atol=0.02)


def test_a_second_look_that_loses_the_hand_changes_nothing(tmp_path: Path) -> None:
    """The network says after its first pass that there is nothing any more; then the direction is one of four."""

    class Blinking(SpotNetwork):
        def forward(self, image: torch.Tensor) -> HandLandmarks:
            answer = super().forward(image)
            return answer if self.seen <= 4 else answer._replace(presence=torch.zeros(len(image)))

    frames = written(tmp_path, [spots_picture(*hand_at(1.3))])
    found = MediaPipeHands(Blinking(tmp_path)).answer(frames, about(1), "right")
    assert found.squares.angle_rad.tolist() == [math.pi / 2]
    assert found.squares.side_px.tolist() == [80.0]
    np.testing.assert_allclose(found.keypoints_px[0, [0, 20]], hand_at(1.3), atol=0.3)
    assert found.presence[0] == pytest.approx(0.9)


def test_masks_hide_nothing_from_it(tmp_path: Path) -> None:
    """It knows real backgrounds, and things in hands."""
    frames = written(tmp_path, [spots_picture(*hand_at(0.0))], np.zeros((120, 160), np.uint8))
    assert MediaPipeHands(SpotNetwork(tmp_path)).answer(frames, about(1), "right").presence[0] == pytest.approx(0.9)


def test_palms_lead_to_hands_and_a_hand_that_left_is_searched_for_anew(tmp_path: Path) -> None:
    network = SpotNetwork(tmp_path)
    pictures = [spots_picture(*hand_at(0.2)), NOTHING, spots_picture(*hand_at(-0.3)), spots_picture(*hand_at(-0.4))]
    finder = MediaPipeHands(network, palms_at(tmp_path, (80.0, 75.0)))
    rows, found = finder.search(written(tmp_path, pictures), "right")
    assert rows.tolist() == [0, 2, 3]
    np.testing.assert_allclose(found.keypoints_px[:, [0, 20]], [hand_at(a) for a in (0.2, -0.3, -0.4)], atol=0.3)
    # A palm and a second look; the hand before and the palm, for nothing; again a palm; then the hand before is enough.
    assert network.seen == 2 + 2 + 2 + 2


def test_no_palm_anywhere(tmp_path: Path) -> None:
    rows, found = MediaPipeHands(SpotNetwork(tmp_path), palms_at(tmp_path)).search(
        written(tmp_path, [NOTHING] * 2), "right"
    )
    assert (len(rows), found.joints.shape) == (0, (0, 21, 3))


@pytest.mark.parametrize(("side", "x"), [("right", 40.0), ("left", 120.0)])
def test_of_two_hands_the_side_decides(tmp_path: Path, side: Side, x: float) -> None:
    """Two equally sure hands, the left one blue."""
    right = spots_picture((40.0, 80.0), (40.0, 50.0))
    left = spots_picture((120.0, 80.0), (120.0, 50.0), left=True)
    finder = MediaPipeHands(SpotNetwork(tmp_path), palms_at(tmp_path, (40.0, 65.0), (120.0, 65.0)))
    _, found = finder.search(written(tmp_path, [right + left]), side)
    np.testing.assert_allclose(found.keypoints_px[0, 0], [x, 80.0], atol=0.3)


def test_a_search_that_slid_onto_the_other_hand_comes_back(tmp_path: Path) -> None:
    """The right hand jumps away and a left one takes its place: near as it is, the other one is followed."""
    pictures = [
        spots_picture((40.0, 80.0), (40.0, 50.0)),
        spots_picture((40.0, 80.0), (40.0, 50.0), left=True) + spots_picture((120.0, 80.0), (120.0, 50.0)),
    ]
    palms = palms_at(tmp_path, (40.0, 65.0), (120.0, 65.0))
    for side, x in (("right", 120.0), ("left", 40.0)):
        _, found = MediaPipeHands(SpotNetwork(tmp_path), palms).search(written(tmp_path, pictures), side)
        np.testing.assert_allclose(found.keypoints_px[1, 0], [x, 80.0], atol=0.3)


@pytest.mark.parametrize(("left", "handedness"), [(False, 0.9), (True, 0.1)])
def test_either_side_is_followed_where_none_is_told(tmp_path: Path, left: bool, handedness: float) -> None:
    pictures = [spots_picture((40.0, 80.0), (40.0, 50.0), left=left)] * 2
    finder = MediaPipeHands(SpotNetwork(tmp_path), palms_at(tmp_path, (40.0, 65.0)))
    _, found = finder.search(written(tmp_path, pictures), "auto")
    np.testing.assert_allclose(found.handedness, handedness, atol=1e-6)


@pytest.mark.parametrize(("presence", "count"), [(0.99, 1), (0.8, 0)])
def test_a_faint_palm_counts_where_the_landmark_network_is_sure(tmp_path: Path, presence: float, count: int) -> None:
    """A real hand's palm had 0.40, and its presence 0.99."""

    class Sure(SpotNetwork):
        def forward(self, image: torch.Tensor) -> HandLandmarks:
            answer = super().forward(image)
            return answer._replace(presence=torch.where(answer.presence > 0.5, presence, 0.0))

    finder = MediaPipeHands(Sure(tmp_path), palms_at(tmp_path, (40.0, 65.0), surest=-0.4))
    rows, _ = finder.search(written(tmp_path, [spots_picture((40.0, 80.0), (40.0, 50.0))]), "right")
    assert len(rows) == count


def test_crops_are_shown_as_they_are_and_beyond_the_picture_its_edge_goes_on(tmp_path: Path) -> None:
    finder, white = MediaPipeHands(SpotNetwork(tmp_path)), np.full((120, 160, 3), 255, np.uint8)
    edge = about(1)._replace(centre_px=np.zeros((1, 2)))
    assert (finder.cut(white, edge, "left") == 255).all()
    picture = spots_picture(*hand_at(0.4))
    np.testing.assert_array_equal(finder.cut(picture, about(1), "left"), finder.cut(picture, about(1), "right"))


def test_annotated_hands_are_cut_upright_out_of_grey_pictures(tmp_path: Path) -> None:
    """Headsets' hands point anywhere: crops are turned until they stand upright, and know by how much."""

    class Grey(SpotNetwork):
        """The wrist is grey, the finger tip white."""

        def forward(self, image: torch.Tensor) -> HandLandmarks:
            level = image[:, 0]
            wrist = torch.where((level > 0.3) & (level < 0.6), level, 0.0)
            tip = torch.where(level > 0.8, level, 0.0)
            return super().forward(torch.stack([wrist, tip, torch.zeros_like(level)], 1))

    grey = np.zeros((120, 160), np.uint8)
    for spot, level in zip(hand_at(1.2), (115, 255), strict=True):
        cv2.circle(grey, tuple(map(round, spot)), 4, level, -1)
    cut = MediaPipeHands(Grey(tmp_path)).cut_boxes(grey, np.array([[55.0, 48, 105, 72]]), np.array([False]))
    assert cut.image_u8.shape == (1, 224, 224, 3)
    angle = math.atan2(cut.picture_axes_from_crop[0, 1, 0], cut.picture_axes_from_crop[0, 0, 0])
    assert angle == pytest.approx(1.2, abs=0.1)
    tip = np.argwhere(cut.image_u8[0, ..., 0] > 220).mean(0)
    wrist = np.argwhere((cut.image_u8[0, ..., 0] > 90) & (cut.image_u8[0, ..., 0] < 140)).mean(0)
    assert tip[0] < wrist[0] - 40
    assert abs(tip[1] - wrist[1]) < 15


def test_a_headsets_hands_are_cut_for_it_too(tmp_path: Path) -> None:
    """Any network that learns may stand behind the headset tables."""
    split, weights = small_split(tmp_path / "assemblyhands"), landmark_file(tmp_path / "mine.tflite")
    invalid, *made = (tmp_path / name for name in ("invalid.txt", "crops.npz", "labels.npz"))
    list_invalid([], invalid, dataset=split.write(), split="val")
    chosen: dict[str, Any] = {
        "split": "val",
        "headset": "headset1",
        "camera": 2,
        "input_px": 64,
        "field_of_view_deg": 90.0,
    }
    mediapipe.crop_views(invalid, *made, dataset=split.dataset, weights=weights, **chosen)
    crops, labels = HandCrops.load(made[0]), HandLabels.load(made[1])
    assert crops.image_u8.shape == (4, 224, 224, 3)
    assert (crops.network, crops.is_left.tolist()) == ("mediapipe", [False, True] * 2)
    np.testing.assert_allclose(np.linalg.det(crops.picture_axes_from_crop), 1)  # neither side is mirrored
    np.testing.assert_array_equal(crops.rank, labels.rank)
    with pytest.raises(InputError, match="mediapipe: crops need the landmark network's file"):
        mediapipe.crop_views(invalid, *made, dataset=split.dataset, **chosen)


def test_the_users_own_files_are_taken(tmp_path: Path) -> None:
    files = landmark_file(tmp_path / "mine.tflite"), palm_file(tmp_path / "palms.tflite")
    network = load(*files, MediapipeSettings(), open_hand(), "cpu")
    assert network.network.graph.layers[0].weight.shape == (4, 3, 3, 3)
    assert network.palms is not None
    alone = load(files[0], None, MediapipeSettings(), open_hand(), "cpu")
    with pytest.raises(InputError, match="mediapipe: finding hands in whole pictures needs its palm detector"):
        alone.search([], "right")


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (None, r"mine\.tflite: no such file"),
        (palm_file, r"mine\.tflite: is no hand landmark network"),
        (lambda path: path.write_bytes(b"a cut"), r"mine\.tflite: cannot be read as a \.tflite network"),
    ],
)
def test_a_file_that_is_no_such_network_is_named(tmp_path: Path, write: Any, told: str) -> None:
    path = tmp_path / "mine.tflite"
    if write is not None:
        write(path)
    with pytest.raises(InputError, match=told):
        load(path, None, MediapipeSettings(), open_hand(), "cpu")


def test_the_default_files_are_those_that_the_rule_makes() -> None:
    rule = (Path(__file__).parents[3] / "workflow/rules/assets.smk").read_text()
    assert "landmarks=LANDMARKS_FILE" in rule
    assert "palms=PALMS_FILE" in rule
    assert MediapipeSettings() == MediapipeSettings(landmarks=LANDMARKS_FILE, palms=PALMS_FILE)
