"""A sealed hand is closed, keeps its orientation, and refuses a mesh without a hole."""

import pytest
import torch
import trimesh

from handloom.hand.open_hand import mirrored, open_hand
from handloom.reconstruction.sealed_hand import wrist_cap
from handloom.runtime.errors import InputError


@pytest.mark.parametrize("side", ["right", "left"])
def test_sealed_hand_is_watertight_with_outward_faces(side: str) -> None:
    hand = open_hand() if side == "right" else mirrored(open_hand())
    cap = wrist_cap(hand.faces, len(hand.v_template))
    sealed = cap.sealed(hand.v_template[None].repeat(2, 1, 1))
    mesh = trimesh.Trimesh(sealed[1].numpy(), cap.faces.numpy(), process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 1e-4
    torch.testing.assert_close(sealed[:, -1], hand.v_template[cap.ring].mean(0).expand(2, 3))


def test_a_closed_mesh_is_refused() -> None:
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    with pytest.raises(InputError, match="no open wrist"):
        wrist_cap(faces, 4)
