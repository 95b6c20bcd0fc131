"""Triangulation: its convention, and that rays mend what both views' poses have wrong."""

import roma
import torch
from torch import Tensor

from handloom.adaptation.triangulation import beside_rays, place_of_first, triangulated_poses

ROTATION = roma.rotvec_to_rotmat(torch.tensor([0.2, -0.7, 0.3], dtype=torch.float64))
"""R12: `view_2 = view_1 @ ROTATION`."""
PLACES = torch.tensor([[0.3, -0.2, 4.0], [-0.5, 0.1, 5.0]], dtype=torch.float64)


def hands(count: int = 3) -> tuple[Tensor, Tensor]:
    """True poses in both views' frames, root first, and the slopes of the rays to their joints."""
    generator = torch.Generator().manual_seed(0)
    pose = 0.7 * torch.randn(count, 21, 3, generator=generator, dtype=torch.float64)
    views = torch.stack([pose - pose[:, :1], (pose - pose[:, :1]) @ ROTATION])
    seen = views + PLACES[:, None, None]
    return views, seen[..., :2] / seen[..., 2:]


def still() -> tuple[Tensor, Tensor, Tensor]:
    """As `hands`, of cameras that stand still to each other, at bones 0-9 of length one, and the first's place."""
    views, _ = hands()
    pose = views[0] / (views[0][:, 9] - views[0][:, 0]).norm(dim=-1)[:, None, None]
    at = PLACES[0] + torch.arange(3)[:, None, None] * torch.tensor([0.3, 0.2, -0.1])
    place = PLACES[1] - PLACES[0] @ ROTATION
    seen = torch.stack([pose + at, (pose + at) @ ROTATION + place])
    return torch.stack([pose, pose @ ROTATION]), seen[..., :2] / seen[..., 2:], place


def test_the_first_cameras_place_is_found_from_its_direction_of_either_sign() -> None:
    _, slopes, place = still()
    for sign in (1, -1):
        torch.testing.assert_close(place_of_first(slopes, ROTATION, sign * place / place.norm()), place)


def test_still_cameras_mend_a_pose_that_both_views_have_wrong_by_their_rays() -> None:
    views, slopes, place = still()
    ones = torch.ones(2, 3, 21)
    torch.testing.assert_close(triangulated_poses(views, slopes, ones, ROTATION, place), views[0])
    wrong = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.4, 0.0], dtype=torch.float64))
    both = torch.stack([views[0] @ wrong, views[0] @ wrong @ ROTATION])
    found = triangulated_poses(both, slopes, ones, ROTATION, place)
    before, after = ((poses - views[0]).norm(dim=-1).mean() for poses in (both[0], found))
    assert after < 0.3 * before
    blind = triangulated_poses(both, slopes, torch.zeros(2, 3, 21) + 1e-4, ROTATION, place)
    torch.testing.assert_close(blind, both[0], atol=1e-3, rtol=0)
    crossed = beside_rays(torch.stack([found, found @ ROTATION]), slopes, ones)
    assert (crossed < 0.3 * beside_rays(torch.stack([both[0], both[0] @ ROTATION]), slopes, ones)).all()
