"""AssemblyHands-ego as rendered recordings: two headsets, their pictures, and a split's three JSON files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from handloom.datasets.assembly_hands import cameras_of
from handloom.datasets.assembly_hands_files import CALIBRATION_SUFFIX
from handloom.demo.people import Track, Turns, random_person
from handloom.demo.pictures import GREY_JPEG, random_monochrome_sensor, render_all, single_threaded, write_picture
from handloom.demo.plan import Split, assembly_sequences
from handloom.demo.recording import record
from handloom.demo.renderer import Extrinsics, Matrix, Scene, View, inside_image, pinhole, project_from_world
from handloom.demo.room import random_environment, random_room
from handloom.hand.joints import ASSEMBLY_HANDS_FROM_SNAP
from handloom.runtime.artifacts import Artifact
from handloom.runtime.config.sources import DemoSettings, Headset
from handloom.runtime.errors import InputError
from handloom.runtime.files import whole_folder, write_text
from handloom.runtime.progress import progress
from handloom.runtime.seeds import numpy_generator

IMAGE_WIDTH, IMAGE_HEIGHT = 636, 480  # of AssemblyHands' rectified pictures
_HIDDEN_BEHIND_M = 0.05  # more than a finger or a thin object is thick


@dataclass(frozen=True)
class HeadsetRig:
    """Four cameras fixed to a head, in the data set's order: frame x right, y down, z ahead, origin between the eyes.

    `camera_from_head` holds rotations that act on column vectors; positions are in metres in the head's frame.
    """

    camera_from_head: Float[np.ndarray, "4 3 3"]
    camera_position_m: Float[np.ndarray, "4 3"]
    intrinsics: Float[np.ndarray, "4 3 3"]

    def cameras_from_world(self, head_from_world: Turns, head_position_m: Track) -> Float[np.ndarray, "frames 4 3 4"]:
        """Extrinsics `X_cam = R X_world + t` (metres) of every camera, for a head at `head_position_m` in the world."""
        rotation = np.einsum("cij,fjk->fcik", self.camera_from_head, head_from_world)
        centre = head_position_m[:, None] + np.einsum("cj,fjk->fck", self.camera_position_m, head_from_world)
        translation = -np.einsum("fcij,fcj->fci", rotation, centre)
        return np.concatenate([rotation, translation[..., None]], axis=-1)


HEADSETS: dict[Headset, HeadsetRig] = {
    "headset1": HeadsetRig(
        camera_from_head=Rotation.from_rotvec(
            [[0.3237, 0.1477, -0.9157], [0.4055, 0.0463, 1.9887], [-0.1389, 0.0545, 0.6892], [-0.0895, -0.1157, 0.3788]]
        ).as_matrix(),
        camera_position_m=np.array(
            [[0.079, 0.034, 0.004], [-0.082, 0.031, 0.006], [-0.047, -0.021, 0.022], [0.051, -0.024, 0.021]]
        ),
        intrinsics=np.array(
            [
                pinhole(271.4, 271.9, 317.2, 241.6),
                pinhole(268.8, 269.1, 321.5, 236.9),
                pinhole(274.6, 274.2, 313.9, 243.3),
                pinhole(270.3, 270.9, 319.4, 238.1),
            ]
        ),
    ),
    "headset2": HeadsetRig(
        camera_from_head=Rotation.from_rotvec(
            [[0.3145, 0.1579, -0.9087], [0.3934, 0.0581, 2.0005], [-0.1364, 0.0537, 0.7045], [-0.0788, -0.1150, 0.4069]]
        ).as_matrix(),
        camera_position_m=np.array(
            [[0.081, 0.032, 0.006], [-0.080, 0.033, 0.003], [-0.049, -0.023, 0.020], [0.049, -0.022, 0.023]]
        ),
        intrinsics=np.array(
            [
                pinhole(266.7, 267.2, 320.8, 237.5),
                pinhole(273.1, 272.5, 315.1, 242.8),
                pinhole(269.5, 269.9, 318.3, 239.4),
                pinhole(275.2, 275.6, 316.6, 240.2),
            ]
        ),
    ),
}
"""Like the real ones, rolled against one another.

The rotations were found once by least squares: the six relative angles of each headset equal those of AssemblyHands'
calibrations within 0.2 degrees, no camera is aligned with an axis, and every optical axis stays within 20 degrees of
straight ahead, so that both hands are seen by all four cameras.
"""


@dataclass(frozen=True)
class RenderedSequence(
    Artifact,
    kind="demo_assembly_sequence",
    units="mm",
    frame="world",
    joint_order="assembly_hands",
    may_be_nan=("boxes_px",),
):
    """What is in the pictures of one recording; boxes are those of the right and of the left hand, NaN where none."""

    sequence: str
    split: Split
    headset: Headset
    frames: Int[np.ndarray, " frames"]
    joints_world_mm: Float[np.ndarray, "frames 42 3"]
    joint_valid: Float[np.ndarray, "frames 4 42"]
    boxes_px: Float[np.ndarray, "frames 4 2 4"]
    intrinsics: Float[np.ndarray, "4 3 3"]
    camera_from_world_mm: Float[np.ndarray, "frames 4 3 4"]


def render_assembly_sequence(demo: DemoSettings, split: Split, sequence: str, images: Path, annotations: Path) -> None:
    """Stage: render one recording into `images`/{camera}_mono10bit/{frame:06d}.jpg and write what is in the pictures.

    Raises InputError for a sequence that the settings do not plan.
    """
    plans = {plan.name: plan for plan in assembly_sequences(demo, split)}
    if sequence not in plans:
        raise InputError(
            f"demo sequence '{sequence}' is not in the {split} split; expected one of {sorted(plans)}; check the rule"
        )
    plan, turned = plans[sequence], demo.turned_hands if split == "train" else 0.0
    parts = np.array_split(np.arange(len(plan.frames)), plan.people)
    with single_threaded(), whole_folder(images) as folder:
        for name in _camera_folders(plan.headset):
            (folder / name).mkdir()
        done: list[_Part] = []
        for person, part in enumerate(parts):
            stream = numpy_generator(demo.seed, "assembly_hands", split, sequence, *([person] if person else []))
            done.append(
                _rendered(
                    stream, plan.headset, [plan.frames[index] for index in part], turned, folder, f"render {plan.name}"
                )
            )
    columns = (np.concatenate(column) for column in zip(*done, strict=True))
    joints, valid, boxes, extrinsics = columns
    RenderedSequence(
        sequence=plan.name,
        split=split,
        headset=plan.headset,
        frames=np.array(plan.frames),
        joints_world_mm=1000 * joints,
        joint_valid=valid,
        boxes_px=boxes,
        intrinsics=HEADSETS[plan.headset].intrinsics,
        camera_from_world_mm=extrinsics * [1.0, 1.0, 1.0, 1000.0],
    ).save(annotations, seed=demo.seed)


class _Part(NamedTuple):
    """What is in one person's pictures."""

    joints_m: Float[np.ndarray, "frames 42 3"]
    joint_valid: Float[np.ndarray, "frames 4 42"]
    boxes_px: Float[np.ndarray, "frames 4 2 4"]
    cameras_from_world: Float[np.ndarray, "frames 4 3 4"]


def _rendered(
    stream: Generator, headset: Headset, frames: Sequence[int], turned: float, folder: Path, label: str
) -> _Part:
    rig, folders = HEADSETS[headset], _camera_folders(headset)
    person = random_person(stream)
    recording = record(stream, len(frames), person, turned)
    room = random_room(stream, grey=True)
    environment = random_environment(stream, up=np.array([0.0, 0.0, 1.0]), channels=1)
    sensors = [random_monochrome_sensor(stream) for _ in folders]
    extrinsics = rig.cameras_from_world(recording.head_from_world, recording.head_position_m)
    order = list(ASSEMBLY_HANDS_FROM_SNAP)
    joints = np.concatenate([hand.keypoints_m[:, order] for hand in recording.hands], axis=1)
    things = [
        (hold, *hold.grasp.placed(hand))
        for hand, holds in zip(recording.hands, recording.holds, strict=True)
        for hold in holds
    ]
    valid = np.zeros((len(frames), 4, 42))
    boxes = np.full((len(frames), 4, 2, 4), np.nan)
    for index, frame in enumerate(progress(frames, label)):
        meshes = [hand.mesh(index, grey=True) for hand in recording.hands]
        for hold, world_from_object, centre_m in things:
            if hold.held[index]:
                meshes.append(hold.thing.mesh(world_from_object[index], centre_m[index], grey=True))
        scene = Scene(meshes, environment)
        for camera, name in enumerate(folders):
            place, intrinsics = extrinsics[index, camera], rig.intrinsics[camera]
            view = scene.view(place, intrinsics, IMAGE_WIDTH, IMAGE_HEIGHT)
            radiance = room.view(place, intrinsics, IMAGE_WIDTH, IMAGE_HEIGHT)
            view.cover(radiance)
            picture = sensors[camera].expose(radiance, stream)[..., 0]
            write_picture(folder / name / f"{frame:06d}.jpg", picture, GREY_JPEG)
            valid[index, camera], boxes[index, camera] = _annotate(joints[index], place, intrinsics, view)
    return _Part(joints, valid, boxes, extrinsics)


def _camera_folders(headset: str) -> list[str]:
    return [name + CALIBRATION_SUFFIX for name in cameras_of(headset)]


def _annotate(
    joints_m: Float[np.ndarray, "42 3"], camera_from_world: Extrinsics, intrinsics: Matrix, view: View
) -> tuple[Float[np.ndarray, "42"], Float[np.ndarray, "2 4"]]:
    """Validity as an annotator would give it, and a box per hand (right, left), NaN where too little of it is seen.

    A joint is valid inside the image and at most 5 cm behind the surface seen there, so that joints inside or just
    behind a finger or a thin object still count. A box needs six joints inside the image.
    """
    pixels, camera = project_from_world(joints_m, camera_from_world, intrinsics)
    inside = inside_image(pixels, camera, IMAGE_WIDTH, IMAGE_HEIGHT)
    valid = inside & (camera[:, 2] < view.depth_at(pixels) + _HIDDEN_BEHIND_M)
    last = np.array([IMAGE_WIDTH - 1, IMAGE_HEIGHT - 1])
    boxes = np.full((2, 4), np.nan)
    for hand in (0, 1):
        own = slice(21 * hand, 21 * hand + 21)
        if inside[own].sum() >= 6:
            seen = pixels[own][camera[own, 2] > 0.05]
            low, high = np.clip(seen.min(0) - 4, 0, last), np.clip(seen.max(0) + 4, 0, last)
            boxes[hand] = [*low, *high]
    return valid.astype(float), boxes


def render_assembly_split(
    demo: DemoSettings,
    split: Split,
    images: Path,
    sequences: Path,
    data: Path,
    calibration: Path,
    joints: Path,
    threads: int = 1,
) -> None:
    """Stage: render all recordings of a split, `images`/{sequence}, `sequences`/{sequence}.npz and the JSON files."""
    plans = assembly_sequences(demo, split)
    with whole_folder(images) as of_images, whole_folder(sequences) as of_sequences:
        files = [of_sequences / f"{plan.name}.npz" for plan in plans]
        jobs = [(plan.name, of_images / plan.name, file) for plan, file in zip(plans, files, strict=True)]
        render_all(partial(_render_job, demo, split), jobs, threads=threads, label=f"render {split}")
        gather_assembly_split(files, data, calibration, joints)


def _render_job(demo: DemoSettings, split: Split, job: tuple[str, Path, Path]) -> None:
    render_assembly_sequence(demo, split, *job)


def gather_assembly_split(sequences: Sequence[Path], data: Path, calibration: Path, joints: Path) -> None:
    """Stage: write the split's files `ego_data`, `ego_calib` and `joint_3d` of the given `RenderedSequence`s."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    cameras: dict[str, Any] = {}
    poses: dict[str, Any] = {}
    size = {"width": IMAGE_WIDTH, "height": IMAGE_HEIGHT}
    for recording in map(RenderedSequence.load, sequences):
        folders, frames = _camera_folders(recording.headset), recording.frames.tolist()
        cameras[recording.sequence] = {
            "intrinsics": dict(zip(folders, recording.intrinsics.tolist(), strict=True)),
            "extrinsics": {
                f"{frame:06d}": dict(zip(folders, matrices.tolist(), strict=True))
                for frame, matrices in zip(frames, recording.camera_from_world_mm, strict=True)
            },
        }
        poses[recording.sequence] = {
            f"{frame:06d}": {"world_coord": np.round(points, 4).tolist(), "joint_valid": [1] * 42}
            for frame, points in zip(frames, recording.joints_world_mm, strict=True)
        }
        of_split = f"ego_images_rectified/{recording.split}/{recording.sequence}"
        for index, frame in enumerate(frames):
            for camera, name in enumerate(cameras_of(recording.headset)):
                number, file_name = len(images), f"{of_split}/{folders[camera]}/{frame:06d}.jpg"
                moment = {"seq_name": recording.sequence, "camera": name, "frame_idx": frame}
                images.append({"id": number, "file_name": file_name, **size, **moment})
                right, left = recording.boxes_px[index, camera]
                boxes = {"right": _box(right), "left": _box(left)}
                valid = recording.joint_valid[index, camera].astype(int).tolist()
                annotations.append({"id": number, "image_id": number, "bbox": boxes, "joint_valid": valid})
    for path, content in (
        (data, {"images": images, "annotations": annotations}),
        (calibration, {"calibration": cameras}),
        (joints, {"annotations": poses}),
    ):
        write_text(path, json.dumps(content, allow_nan=False, separators=(",", ":")))


def _box(corners: Float[np.ndarray, "4"]) -> list[float] | None:
    return None if np.isnan(corners).any() else np.round(corners, 2).tolist()
