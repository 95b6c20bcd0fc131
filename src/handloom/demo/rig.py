"""The two headsets: four monochrome cameras each, rolled against one another as on the real ones.

The rotations were found once by least squares: the six relative angles of each headset equal those measured on the
real calibrations (facts/s2dhand.md section 5) within 0.2 degrees, no camera is aligned with an axis, and every optical
axis stays within 20 degrees of straight ahead, so that both hands are seen by all four cameras.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from handloom.runtime.config.datasets import Headset

IMAGE_WIDTH: Final = 636
IMAGE_HEIGHT: Final = 480


@dataclass(frozen=True)
class HeadsetRig:
    """Four cameras fixed to a head: frame x right, y down, z ahead, origin between the eyes.

    `camera_from_head` holds rotations that act on column vectors; positions are in metres in the head's frame.
    """

    name: Headset
    camera_names: tuple[str, str, str, str]
    camera_from_head: Float[np.ndarray, "4 3 3"]
    camera_position_m: Float[np.ndarray, "4 3"]
    intrinsics: Float[np.ndarray, "4 3 3"]

    def cameras_from_world(
        self, head_from_world: Float[np.ndarray, "frames 3 3"], head_position_m: Float[np.ndarray, "frames 3"]
    ) -> Float[np.ndarray, "frames 4 3 4"]:
        """Extrinsics `X_cam = R X_world + t` (metres) of every camera, for a head at `head_position_m` in the world."""
        rotation = np.einsum("cij,fjk->fcik", self.camera_from_head, head_from_world)
        centre = head_position_m[:, None] + np.einsum("cj,fjk->fck", self.camera_position_m, head_from_world)
        translation = -np.einsum("fcij,fcj->fci", rotation, centre)
        return np.concatenate([rotation, translation[..., None]], axis=-1)


def _intrinsics(values: list[tuple[float, float, float, float]]) -> Float[np.ndarray, "4 3 3"]:
    matrices = np.zeros((4, 3, 3))
    for matrix, (focal_x, focal_y, centre_x, centre_y) in zip(matrices, values, strict=True):
        matrix[:] = [[focal_x, 0.0, centre_x], [0.0, focal_y, centre_y], [0.0, 0.0, 1.0]]
    return matrices


HEADSETS: Final[dict[Headset, HeadsetRig]] = {
    "headset1": HeadsetRig(
        name="headset1",
        camera_names=("HMC_21176875", "HMC_21176623", "HMC_21110305", "HMC_21179183"),
        camera_from_head=Rotation.from_rotvec(
            [
                [0.3237, 0.1477, -0.9157],
                [0.4055, 0.0463, 1.9887],
                [-0.1389, 0.0545, 0.6892],
                [-0.0895, -0.1157, 0.3788],
            ]
        ).as_matrix(),
        camera_position_m=np.array(
            [[0.079, 0.034, 0.004], [-0.082, 0.031, 0.006], [-0.047, -0.021, 0.022], [0.051, -0.024, 0.021]]
        ),
        intrinsics=_intrinsics(
            [
                (271.4, 271.9, 317.2, 241.6),
                (268.8, 269.1, 321.5, 236.9),
                (274.6, 274.2, 313.9, 243.3),
                (270.3, 270.9, 319.4, 238.1),
            ]
        ),
    ),
    "headset2": HeadsetRig(
        name="headset2",
        camera_names=("HMC_84346135", "HMC_84347414", "HMC_84355350", "HMC_84358933"),
        camera_from_head=Rotation.from_rotvec(
            [
                [0.3145, 0.1579, -0.9087],
                [0.3934, 0.0581, 2.0005],
                [-0.1364, 0.0537, 0.7045],
                [-0.0788, -0.1150, 0.4069],
            ]
        ).as_matrix(),
        camera_position_m=np.array(
            [[0.081, 0.032, 0.006], [-0.080, 0.033, 0.003], [-0.049, -0.023, 0.020], [0.049, -0.022, 0.023]]
        ),
        intrinsics=_intrinsics(
            [
                (266.7, 267.2, 320.8, 237.5),
                (273.1, 272.5, 315.1, 242.8),
                (269.5, 269.9, 318.3, 239.4),
                (275.2, 275.6, 316.6, 240.2),
            ]
        ),
    ),
}
