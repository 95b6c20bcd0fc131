"""Hands of a view: along the camera's axes, with clear words where there are none; the real networks where they are."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handloom.datasets.video import extract_frames
from handloom.demo.camera_pair import Filmed, Filming, film
from handloom.estimators.detnet.checkpoint import save_checkpoint
from handloom.estimators.detnet.network import DetNet, initialise
from handloom.estimators.mediapipe.upright_squares import UprightSquares
from handloom.figures.footage_hands import draw_hands_sheet, square_corners
from handloom.footage.hands_file import camera_from_crop, pixel_rays, read_hands
from handloom.footage.seen_hands import SeenHands
from handloom.footage.view_hands import find_hands
from handloom.runtime.config.detnet import DetNetSettings
from handloom.runtime.config.footage import FootagePairSettings, FootageSettings
from handloom.runtime.errors import InputError

from .conftest import Rig

WEIGHTS = [
    Path(os.environ.get("HANDLOOM_MEDIAPIPE", "resources/mediapipe")) / f"{name}.tflite"
    for name in ("hand_landmark_full", "palm_detection_full")
]


class Seeing:
    """A finder that knows where the hand is, in every `every`-th frame."""

    def __init__(self, filmed: Filmed, every: int = 1) -> None:
        self.filmed, self.every = filmed, every

    def __call__(self, images: list[Path], boxes_px: np.ndarray | None, side: str) -> SeenHands:
        seen = SeenHands.none(len(images))
        rows = np.arange(0, len(images), self.every)
        joints, keypoints = self.filmed.joints_left_m[rows], self.filmed.keypoints_left_px[rows]
        squares = UprightSquares(*(torch.from_numpy(x) for x in (keypoints.mean(1), np.full(len(rows), 50.0))),
                                 torch.full((len(rows),), 0.3).double())  # fmt: skip
        in_crop = joints @ Rotation.from_euler("z", 0.3).as_matrix()  # rows turn by the transpose: back into the crop
        seen.fill(rows, squares, keypoints_px=keypoints, joints=in_crop, presence=np.full(len(rows), 0.8))
        return seen


class Blind:
    """A finder that sees nothing."""

    def __call__(self, images: list[Path], boxes_px: np.ndarray | None, side: str) -> SeenHands:
        return SeenHands.none(len(images))


def find(rig: Rig, finder: object, **changes: object) -> Path:
    settings = FootageSettings.model_validate({"ray_share": 0.0} | changes)
    output = rig.folder / "found.npz"
    networks = (Path("a.tflite"), Path("b.tflite"))
    find_hands(
        settings,
        rig.pair,
        "left",
        rig.frames[0],
        rig.lists[0],
        networks,
        None,
        output,
        finder=finder,
        threads=1,  # type: ignore[arg-type]
    )
    return output


def test_joints_are_turned_from_the_crop_into_the_cameras_axes(rig: Rig, filmed: Filmed) -> None:
    hands, header = read_hands(find(rig, Seeing(filmed, every=2)))
    assert header.extra == {"side": "right", "backend": "mediapipe"}
    assert hands.found.tolist() == [row % 2 == 0 for row in range(90)]
    true = filmed.joints_left_m - filmed.joints_left_m[:, :1]
    assert np.allclose(hands.joints_cam[::2], true[::2], atol=1e-9)
    assert np.isnan(hands.joints_cam[1::2]).all()
    rays = filmed.joints_left_m / np.linalg.norm(filmed.joints_left_m, axis=-1, keepdims=True)
    assert np.allclose(hands.rays[::2], rays[::2], atol=1e-6)


def test_the_sheet_shows_frames_with_and_without_a_hand(rig: Rig, filmed: Filmed) -> None:
    draw_hands_sheet(rig.frames[0], find(rig, Seeing(filmed, every=2)), rig.folder / "hands.jpg")
    assert (rig.folder / "hands.jpg").stat().st_size > 10_000


def test_footage_with_no_hand_at_all_is_refused_with_what_to_do(rig: Rig) -> None:
    with pytest.raises(
        InputError, match=r"left\.mp4: the left view shows a hand in 0 of 90 frames .*film the hand larger"
    ):
        find(rig, Blind())
    assert not (rig.folder / "found.npz").exists()


def test_too_few_hands_are_refused_and_the_share_is_configured(rig: Rig, filmed: Filmed) -> None:
    with pytest.raises(InputError, match=r"in 9 of 90 frames .* share of 0\.2 \(footage\.least_hands\)"):
        find(rig, Seeing(filmed, every=10), least_hands=0.2)
    find(rig, Seeing(filmed, every=10), least_hands=0.1)


def test_a_crop_off_the_axis_is_turned_to_its_ray() -> None:
    """A hand that looks at the camera from a corner of the picture looks along its ray."""
    centre = np.array([[150.0, 20.0]])
    turns = camera_from_crop(centre, np.array([0.4]), (160, 120), 65.0, 1.0)
    assert np.allclose(turns[0] @ [0, 0, 1], pixel_rays(centre, (160, 120), 65.0)[0])
    assert np.linalg.det(turns[0]) == pytest.approx(1)
    half = np.radians(65.0 / 2)
    edge = pixel_rays(np.array([[159.5, 59.5]]), (160, 120), 65.0)[0]
    assert np.allclose(edge, [np.sin(half), 0, np.cos(half)])
    mirrored = camera_from_crop(centre, np.array([0.4]), (160, 120), 65.0, 1.0, mirrored=True)
    assert np.linalg.det(mirrored[0]) == pytest.approx(-1)


def test_a_square_is_turned_from_x_to_y() -> None:
    corners = square_corners(np.array([10.0, 20.0]), 4.0, np.pi / 2)
    assert np.allclose(corners, [[12, 18], [12, 22], [8, 22], [8, 18]])


def boxes_csv(path: Path, keypoints_px: np.ndarray) -> Path:
    lines = [
        ",".join(map(str, (row, *low, *(high + 1))))
        for row, (low, high) in enumerate(zip(keypoints_px.min(1), keypoints_px.max(1), strict=True))
    ]
    path.write_text("\n".join(["frame,x0,y0,x1,y1", *lines]))
    return path


@pytest.mark.parametrize("side", ["right", "left"])
def test_detnet_answers_in_boxes_and_left_hands_are_mirrored_back(rig: Rig, filmed: Filmed, side: str) -> None:
    detnet = DetNetSettings(input_px=64, map_cells=8, width=4, blocks=(1, 1, 1), head_width=8)
    network = DetNet(detnet)
    initialise(network, torch.Generator().manual_seed(1))
    save_checkpoint(rig.folder / "detnet.safetensors", network, 9)
    boxes = boxes_csv(rig.folder / "boxes.csv", filmed.keypoints_left_px)
    pair = FootagePairSettings(left="l.mp4", right="r.mp4", left_boxes=str(boxes), right_boxes="b", side=side)  # type: ignore[arg-type]
    settings = FootageSettings(backend="detnet", detnet=detnet, least_confidence=0.0, pairs={"rig": pair})
    networks = (rig.folder / "detnet.safetensors",)
    find_hands(settings, pair, "left", rig.frames[0], rig.lists[0], networks, boxes, rig.folder / "h.npz", threads=1)
    hands, header = read_hands(rig.folder / "h.npz")
    assert header.units == "px, rad, bone 0-9"
    assert hands.found.all()
    assert (np.sign(np.linalg.det(hands.cam_from_crop)) == (1 if side == "right" else -1)).all()
    inside = np.abs(hands.keypoints_px - hands.centre_px[:, None]) <= hands.side_px[:, None, None] / 2 + 1
    assert inside.all()


def test_detnet_needs_boxes() -> None:
    with pytest.raises(ValueError, match="has no left_boxes and no right_boxes, but backend is detnet"):
        FootageSettings(backend="detnet", pairs={"rig": FootagePairSettings(left="a.mp4", right="b.mp4")})
    with pytest.raises(ValueError, match=r"left and right are the same, a\.mp4"):
        FootageSettings(pairs={"rig": FootagePairSettings(left="a.mp4", right="a.mp4")})
    with pytest.raises(ValueError, match="expected two angles below 180"):
        FootagePairSettings(left="a.mp4", right="b.mp4", field_of_view_deg=(65.0, 180.0))


@pytest.mark.slow
@pytest.mark.skipif(
    not all(path.is_file() for path in WEIGHTS),
    reason="MediaPipe's networks are not there (HANDLOOM_MEDIAPIPE, or resources/mediapipe)",
)
@pytest.mark.parametrize("boxed", [False, True])
def test_the_real_networks_find_a_rendered_hand(tmp_path: Path, boxed: bool) -> None:
    filming = Filming(seconds=0.4, left_fps=20.0, right_fps=20.0, width_px=320, height_px=240)
    filmed = film(filming, tmp_path, seed=11)
    boxes = boxes_csv(tmp_path / "boxes.csv", filmed.keypoints_left_px) if boxed else None
    pair = FootagePairSettings(left=str(tmp_path / "left.mp4"), right=str(tmp_path / "right.mp4"))
    extract_frames(pair.sequence("left"), tmp_path / "frames", tmp_path / "frames.json")
    output = tmp_path / "hands.npz"
    find_hands(
        *(FootageSettings(pairs={"rig": pair}), pair, "left", tmp_path / "frames", tmp_path / "frames.json"),
        *(WEIGHTS, boxes, output),
        threads=1,
    )
    hands, _ = read_hands(output)
    assert hands.found.all()
    size = (filmed.keypoints_left_px.max(1) - filmed.keypoints_left_px.min(1)).max(1).mean()
    assert np.linalg.norm(hands.keypoints_px - filmed.keypoints_left_px, axis=-1).mean() < 0.15 * size
    true = filmed.joints_left_m - filmed.joints_left_m[:, :1]
    assert np.linalg.norm(hands.joints_cam - true, axis=-1).mean() < 0.045
