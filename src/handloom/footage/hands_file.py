"""hands.npz: the hand of each frame of a view: where it is, and its joints as the source network sees them."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from handloom.adaptation.view_turns import crop_rays
from handloom.geometry.viewing_rays import turns_to_rays
from handloom.hand.joints import BONE, Side
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.errors import InputError

KIND = "footage_hands"


@dataclass(frozen=True)
class FootageHands:
    """One row per frame; NaN, or 0 for scores, where there is no hand.

    A crop is a square with its centre and side in pixels; `angle_rad` turns directions in the crop to those in the
    image (from x to y). Pixel centres are at whole numbers.
    """

    found: Bool[np.ndarray, " frames"]
    centre_px: Float[np.ndarray, "frames 2"]
    side_px: Float[np.ndarray, " frames"]
    angle_rad: Float[np.ndarray, " frames"]
    presence: Float[np.ndarray, " frames"]
    """The network's own score that the crop shows a hand."""
    handedness: Float[np.ndarray, " frames"]
    """The network's score that it is a right hand; 0.5 where it has none."""
    keypoints_px: Float[np.ndarray, "frames 21 2"]
    joints_cam: Float[np.ndarray, "frames 21 3"]
    """SNAP, relative to the wrist, along the camera's axes; metres (mediapipe) or bones 0-9 (detnet)."""
    confidence: Float[np.ndarray, "frames 21"]
    rays: Float[np.ndarray, "frames 21 3"]
    """Unit viewing rays of the key points along the camera's axes, by its nominal field of view."""
    cam_from_crop: Float[np.ndarray, "frames 3 3"]
    """From the network's axes to the camera's; a reflection where the network sees the crop mirrored."""


def pixel_rays(
    points_px: Float[np.ndarray, "*points 2"], image_size_px: tuple[int, int], field_of_view_deg: float
) -> Float[np.ndarray, "*points 3"]:
    """Unit rays through pixels, of a camera that looks through its picture's centre with that horizontal view."""
    width, height = image_size_px
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    rays = crop_rays(((points_px - middle) / (width / 2)).reshape(-1, 2), field_of_view_deg)
    return rays.numpy().reshape(*points_px.shape[:-1], 3)


def camera_from_crop(
    centre_px: Float[np.ndarray, "hands 2"],
    angle_rad: Float[np.ndarray, " hands"],
    image_size_px: tuple[int, int],
    field_of_view_deg: float,
    ray_share: float,
    *,
    mirrored: bool = False,
) -> Float[np.ndarray, "hands 3 3"]:
    """Q Rz(angle) M: the mirror, the crop's turn about the optical axis, and a share of the turn to its viewing ray.

    A network sees a crop as a camera would that looks straight at it. `image_size_px` is (width, height).
    """
    rays = torch.from_numpy(pixel_rays(centre_px, image_size_px, field_of_view_deg))
    towards = turns_to_rays(rays, ray_share).numpy()
    about_axis = Rotation.from_euler("z", angle_rad[:, None]).as_matrix().reshape(-1, 3, 3)
    mirror = np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    turns: Float[np.ndarray, "hands 3 3"] = towards @ about_axis @ mirror
    return turns


def write_hands(path: Path, hands: FootageHands, *, side: Side, backend: str, code: str = "") -> None:
    """Write the hands of a view."""
    units = "px, rad, m" if backend == "mediapipe" else "px, rad, bone 0-9"
    header = Header(KIND, units, "camera", "SNAP", code=code, extra={"side": side, "backend": backend})
    write_arrays(path, asdict(hands), header)


def read_hands(path: Path) -> tuple[FootageHands, Header]:
    """Read what `write_hands` wrote; raises InputError as `read_arrays` does."""
    arrays, header = read_arrays(path, KIND)
    try:
        return FootageHands(**arrays), header
    except TypeError as error:
        raise InputError(f"{path}: holds {sorted(arrays)} ({error}); make the hands again") from error


def bone_lengths(joints: Float[np.ndarray, "hands 21 3"]) -> Float[np.ndarray, " hands"]:
    """Length of the bone from wrist to middle finger of each hand, in the joints' unit."""
    lengths: Float[np.ndarray, " hands"] = np.linalg.norm(joints[:, BONE[1]] - joints[:, BONE[0]], axis=-1)
    return lengths


def poses_of(hands: FootageHands, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Joints along the camera's axes and confidence of some frames, in double precision."""
    return torch.from_numpy(hands.joints_cam[rows]).double(), torch.from_numpy(hands.confidence[rows]).double()
