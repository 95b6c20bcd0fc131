"""AssemblyHands-ego as a rendered recording: pictures per sequence, then the split's three JSON files."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handloom.demo.appearance import random_environment, random_person
from handloom.demo.backdrop import random_room
from handloom.demo.motion import Recording, record
from handloom.demo.pictures import write_grey_jpeg
from handloom.demo.renderer import Scene, View, project
from handloom.demo.rig import HEADSETS, IMAGE_HEIGHT, IMAGE_WIDTH
from handloom.demo.sensor import random_monochrome_sensor
from handloom.demo.sequences import SequencePlan, Split, assembly_sequences
from handloom.demo.workers import single_threaded
from handloom.hand.joints import ASSEMBLY_HANDS_FROM_SNAP, FINGERS
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.datasets import DemoSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import whole_folder, write_text
from handloom.runtime.progress import progress
from handloom.runtime.seeds import numpy_generator

KIND = "demo_assembly_sequence"
_HIDDEN_BEHIND_M = 0.05


def joints_42(
    right: Float[np.ndarray, "*batch 21 n"], left: Float[np.ndarray, "*batch 21 n"]
) -> Float[np.ndarray, "*batch 42 n"]:
    """Both hands in AssemblyHands' order: right 0-20, left 21-41; per hand fingers tip to base, the wrist last."""
    order = list(ASSEMBLY_HANDS_FROM_SNAP)
    return np.concatenate([right[..., order, :], left[..., order, :]], axis=-2)


def render_assembly_sequence(
    settings: DemoSettings, split: Split, sequence: str, images_folder: Path, annotation_npz: Path
) -> None:
    """Render one recording into `images_folder`/{camera}_mono10bit/{frame:06d}.jpg and write its annotations.

    The annotation file (kind `demo_assembly_sequence`, millimetres, world frame) is what `gather_assembly_split` reads.
    Raises InputError for a sequence that the settings do not plan.
    """
    plan = _planned(settings, split, sequence)
    with single_threaded(), whole_folder(images_folder) as folder:
        arrays = _rendered(numpy_generator(settings.seed, "assembly_hands", split, sequence), plan, folder)
    header = Header(
        KIND,
        units="mm",
        frame="world",
        joint_order="assembly_hands",
        seed=settings.seed,
        extra={"sequence": sequence, "headset": plan.headset, "split": split},
    )
    write_arrays(annotation_npz, arrays, header)


def _rendered(stream: np.random.Generator, plan: SequencePlan, folder: Path) -> dict[str, np.ndarray]:
    """Render all pictures of a recording into the folder; returns the arrays of its annotation file."""
    rig = HEADSETS[plan.headset]
    person = random_person(stream)
    recording = record(stream, len(plan.frames), person)
    room = random_room(stream, grey=True)
    environment = random_environment(stream, up=np.array([0.0, 0.0, 1.0]), channels=1)
    sensors = [random_monochrome_sensor(stream) for _ in rig.camera_names]
    extrinsics = rig.cameras_from_world(recording.head_from_world, recording.head_position_m)
    joints = joints_42(recording.hands[0].keypoints_m, recording.hands[1].keypoints_m)
    valid = np.zeros((len(plan.frames), 4, 42))
    boxes = np.full((len(plan.frames), 4, 2, 4), np.nan)
    albedo = person.grey_albedo()
    for name in rig.camera_names:
        (folder / f"{name}_mono10bit").mkdir()
    for index, frame in enumerate(progress(plan.frames, f"render {plan.name}")):
        scene = Scene(_meshes(recording, index, albedo, person.gloss), environment)
        for camera, name in enumerate(rig.camera_names):
            place, intrinsics = extrinsics[index, camera], rig.intrinsics[camera]
            view = scene.view(place, intrinsics, IMAGE_WIDTH, IMAGE_HEIGHT)
            radiance = room.view(place, intrinsics, IMAGE_WIDTH, IMAGE_HEIGHT)
            window = radiance[view.rows, view.columns]
            window[view.mask] = view.radiance[view.mask]
            picture = sensors[camera].expose(radiance, stream)[..., 0]
            write_grey_jpeg(folder / f"{name}_mono10bit" / f"{frame:06d}.jpg", picture)
            valid[index, camera], boxes[index, camera] = _annotate(joints[index], place, intrinsics, view)
    return {
        "frames": np.array(plan.frames),
        "joints_world_mm": 1000 * joints,
        "joint_valid": valid,
        "boxes_px": boxes,
        "intrinsics": rig.intrinsics,
        "camera_from_world_mm": extrinsics * [1.0, 1.0, 1.0, 1000.0],
    }


def _planned(settings: DemoSettings, split: Split, sequence: str) -> SequencePlan:
    plans = {plan.name: plan for plan in assembly_sequences(settings, split)}
    if sequence not in plans:
        raise InputError(
            f"demo sequence '{sequence}' is not in the {split} split; expected one of {sorted(plans)}; check the rule"
        )
    return plans[sequence]


def _meshes(recording: Recording, index: int, albedo: np.ndarray, gloss: float) -> list:
    meshes = [hand.mesh(index, albedo, gloss) for hand in recording.hands]
    for track in recording.objects:
        if track.held[index]:
            meshes.append(track.thing.mesh(track.world_from_object[index], track.centre_m[index], grey=True))
    return meshes


def _annotate(
    joints_m: Float[np.ndarray, "42 3"],
    camera_from_world: Float[np.ndarray, "3 4"],
    intrinsics: Float[np.ndarray, "3 3"],
    view: View,
) -> tuple[Float[np.ndarray, "42"], Float[np.ndarray, "2 4"]]:
    """Validity as an annotator would give it, and a box per hand (right, left), NaN where too little of it is seen.

    A joint is valid inside the image and at most 5 cm behind the surface seen there, so that joints inside or just
    behind a finger or a thin object still count. A box needs six joints inside the image.
    """
    pixels, camera = project(joints_m, camera_from_world, intrinsics)
    size = np.array([IMAGE_WIDTH, IMAGE_HEIGHT])
    inside = ((pixels >= 0) & (pixels <= size - 1)).all(1) & (camera[:, 2] > 0.05)
    valid = inside & (camera[:, 2] < view.depth_at(pixels) + _HIDDEN_BEHIND_M)
    boxes = np.full((2, 4), np.nan)
    for hand in (0, 1):
        own = slice(21 * hand, 21 * hand + 21)
        if inside[own].sum() >= 6:
            seen = pixels[own][camera[own, 2] > 0.05]
            low, high = np.clip(seen.min(0) - 4, 0, size - 1), np.clip(seen.max(0) + 4, 0, size - 1)
            boxes[hand] = [*low, *high]
    return valid.astype(float), boxes


def gather_assembly_split(
    settings: DemoSettings, split: Split, annotation_files: Sequence[Path], folder: Path, version: str = "v1-1"
) -> None:
    """Write the split's `ego_data`, `ego_calib` and `joint_3d` JSON files into `folder` (annotations/{split})."""
    images: list[dict] = []
    annotations: list[dict] = []
    calibration: dict[str, dict] = {}
    joints: dict[str, dict] = {}
    for path in annotation_files:
        arrays, header = read_arrays(path, KIND)
        sequence = header.extra["sequence"]
        names = HEADSETS[header.extra["headset"]].camera_names
        frames = [int(frame) for frame in arrays["frames"]]
        calibration[sequence] = {
            "intrinsics": {
                f"{name}_mono10bit": matrix.tolist() for name, matrix in zip(names, arrays["intrinsics"], strict=True)
            },
            "extrinsics": {
                f"{frame:06d}": {
                    f"{name}_mono10bit": matrix.tolist() for name, matrix in zip(names, matrices, strict=True)
                }
                for frame, matrices in zip(frames, arrays["camera_from_world_mm"], strict=True)
            },
        }
        joints[sequence] = {
            f"{frame:06d}": {"world_coord": np.round(points, 4).tolist(), "joint_valid": [1] * 42}
            for frame, points in zip(frames, arrays["joints_world_mm"], strict=True)
        }
        for index, frame in enumerate(frames):
            for camera, name in enumerate(names):
                number = len(images)
                images.append(
                    {
                        "id": number,
                        "file_name": f"ego_images_rectified/{split}/{sequence}/{name}_mono10bit/{frame:06d}.jpg",
                        "width": IMAGE_WIDTH,
                        "height": IMAGE_HEIGHT,
                        "seq_name": sequence,
                        "camera": name,
                        "frame_idx": frame,
                    }
                )
                right, left = arrays["boxes_px"][index, camera]
                annotations.append(
                    {
                        "id": number,
                        "image_id": number,
                        "bbox": {"right": _box(right), "left": _box(left)},
                        "joint_valid": arrays["joint_valid"][index, camera].astype(int).tolist(),
                    }
                )
    for kind, content in (
        ("ego_data", {"images": images, "annotations": annotations}),
        ("ego_calib", {"calibration": calibration}),
        ("joint_3d", {"annotations": joints}),
    ):
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        write_text(folder / f"assemblyhands_{split}_{kind}_{version}.json", text)


def _box(corners: np.ndarray) -> list[float] | None:
    return None if np.isnan(corners).any() else np.round(corners, 2).tolist()


def write_skeleton(path: Path) -> None:
    """Write `skeleton.txt`: name, number and parent of the 42 joints."""
    lines = ["# name id parent"]
    for side, start in (("right", 0), ("left", 21)):
        for finger, name in enumerate(FINGERS):
            for place in range(4):
                number = start + 4 * finger + place
                parent = number + 1 if place < 3 else start + 20
                lines.append(f"{side}_{name}_{4 - place if place else 'tip'} {number} {parent}")
        lines.append(f"{side}_wrist {start + 20} -1")
    write_text(path, "\n".join(lines) + "\n")
