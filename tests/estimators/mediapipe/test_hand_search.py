"""Finding hands in pictures: the direction by trying, a second look, several palms, and all of it in the picture."""

import math
from pathlib import Path

import numpy as np
import torch

from handloom.estimators.mediapipe.hand_search import hands_in_boxes, hands_in_squares
from handloom.estimators.mediapipe.upright_squares import UprightSquares, squares_about_keypoints

from .coloured_hand import SpotNetwork, spots_picture

CENTRE = np.array([80.0, 60.0])


def hand_at(angle: float, length: float = 40.0) -> tuple[tuple[float, float], tuple[float, float]]:
    """Wrist and finger tip of a hand that is turned by an angle about the picture's middle."""
    up = length / 2 * np.array([math.sin(angle), -math.cos(angle)])
    return tuple(CENTRE - up), tuple(CENTRE + up)


def about(count: int, side: float = 100.0) -> UprightSquares:
    return UprightSquares(
        torch.from_numpy(CENTRE).expand(count, -1), torch.full((count,), side).double(), torch.zeros(count).double()
    )


def test_a_hand_is_found_whichever_way_it_points(tmp_path: Path) -> None:
    """Key points lie where the spots are, and joints point where the hand does, in the picture's axes."""
    angles = np.linspace(-math.pi, math.pi, 9)
    pictures = [spots_picture(*hand_at(angle)) for angle in angles]
    network = SpotNetwork(tmp_path)
    found = hands_in_boxes(network, pictures, about(9), refinements=1, batch_size=5)
    assert network.seen == 9 * 5
    ends = np.array([hand_at(angle) for angle in angles])
    np.testing.assert_allclose(found.keypoints_px[:, [0, 20]], ends, atol=0.3)
    np.testing.assert_allclose(found.presence, 0.9, atol=1e-6)
    along = (found.joints_m[:, 20] - found.joints_m[:, 0]).numpy()
    np.testing.assert_allclose(np.arctan2(along[:, 0], -along[:, 1])[1:-1], angles[1:-1], atol=0.02)
    np.testing.assert_allclose(along[:, 2], 0.02, atol=1e-6)
    turned = found.squares.angle_rad.numpy() - angles
    np.testing.assert_allclose(np.sin(turned), 0.0, atol=0.02)


def test_without_a_second_look_the_direction_is_one_of_four(tmp_path: Path) -> None:
    found = hands_in_boxes(SpotNetwork(tmp_path), [spots_picture(*hand_at(1.3))], about(1), refinements=0)
    assert found.squares.angle_rad.tolist() == [math.pi / 2]
    assert found.squares.side_px.tolist() == [100.0]


def test_a_second_look_that_loses_the_hand_changes_nothing(tmp_path: Path) -> None:
    """The network says after its first pass that there is nothing any more."""

    class Blinking(SpotNetwork):
        def forward(self, image: torch.Tensor):  # type: ignore[no-untyped-def]
            answer = super().forward(image)
            return answer if self.seen <= 4 else answer._replace(presence=torch.zeros(len(image)))

    picture = spots_picture(*hand_at(0.0))
    once = hands_in_boxes(SpotNetwork(tmp_path), [picture], about(1), refinements=0)
    again = hands_in_boxes(Blinking(tmp_path), [picture], about(1), refinements=2)
    assert torch.equal(once.keypoints_px, again.keypoints_px)
    assert torch.equal(once.presence, again.presence)
    assert torch.equal(once.squares.side_px, again.squares.side_px)


def test_known_squares_are_looked_at_once(tmp_path: Path) -> None:
    network = SpotNetwork(tmp_path)
    wrist, tip = hand_at(2.0)
    share = torch.linspace(0, 1, 21, dtype=torch.float64)[:, None]
    points = torch.tensor(wrist).double() * (1 - share) + torch.tensor(tip).double() * share
    found = hands_in_squares(network, [spots_picture(wrist, tip)], squares_about_keypoints(points[None]))
    assert network.seen == 1
    torch.testing.assert_close(found.keypoints_px[0], points, atol=0.3, rtol=0)
