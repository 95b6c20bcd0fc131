"""Two colour cameras that keep still around one moving hand, filmed as a user would: two videos, no calibration."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from handloom.demo.people import PALM_M, HandMotion, Person, place_hand, random_person, smooth_noise
from handloom.demo.pictures import random_colour_sensor
from handloom.demo.renderer import Scene, View, pinhole, project_from_world
from handloom.demo.room import random_environment, random_room
from handloom.figures.video_file import write_video
from handloom.hand.pose_prior import smooth_motion
from handloom.runtime.artifacts import Artifact
from handloom.runtime.progress import progress
from handloom.runtime.seeds import numpy_generator

_CENTRE_M = np.array([0.0, 0.0, 0.25])
"""Where the palm moves about, above the table."""
_DISTANCE_M = 0.5
"""Of the cameras from there."""
_KNOTS_HZ, _BEFORE_S = 10.0, 4.0
"""The motion is known at so many moments a second, from so long before the video to as long after it."""


@dataclass(frozen=True)
class Filmed(Artifact, kind="footage_truth", units="m, px, s", frame="camera", joint_order="SNAP"):
    """What the cameras filmed: joints (metres) along each camera's axes, of every frame of its video, and its times."""

    joints_left_m: Float[np.ndarray, "left 21 3"]
    joints_right_m: Float[np.ndarray, "right 21 3"]
    keypoints_left_px: Float[np.ndarray, "left 21 2"]
    keypoints_right_px: Float[np.ndarray, "right 21 2"]
    times_left_s: Float[np.ndarray, " left"]
    """By the left camera's clock; likewise of the right."""
    times_right_s: Float[np.ndarray, " right"]
    right_from_left: Float[np.ndarray, "3 3"]


@dataclass(frozen=True)
class Filming:
    """How a pair of videos is made; the right clock shows `offset_s` more than the left at the same moment."""

    seconds: float = 5.0
    left_fps: float = 30.0
    right_fps: float = 30.0
    offset_s: float = 0.0
    apart_deg: float = 55.0
    width_px: int = 480
    height_px: int = 360
    field_of_view_deg: float = 65.0
    still: bool = False


def film(filming: Filming, folder: Path, *, seed: int) -> Filmed:
    """Render left.mp4, right.mp4 and truth.npz into a folder; the room, the person, the light and the path by seed."""
    filmed, cameras = plan(filming, seed)
    generator = numpy_generator(seed, "camera pair", "place")
    person = random_person(generator)
    room = random_room(generator, grey=False)
    environment = random_environment(generator, up=np.array([0.0, 0.0, 1.0]), channels=3)
    intrinsics = camera_intrinsics(filming)
    folder.mkdir(parents=True, exist_ok=True)
    for view, (camera, rate, times) in enumerate(
        zip(cameras, (filming.left_fps, filming.right_fps), (filmed.times_left_s, filmed.times_right_s), strict=True)
    ):
        name = ("left", "right")[view]
        stream = numpy_generator(seed, "camera pair", name)
        sensor = random_colour_sensor(stream)
        track = _track(filming, seed, person, times - (filming.offset_s if view else 0.0))
        behind = room.view(camera, intrinsics, filming.width_px, filming.height_px).astype(np.float32)
        frames = progress(range(len(track.keypoints_m)), f"film {name}")
        scenes = (Scene([track.mesh(frame)], environment) for frame in frames)
        seen = (scene.view(camera, intrinsics, filming.width_px, filming.height_px) for scene in scenes)
        pictures = (sensor.expose(_before(behind, view_of_hand), stream) for view_of_hand in seen)
        write_video(folder / f"{name}.mp4", pictures, frames_per_second=rate)
    filmed.save(folder / "truth.npz", seed=seed)
    return filmed


def _before(
    behind: Float[np.ndarray, "height width channels"], hand: View
) -> Float[np.ndarray, "height width channels"]:
    """The room with the hand in front of it."""
    picture = behind.copy()
    hand.cover(picture)
    return picture


def plan(filming: Filming, seed: int) -> tuple[Filmed, list[Float[np.ndarray, "3 4"]]]:
    """The truth of what is filmed, and where the cameras are (camera from world), without any picture."""
    person = random_person(numpy_generator(seed, "camera pair", "place"))
    cameras = _cameras(filming, seed)
    intrinsics = camera_intrinsics(filming)
    parts = []
    for view, rate in enumerate((filming.left_fps, filming.right_fps)):
        times = np.arange(int(filming.seconds * rate)) / rate
        track = _track(filming, seed, person, times - (filming.offset_s if view else 0.0))
        keypoints, joints = project_from_world(track.keypoints_m, cameras[view], intrinsics)
        parts.append((joints, keypoints, times))
    (joints_left, keypoints_left, times_left), (joints_right, keypoints_right, times_right) = parts
    turn = cameras[1][:, :3] @ cameras[0][:, :3].T
    return Filmed(joints_left, joints_right, keypoints_left, keypoints_right, times_left, times_right, turn), cameras


def camera_intrinsics(filming: Filming) -> Float[np.ndarray, "3 3"]:
    """The camera of both views, pixel centres at whole numbers."""
    focal = filming.width_px / 2 / np.tan(np.radians(filming.field_of_view_deg / 2))
    return pinhole(focal, focal, (filming.width_px - 1) / 2, (filming.height_px - 1) / 2)


def _cameras(filming: Filming, seed: int) -> list[Float[np.ndarray, "3 4"]]:
    """Both look at the hand, from its owner's side and above, so far apart, each a little rolled and off the aim."""
    generator = numpy_generator(seed, "camera pair", "cameras")
    middle = generator.uniform(-25, 25)
    cameras = []
    for side in (-0.5, 0.5):
        azimuth = np.radians(middle + side * filming.apart_deg * generator.uniform(0.95, 1.05))
        elevation = np.radians(generator.uniform(15, 50))
        back = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
        centre = _CENTRE_M + _DISTANCE_M * generator.uniform(0.9, 1.15) * back
        ahead = _CENTRE_M + generator.normal(0, 0.03, 3) - centre
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        level = np.stack([right, np.cross(ahead, right), ahead])
        rotation = Rotation.from_euler("z", generator.normal(0, 6), degrees=True).as_matrix() @ level
        cameras.append(np.concatenate([rotation, -(rotation @ centre)[:, None]], axis=1))
    return cameras


@cache
def _motion(seconds: float, seed: int, still: bool) -> tuple[CubicSpline, CubicSpline, CubicSpline]:
    """Fingers (rotation vectors), the hand's three angles and its palm's path over the seconds of the left clock."""
    generator = numpy_generator(seed, "camera pair", "motion")
    count = int((seconds + 2 * _BEFORE_S) * _KNOTS_HZ)
    stream = torch.Generator().manual_seed(int(generator.integers(2**62)))
    fingers = smooth_motion(stream, count, 0.8 * _KNOTS_HZ).double().numpy()
    angles = smooth_noise(generator, count, 3, frames_apart=0.4 * _KNOTS_HZ) * [0.5, 0.4, 0.6] + [0.35, 0.25, 0.3]
    path = smooth_noise(generator, count, 3, frames_apart=0.6 * _KNOTS_HZ) * [0.05, 0.04, 0.04]
    knots_s = np.arange(count) / _KNOTS_HZ - _BEFORE_S
    parts = (np.broadcast_to(each[:1], each.shape) if still else each for each in (fingers, angles, path))
    first, second, third = (CubicSpline(knots_s, part) for part in parts)
    return first, second, third


def _track(filming: Filming, seed: int, person: Person, times_s: Float[np.ndarray, " frames"]) -> HandMotion:
    """A right hand that turns, travels, opens and closes, at the given times."""
    fingers, angles, path = (part(times_s) for part in _motion(filming.seconds, seed, filming.still))
    # Fingers up, palm ahead, as one shows a hand; then turned about the vertical, pitched and rolled.
    base = np.stack([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]], axis=1)
    rotation = Rotation.from_euler("ZXY", angles).as_matrix() @ base
    wrist = _CENTRE_M + path - rotation @ PALM_M
    bend = Rotation.from_rotvec([0.15, 0.1, -0.1]).as_matrix()
    elbow = wrist + 0.45 * np.einsum("ij,fj->fi", bend, rotation[:, :, 0])
    return place_hand(
        person,
        finger_pose=fingers,
        world_from_wrist=rotation,
        wrist_m=wrist,
        elbow_m=elbow,
        is_left=False,
    )
