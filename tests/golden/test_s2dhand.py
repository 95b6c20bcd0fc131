"""S2DHand against numbers of the released code: rotations (c5), pseudo-labels (c6), whole iterations (c9).

Reads the folder named by HANDLOOM_GOLDEN_S2D; every seed, root joint and size comes from the files.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.geometry.rotations import (
    matrix_from_quaternion,
    mean_rotation_chordal,
    mean_rotation_unsigned,
    momentum_rotation,
    quaternion_from_matrix,
    rotation_between,
)

GOLDEN = Path(os.environ.get("HANDLOOM_GOLDEN_S2D", Path(__file__).parent / "s2d"))


def golden(name: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / name, allow_pickle=False) as file:
        return {key: torch.as_tensor(file[key]) for key in file.files}


def close(actual: torch.Tensor, expected: torch.Tensor, *, atol: float = 0.0, rtol: float = 0.0) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected.numpy(), atol=atol, rtol=rtol)


@pytest.fixture(scope="module")
def c5() -> dict[str, torch.Tensor]:
    return golden("c5_rotation.npz")


class TestRotations:
    def test_rotation_between_is_the_reference_and_its_proper_version(self, c5: dict[str, torch.Tensor]) -> None:
        upstream = rotation_between(c5["pose1"], c5["pose2"], c5["valid"], proper=False)
        close(upstream, c5["rot_upstream"], atol=1e-9)
        close(torch.linalg.det(upstream), c5["rot_det"], atol=1e-9)
        close(rotation_between(c5["pose1"], c5["pose2"], c5["valid"]), c5["rot_fixed"], atol=1e-9)

    def test_quaternions_follow_the_reference_branches(self, c5: dict[str, torch.Tensor]) -> None:
        close(quaternion_from_matrix(c5["q_matrix"]), c5["q_quat_wxyz"], atol=1e-9)
        close(quaternion_from_matrix(c5["q_reflection_matrix"]), c5["q_reflection_quat"], atol=1e-9)
        close(matrix_from_quaternion(c5["m_quat_wxyz"]), c5["m_matrix"], atol=1e-9)

    def test_means_of_a_batch(self, c5: dict[str, torch.Tensor]) -> None:
        batches = sorted(key.removesuffix("_R_each") for key in c5 if key.endswith("_R_each"))
        assert batches
        for k in batches:
            common = ((c5[f"{k}_valid1"] * c5[f"{k}_valid2"]) > 0).double()
            each = rotation_between(c5[f"{k}_pose1"], c5[f"{k}_pose2"], common, proper=False)
            close(each, c5[f"{k}_R_each"], atol=1e-9)
            close(quaternion_from_matrix(each), c5[f"{k}_quat_each"], atol=1e-9)
            close(mean_rotation_unsigned(each), c5[f"{k}_R_upstream"], atol=1e-7)
            fixed = rotation_between(c5[f"{k}_pose1"], c5[f"{k}_pose2"], common)
            close(fixed, c5[f"{k}_R_each_fixed"], atol=1e-9)
            close(mean_rotation_chordal(fixed), c5[f"{k}_R_chordal_fixed"], atol=1e-9)

    def test_momentum_update(self, c5: dict[str, torch.Tensor]) -> None:
        updated = momentum_rotation(c5["upd_R0"], c5["upd_R1"], c5["upd_momentum"], align_signs=False)
        close(updated, c5["upd_result"], atol=1e-9)
