"""HandOccNet behind the stage of hand estimates: crops, key points in the image, left hands, early refusal."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.estimators.handoccnet.mano_hand import fitting_hand
from handloom.estimators.handoccnet.network import HandOccNet, HandOccNetOutput
from handloom.estimators.handoccnet.prediction import posed
from handloom.hand.joints import MANO_FINGERTIPS_MANOPTH
from handloom.hand.open_hand import open_hand
from handloom.reconstruction.hand_estimates import configured_estimator, estimate_hands
from handloom.reconstruction.hand_registration import read_estimates
from handloom.reconstruction.hand_squares import HandFrame, HandSquares
from handloom.reconstruction.handoccnet_hands import HandOccNetEstimator
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.config.hand_tracking import HandEstimationSettings
from handloom.runtime.config.handoccnet import HandOccNetSettings
from handloom.runtime.errors import InputError

from ..estimators.handoccnet.small_handoccnet import SMALL, small_handoccnet  # noqa: TID252 (the tests are no package)
from ..estimators.metro.small_metro import hand_of_778  # noqa: TID252
from .hand_video import CORNERS, video

HAND = hand_of_778()
SETTINGS = HandEstimationSettings(backend="handoccnet")


class Knowing(HandOccNet):
    """Answers with one pose, and with all key points on the brightest place of each image."""

    def __init__(self) -> None:
        super().__init__(SMALL)
        angles = torch.linspace(-0.5, 0.8, 16)
        zeros, ones = torch.zeros(16), torch.ones(16)
        rows = [angles.cos(), -angles.sin(), zeros, angles.sin(), angles.cos(), zeros, zeros, zeros, ones]
        self.turned = torch.stack(rows, -1).unflatten(-1, (3, 3))

    def forward(self, image: Tensor) -> HandOccNetOutput:
        light = (image.sum(1) > image.sum(1).amax((-1, -2), keepdim=True) - 0.2).float()
        places = torch.arange(image.shape[-1]) / image.shape[-1]  # as it was trained: pixel over size
        total = light.sum((-1, -2))
        x, y = (light.sum(-2) * places).sum(-1) / total, (light.sum(-1) * places).sum(-1) / total
        count = len(image)
        keypoints = torch.stack([x, y], -1)[:, None].expand(-1, 21, -1)
        return HandOccNetOutput(keypoints, self.turned.expand(count, -1, -1, -1), torch.full((count, SMALL.shape), 0.2))


def estimator(network: HandOccNet | None = None, **settings: object) -> HandOccNetEstimator:
    chosen = HandOccNetSettings.model_validate(settings)
    return HandOccNetEstimator(network or Knowing(), chosen, fitting_hand(HAND, chosen.fidelity))


def test_the_stage_writes_key_points_joints_and_mesh(tmp_path: Path) -> None:
    frames, masks = video(tmp_path)
    estimate_hands(SETTINGS, HAND, frames, masks, None, None, tmp_path / "hands.npz", estimator=estimator())
    found = read_estimates(tmp_path / "hands.npz")
    assert found.found.tolist() == [True, False, True, True]
    for index, corner in enumerate(CORNERS):
        if corner is not None:
            spot = torch.tensor([corner[0] + 12.0, corner[1] + 25.0], dtype=torch.float64)
            torch.testing.assert_close(found.keypoints_px[index, 7], spot, atol=0.1, rtol=0)
    hand = posed(Knowing()(torch.rand(1, 3, 8, 8)), HAND)
    mesh = hand.vertices_m[0] - hand.keypoints_m[0, 0]
    assert found.vertices_cam_m is not None
    torch.testing.assert_close(found.vertices_cam_m[2], mesh, atol=1e-5, rtol=0)
    # The mesh keeps its size, joints have the nominal one: they are parallel.
    joints, own = found.joints_cam_m[2].float(), hand.keypoints_m[0] - hand.keypoints_m[0, 0]
    torch.testing.assert_close(joints, joints[12].norm() / own[12].norm() * own, atol=1e-5, rtol=0)
    assert read_arrays(tmp_path / "hands.npz", "hand_estimates")[1].extra["backend"] == "handoccnet"


def test_a_left_hand_is_the_mirror_image_of_a_right_one(tmp_path: Path) -> None:
    """The bright spot sees the mirroring of the picture and of the place, the mesh that of the hand."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[40:43, 30:33] = 255
    cv2.imwrite(str(tmp_path / "right.png"), image)
    cv2.imwrite(str(tmp_path / "left.png"), image[:, ::-1])
    squares = HandSquares(np.array([[40.5, 49.5]]), np.array([98.0]))
    other = squares._replace(centre_px=np.array([[159.0 - 40.5, 49.5]]))
    right = estimator()([HandFrame(tmp_path / "right.png", None)], squares, "right")
    left = estimator()([HandFrame(tmp_path / "left.png", None)], other, "left")
    flip = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(left.vertices_m, right.vertices_m * flip)
    torch.testing.assert_close(left.joints, right.joints * flip.double())
    torch.testing.assert_close(right.keypoints_px[0, 3], torch.tensor([31.0, 41.0]).double(), atol=0.05, rtol=0)
    torch.testing.assert_close(left.keypoints_px[0, 3], torch.tensor([159 - 31.0, 41.0]).double(), atol=0.05, rtol=0)


def test_the_crop_is_as_wide_as_configured(tmp_path: Path) -> None:
    """A spot outside of the crop is not seen: without light, all places are equally bright."""
    image = np.zeros((300, 300, 3), np.uint8)
    image[149:152, 249:252] = 255  # 100 pixels from the centre of a hand 100 pixels wide
    cv2.imwrite(str(tmp_path / "0.png"), image)
    frames, squares = [HandFrame(tmp_path / "0.png", None)], HandSquares(np.array([[150.0, 150.0]]), np.array([200.0]))
    wide, narrow = (estimator(field_of_box=field)(frames, squares, "right").keypoints_px[0, 0] for field in (2.5, 1.5))
    torch.testing.assert_close(wide, torch.tensor([250.0, 150.0]).double(), atol=0.5, rtol=0)
    torch.testing.assert_close(narrow, torch.tensor([150.0, 150.0]).double(), atol=0.5, rtol=0)


def test_faithful_takes_manopths_finger_tips() -> None:
    assert estimator(fidelity="faithful").hand_model.tip_vertices == MANO_FINGERTIPS_MANOPTH
    assert estimator().hand_model.tip_vertices == HAND.tip_vertices


def test_missing_weights_end_the_stage_before_it_reads_a_frame(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"handoccnet": HandOccNetSettings(checkpoint=str(tmp_path / "demo.pth"))})
    with pytest.raises(InputError, match=r"demo\.pth: no such file.*namepllet/HandOccNet"):
        estimate_hands(settings, HAND, tmp_path / "nothing", tmp_path / "no masks", None, None, tmp_path / "hands.npz")


@pytest.mark.parametrize(
    ("hand", "message"),
    [
        (open_hand(), r"1609 vertices, but HandOccNet predicts.*set `mano`"),
        (replace(HAND, side="left"), "left hand of 778"),
        (replace(HAND, shapedirs=HAND.shapedirs[..., :9]), "HandOccNet: the hand model has 9 shape directions"),
    ],
)
def test_another_hand_is_refused(hand: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "demo.pth"
    settings = SETTINGS.model_copy(update={"handoccnet": HandOccNetSettings(checkpoint=str(path))})
    with pytest.raises(InputError, match=message):
        configured_estimator(settings, hand)  # type: ignore[arg-type]


def test_a_network_of_random_weights_goes_through(tmp_path: Path) -> None:
    """The real network's parts, with a crop of its own size: what it gives is finite and has its shapes."""
    architecture = replace(SMALL, cells=32, depth=4, poolings=5)
    cv2.imwrite(str(tmp_path / "0.png"), np.random.default_rng(1).integers(0, 256, (90, 90, 3), dtype=np.uint8))
    squares = HandSquares(np.array([[45.0, 45.0]]), np.array([60.0]))
    network = small_handoccnet(architecture=architecture)
    found = estimator(network)([HandFrame(tmp_path / "0.png", None)], squares, "left")
    assert found.vertices_m is not None
    assert found.vertices_m.shape == (1, 778, 3)
    assert found.looked_at_px is None
    for value in (found.joints, found.keypoints_px, found.confidence, found.vertices_m):
        assert bool(value.isfinite().all())
