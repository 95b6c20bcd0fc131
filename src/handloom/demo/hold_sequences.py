"""HOLD's demo sequences in the layout of HO3D-v3: pictures, segmentations and annotations.

Layout, below the data set's root (`held_objects` writes the models)::

    train/{sequence}/rgb/0000.jpg   seg/0000.png   meta/0000.pkl        models/{sequence}/textured_simple.obj

As in the original, annotations are in OpenGL axes (x right, y up, z backwards), poses are rotation vectors with a flat
hand at zero, and joints are in MANO's order with the tips last. Two hands are annotated as in H2O-3D, rightHandPose,
leftHandPose and so on. Segmentations show the hand in blue, a second one in red and the object in green; the original's
are a quarter as wide and high as the pictures, ours are of the pictures' size.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy.spatial.transform import Rotation

from handloom.demo.held_objects import cast
from handloom.demo.hold_performance import PERFORMANCES, HoldMotion, optimised_grasp, perform
from handloom.demo.pictures import FLAT_PNG, Sensor, render_all, single_threaded, write_pickle, write_picture
from handloom.demo.plan import HELD_OBJECTS
from handloom.demo.renderer import Environment, Matrix, PaintedSurface, Scene, pinhole
from handloom.demo.room import random_environment, random_room, studio_environment, with_photographs
from handloom.hand.joints import MANO21_FROM_SNAP, Side
from handloom.runtime.config.sequences import DemoSequence, DemoSequencesSettings
from handloom.runtime.files import whole_folder
from handloom.runtime.seeds import numpy_generator

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0])
HAND_COLOUR, OBJECT_COLOUR, OTHER_HAND_COLOUR = (0, 0, 255), (0, 255, 0), (255, 0, 0)  # of HO3D's segmentations
_OBJECT, _HAND, _OTHER_HAND = 1, 2, 3
_FINER = 2
"""So many rays a pixel in each direction: edges are smooth, as a camera's."""
_FOCAL_PER_WIDTH = 614.6 / 640
"""That of HO3D's cameras."""
_SOFTBOX_AT = np.array([-0.35, -0.45, -1.0])
"""What a hollow thing is lit from: above and left of the camera, in its frame."""
_JPEG_QUALITY = 95  # blocks of stronger compression would be features of their own


@dataclass(frozen=True)
class _Shot:
    """Everything that the frames of a sequence share."""

    demo: DemoSequencesSettings
    sequence: DemoSequence
    thing: PaintedSurface
    motion: HoldMotion
    intrinsics: Matrix
    backdrop: Float[np.ndarray, "height width 3"]
    environment: Environment
    sensor: Sensor


def render_hold_sequence(
    demo: DemoSequencesSettings,
    sequence: DemoSequence,
    frames: Path,
    threads: int = 1,
    *,
    hands: tuple[Side, ...] = ("right",),
) -> None:
    """Stage: render one sequence into the folder `frames` (train/{sequence}), held by these hands."""
    with single_threaded():
        shot = _prepared(demo, sequence, hands)
    with whole_folder(frames) as folder:
        for part in ("rgb", "seg", "meta"):
            (folder / part).mkdir()
        for index, annotation in enumerate(_annotations(shot)):
            write_pickle(folder / "meta" / f"{index:04d}.pkl", annotation, protocol=2)
        # Frames are numbers: what they share travels to each worker once per chunk.
        render = partial(_render_frame, shot, folder)
        render_all(render, range(demo.frames), threads=threads, label=f"render {sequence}")


def _prepared(demo: DemoSequencesSettings, sequence: DemoSequence, hands: tuple[Side, ...]) -> _Shot:
    performance = PERFORMANCES[sequence]
    stream, person, thing = cast(demo, sequence)
    grasp = optimised_grasp(HELD_OBJECTS[sequence][1], performance, person.shape)
    motion = perform(stream, demo.frames, performance, grasp, person)
    motion = motion.mirrored() if hands == ("left",) else motion
    width, height = demo.width_px, demo.height_px
    focal = _FOCAL_PER_WIDTH * width
    centre = np.array([width - 1, height - 1]) / 2 + stream.uniform(-3, 3, 2)
    intrinsics = pinhole(focal, 0.999 * focal, *centre)
    pitch = stream.uniform(0.15, 0.35)
    look = Rotation.from_euler("x", np.pi / 2 + pitch).as_matrix()
    camera_centre = np.array([stream.uniform(-0.3, 0.3), -1.0, 0.55])
    room = with_photographs(stream, random_room(stream, grey=False))
    backdrop = room.view(
        np.concatenate([look, -(look @ camera_centre)[:, None]], axis=1), intrinsics, width, height, coarser=1
    )
    backdrop = cv2.GaussianBlur(backdrop, (0, 0), 0.8)
    up = look @ np.array([0.0, 0.0, 1.0])
    if HELD_OBJECTS[sequence][1] == "mug":
        environment = studio_environment(up=up, softbox=_SOFTBOX_AT, channels=3)
    else:
        environment = random_environment(stream, up=up, channels=3)
    sensor = Sensor(
        mean_level=0.24,
        highlight_level=0.85,
        gamma=2.2,
        vignetting=0.08,
        blur_px=0.40,
        electrons=12_000.0,
        read_noise=0.002,
    )
    return _Shot(demo, sequence, thing, motion, intrinsics, backdrop, environment, sensor)


def _annotations(shot: _Shot) -> list[dict[str, Any]]:
    """One dictionary per frame with HO3D's keys, in OpenGL axes; numbers are double precision, as there."""
    flip = OPENGL_FROM_OPENCV
    motion = shot.motion
    hands = [_hand_annotations(each) for each in motion.hands]
    if len(hands) > 1:
        sides = ["left" if each.hand.is_left else "right" for each in motion.hands]
        hands = [
            [{f"{side}{key[0].upper()}{key[1:]}": value for key, value in frame.items()} for frame in hand]
            for side, hand in zip(sides, hands, strict=True)
        ]
    object_rotation = Rotation.from_matrix(flip @ motion.object_rotation).as_rotvec()
    object_translation = motion.object_translation_m @ flip
    low, high = shot.thing.vertices_m.min(0), shot.thing.vertices_m.max(0)
    corners = np.stack(np.meshgrid(*np.stack([low, high], 1), indexing="ij"), -1).reshape(8, 3)
    return [
        {
            **{key: value for hand in hands for key, value in hand[index].items()},
            "handBeta": motion.hand.person.shape,
            "objRot": object_rotation[index][:, None],
            "objTrans": object_translation[index],
            "objName": shot.sequence,
            "objLabel": HELD_OBJECTS[shot.sequence][0],
            "objCorners3DRest": corners,
            "objCorners3D": corners @ (flip @ motion.object_rotation[index]).T + object_translation[index],
            "camMat": shot.intrinsics,
        }
        for index in range(len(object_translation))
    ]


def _hand_annotations(motion: HoldMotion) -> list[dict[str, Any]]:
    """One hand's keys of every frame."""
    flip = OPENGL_FROM_OPENCV
    keypoints = motion.hand.keypoints_m[:, list(MANO21_FROM_SNAP)] @ flip
    # The flip is a rotation; only the root turns, about the wrist at rest, which lies at keypoint - translation.
    rest_wrist = motion.hand.keypoints_m[0, 0] - motion.hand_translation_m[0]
    pose = motion.pose_rotvec.copy()
    pose[:, 0] = (Rotation.from_matrix(flip) * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    translation = (rest_wrist + motion.hand_translation_m) @ flip - rest_wrist
    return [
        {"handPose": pose[index].reshape(48), "handTrans": translation[index], "handJoints3D": keypoints[index]}
        for index in range(len(pose))
    ]


def _render_frame(shot: _Shot, folder: Path, index: int) -> None:
    picture, labels = _photographed(shot, index)
    # Pillow keeps quality and chroma settings the same on every machine.
    Image.fromarray(picture).save(folder / "rgb" / f"{index:04d}.jpg", quality=_JPEG_QUALITY)
    seg = np.zeros((*labels.shape, 3), np.uint8)
    for label, colour in ((_HAND, HAND_COLOUR), (_OBJECT, OBJECT_COLOUR), (_OTHER_HAND, OTHER_HAND_COLOUR)):
        seg[labels == label] = colour
    write_picture(folder / "seg" / f"{index:04d}.png", seg, FLAT_PNG)


def _photographed(
    shot: _Shot, index: int
) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width"]]:
    """The picture, and per pixel what covers most of it: 0 background, 1 object, 2 hand, 3 the other hand.

    Each pixel is the mean of 2 x 2 rays, whose finer picture has its centres at 2 u + 1/2.
    """
    height, width = shot.demo.height_px, shot.demo.width_px
    motion = shot.motion
    hands = [each.hand.mesh(index) for each in motion.hands]
    hands = [replace(each, labels=np.full_like(each.labels, _HAND + number)) for number, each in enumerate(hands)]
    held = shot.thing.mesh(motion.object_rotation[index], motion.object_translation_m[index], label=_OBJECT)
    finer = shot.intrinsics.copy()
    finer[:2] *= _FINER
    finer[:2, 2] += (_FINER - 1) / 2
    view = Scene([*hands, held], shot.environment).view(np.eye(3, 4), finer, _FINER * width, _FINER * height)
    colour = np.zeros((_FINER * height, _FINER * width, 3), np.float32)
    label = np.zeros(colour.shape[:2], np.uint8)
    colour[view.rows, view.columns], label[view.rows, view.columns] = view.radiance, view.label
    share = [_averaged((label == kind).astype(np.float32)) for kind in (0, _OBJECT, _HAND, _OTHER_HAND)]
    radiance = _averaged(colour) + share[0][..., None] * shot.backdrop
    generator = numpy_generator(shot.demo.seed, "hold", shot.sequence, "noise", index)
    return shot.sensor.expose(radiance, generator), np.argmax(share, axis=0).astype(np.uint8)


def _averaged(image: np.ndarray) -> np.ndarray:
    rows, columns = image.shape[0] // _FINER, image.shape[1] // _FINER
    return image.reshape(rows, _FINER, columns, _FINER, *image.shape[2:]).mean((1, 3))
