"""HOLD's demo sequences in the layout of HO3D-v3: pictures, segmentations, annotations, and the object's model.

Layout, below the data set's root::

    train/{sequence}/rgb/0000.jpg   seg/0000.png   meta/0000.pkl        models/{object}/textured_simple.obj

As in the original, annotations are in OpenGL axes (x right, y up, z backwards), poses are rotation vectors with a flat
hand at zero, and joints are in MANO's order with the tips last. Segmentations show the hand in blue and the object in
green; the original's are a quarter as wide and high as the pictures, ours are of the pictures' size.
"""

import pickle
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy.spatial.transform import Rotation

from handloom.demo.appearance import Person, random_environment, random_person
from handloom.demo.backdrop import Room, random_room
from handloom.demo.hands import TOPOLOGY
from handloom.demo.held_objects import UnknownObject, unknown_object
from handloom.demo.hold_grasp import optimised_grasp
from handloom.demo.hold_motion import PERFORMANCES, HoldMotion, HoldPerformance, perform
from handloom.demo.hold_names import OBJECT_NAMES
from handloom.demo.renderer import Environment, Mesh, Scene, Topology
from handloom.demo.sensor import Sensor
from handloom.demo.textures import photograph_patch
from handloom.demo.workers import render_all, single_threaded
from handloom.hand.joints import MANO21_FROM_SNAP
from handloom.runtime.config.sequences import DemoSequence, DemoSequencesSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import whole_folder, write_text
from handloom.runtime.seeds import numpy_generator

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0])
HAND_COLOUR, OBJECT_COLOUR = (0, 0, 255), (0, 255, 0)
_OBJECT, _HAND = 1, 2
_FINER = 2
_FOCAL_PER_WIDTH = 614.6 / 640
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class _Shot:
    """Everything that the frames of a sequence share."""

    settings: DemoSequencesSettings
    sequence: DemoSequence
    person: Person
    thing: UnknownObject
    motion: HoldMotion
    intrinsics: Float[np.ndarray, "3 3"]
    backdrop: Float[np.ndarray, "height width 3"]
    environment: Environment
    sensor: Sensor


def render_hold_sequence(
    settings: DemoSequencesSettings, sequence: DemoSequence, folder: Path, model_folder: Path, *, threads: int = 1
) -> None:
    """Render one sequence into `folder` (train/{sequence}) and its object into `model_folder` (models/{object}).

    Raises InputError for a model folder that has another object's name.
    """
    performance = PERFORMANCES[sequence]
    if model_folder.name != OBJECT_NAMES[sequence]:
        raise InputError(
            f"{model_folder}: the object of '{sequence}' is {OBJECT_NAMES[sequence]}; name its folder like that"
        )
    with single_threaded():
        shot = _prepared(settings, sequence, performance)
        with whole_folder(model_folder) as target:
            write_textured_obj(target / "textured_simple.obj", shot.thing)
    with whole_folder(folder) as target:
        for part in ("rgb", "seg", "meta"):
            (target / part).mkdir()
        for index, annotation in enumerate(_annotations(shot, performance)):
            with (target / "meta" / f"{index:04d}.pkl").open("wb") as file:
                pickle.dump(annotation, file, protocol=2)
        # Frames are numbers: what they share travels to each worker once per chunk.
        render = partial(_render_frame, shot, target)
        for _ in render_all(render, range(settings.frames), threads=threads, label=f"render {sequence}"):
            pass


def _prepared(settings: DemoSequencesSettings, sequence: DemoSequence, performance: HoldPerformance) -> _Shot:
    stream = numpy_generator(settings.seed, "hold", sequence)
    person = random_person(stream)
    thing = unknown_object(stream, performance.kind)
    grasp = optimised_grasp(performance.kind, performance.grasp, person.shape)
    motion = perform(stream, settings.frames, performance, grasp, person)
    width, height = settings.width_px, settings.height_px
    focal = _FOCAL_PER_WIDTH * width
    centre = np.array([width - 1, height - 1]) / 2 + stream.uniform(-3, 3, 2)
    intrinsics = np.array([[focal, 0.0, centre[0]], [0.0, 0.999 * focal, centre[1]], [0.0, 0.0, 1.0]])
    pitch = stream.uniform(0.15, 0.35)
    look = Rotation.from_euler("x", np.pi / 2 + pitch).as_matrix()
    camera_centre = np.array([stream.uniform(-0.3, 0.3), -1.0, 0.55])
    room = _with_pictures(stream, random_room(stream, grey=False))
    backdrop = room.view(
        np.concatenate([look, -(look @ camera_centre)[:, None]], axis=1), intrinsics, width, height, coarser=1
    )
    backdrop = cv2.GaussianBlur(backdrop, (0, 0), 0.8)
    up = look @ np.array([0.0, 0.0, 1.0])
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
    return _Shot(settings, sequence, person, thing, motion, intrinsics, backdrop, environment, sensor)


def _with_pictures(generator: np.random.Generator, room: Room) -> Room:
    """The room with photographs hung on its walls and lying on its table: something to see at every place."""
    radiance = room.radiance.copy()
    size = radiance.shape[1]
    for side in radiance:
        for _ in range(12):
            height, width = generator.integers(size // 12, size // 5, 2)
            row, column = generator.integers(size - height), generator.integers(size - width)
            patch = photograph_patch(generator, int(height), int(width)) * generator.uniform(0.35, 0.9)
            side[row : row + height, column : column + width] = patch
    return replace(room, radiance=radiance)


def _annotations(shot: _Shot, performance: HoldPerformance) -> list[dict]:
    """One dictionary per frame with HO3D's keys, in OpenGL axes; numbers are double precision, as there."""
    flip = OPENGL_FROM_OPENCV
    motion = shot.motion
    keypoints = motion.hand.keypoints_m[:, list(MANO21_FROM_SNAP)] @ flip
    # The flip is a rotation; only the root turns, about the wrist at rest, which lies at keypoint - translation.
    rest_wrist = motion.hand.keypoints_m[0, 0] - motion.hand_translation_m[0]
    pose = motion.pose_rotvec.copy()
    pose[:, 0] = (Rotation.from_matrix(flip) * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    hand_translation = (rest_wrist + motion.hand_translation_m) @ flip - rest_wrist
    object_rotation = Rotation.from_matrix(flip @ motion.object_rotation).as_rotvec()
    object_translation = motion.object_translation_m @ flip
    low, high = shot.thing.vertices_m.min(0), shot.thing.vertices_m.max(0)
    corners = np.stack(np.meshgrid(*np.stack([low, high], 1), indexing="ij"), -1).reshape(8, 3)
    return [
        {
            "handPose": _own(pose[index].reshape(48)),
            "handBeta": _own(shot.person.shape),
            "handTrans": _own(hand_translation[index]),
            "handJoints3D": _own(keypoints[index]),
            "objRot": _own(object_rotation[index][:, None]),
            "objTrans": _own(object_translation[index]),
            "objName": OBJECT_NAMES[shot.sequence],
            "objLabel": performance.object_label,
            "objCorners3DRest": _own(corners),
            "objCorners3D": _own(corners @ (flip @ motion.object_rotation[index]).T + object_translation[index]),
            "camMat": _own(shot.intrinsics),
        }
        for index in range(len(pose))
    ]


def _own(values: np.ndarray) -> np.ndarray:
    """A copy that shares nothing: the bytes of a pickle depend on it."""
    copy = np.empty(values.shape)
    copy[:] = values
    return copy


def _render_frame(shot: _Shot, folder: Path, index: int) -> None:
    picture, labels = _photographed(shot, index)
    # Pillow keeps quality and chroma settings the same on every machine.
    Image.fromarray(picture).save(folder / "rgb" / f"{index:04d}.jpg", quality=_JPEG_QUALITY)
    seg = np.zeros((*labels.shape, 3), np.uint8)
    seg[labels == _HAND], seg[labels == _OBJECT] = HAND_COLOUR, OBJECT_COLOUR
    _, content = cv2.imencode(".png", seg[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])
    (folder / "seg" / f"{index:04d}.png").write_bytes(content.tobytes())


def _photographed(
    shot: _Shot, index: int
) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width"]]:
    """The picture, and per pixel what covers most of it: 0 background, 1 object, 2 hand.

    Each pixel is the mean of 2 x 2 rays, whose finer picture has its centres at 2 u + 1/2.
    """
    height, width = shot.settings.height_px, shot.settings.width_px
    motion, thing = shot.motion, shot.thing
    hand = Mesh(
        TOPOLOGY.right,
        motion.hand.vertices_m[index],
        shot.person.albedo,
        np.full(len(TOPOLOGY.right.faces), _HAND),
        shot.person.gloss,
    )
    held = thing.mesh(
        motion.object_rotation[index],
        motion.object_translation_m[index],
        Topology(thing.faces, len(thing.vertices_m)),
        _OBJECT,
    )
    finer = shot.intrinsics.copy()
    finer[:2] *= _FINER
    finer[:2, 2] += (_FINER - 1) / 2
    view = Scene([hand, held], shot.environment).view(np.eye(3, 4), finer, _FINER * width, _FINER * height)
    colour = np.zeros((_FINER * height, _FINER * width, 3), np.float32)
    label = np.zeros(colour.shape[:2], np.uint8)
    colour[view.rows, view.columns], label[view.rows, view.columns] = view.radiance, view.label
    share = [_averaged((label == kind).astype(np.float32)) for kind in (0, _OBJECT, _HAND)]
    radiance = _averaged(colour) + share[0][..., None] * shot.backdrop
    generator = numpy_generator(shot.settings.seed, "hold", shot.sequence, "noise", index)
    return shot.sensor.expose(radiance, generator), np.argmax(share, axis=0).astype(np.uint8)


def _averaged(image: np.ndarray) -> np.ndarray:
    rows, columns = image.shape[0] // _FINER, image.shape[1] // _FINER
    return image.reshape(rows, _FINER, columns, _FINER, *image.shape[2:]).mean((1, 3))


def write_textured_obj(path: Path, thing: UnknownObject) -> None:
    """Write a YCB-style model: Wavefront OBJ (metres, origin as posed), its material, and `texture_map.png`."""
    uv = thing.texture_uv.reshape(-1, 2)
    corner = np.arange(len(uv)).reshape(-1, 3) + 1
    lines = [f"mtllib {path.name}.mtl", "usemtl material_0"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in thing.vertices_m]
    lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in uv]
    lines += [
        "f " + " ".join(f"{vertex + 1}/{texture}" for vertex, texture in zip(*pair, strict=True))
        for pair in zip(thing.faces.tolist(), corner.tolist(), strict=True)
    ]
    write_text(path, "\n".join(lines) + "\n")
    write_text(path.with_name(f"{path.name}.mtl"), "newmtl material_0\nKd 1 1 1\nmap_Kd texture_map.png\n")
    srgb = (255 * np.clip(thing.texture, 0, 1) ** (1 / 2.2) + 0.5).astype(np.uint8)
    Image.fromarray(srgb).save(path.with_name("texture_map.png"), compress_level=3)
