"""Gaps at both ends are held, meshes have the right volume, and a video without a hand is an error."""

import pytest
import torch

from handloom.hand.open_hand import open_hand
from handloom.reconstruction.pose_gaps import PoseTrack, fill_gaps, fill_points, sealed_volume_m3
from handloom.runtime.errors import InputError


def test_both_ends_are_held():
    """The released code raises where the first and the last frame are missing."""
    generator = torch.Generator().manual_seed(0)
    track = PoseTrack(
        0.3 * torch.randn(6, 2, 3, generator=generator),
        torch.randn(6, 4, generator=generator),
        torch.randn(6, 3, generator=generator),
    )
    missing = torch.tensor([True, False, False, True, False, True])
    filled = fill_gaps(track, missing)
    torch.testing.assert_close(filled.rotvec[0], track.rotvec[1])
    torch.testing.assert_close(filled.translation_m[[0, 5]], track.translation_m[[1, 4]])
    torch.testing.assert_close(filled.translation_m[3], (track.translation_m[2] + track.translation_m[4]) / 2)
    torch.testing.assert_close(filled.shape[0], track.shape[[1, 2, 4]].mean(0))


def test_no_good_frame_is_an_error():
    with pytest.raises(InputError, match="none of 3 frames"):
        fill_points(torch.zeros(3, 21, 2), torch.ones(3, dtype=torch.bool))


def test_volume_of_an_open_box_and_of_a_hand():
    corners = torch.tensor([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4]]  # the face z = 1 is open
    faces = torch.tensor([triangle for a, b, c, d in quads for triangle in ([a, b, c], [a, c, d])])
    volume = sealed_volume_m3((2 * corners + 5)[None].double(), faces)
    assert float(volume) == pytest.approx(8.0)
    hand = open_hand()
    litres = 1000 * float(sealed_volume_m3(hand.v_template[None].double(), hand.faces))
    assert 0.2 < litres < 0.6
