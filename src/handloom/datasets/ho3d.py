"""HO3D-v3 in its original layout, as its README documents it: sequences, and the models of their objects.

Layout, below the data set's root; a sequence is one folder below a split::

    train/{sequence}/rgb/0000.jpg   meta/0000.pkl   seg/0000.png (a separate archive)     models/{object}/...

Annotations are in OpenGL axes (x right, y up, z backwards); here, and only here, they become OpenCV's: x_cv = D x_gl
with D = diag(1, -1, -1). Hand poses are absolute (a flat hand is zero: HO3D loads MANO with flat_hand_mean), and joints
are in MANO's order of 21. Frames without annotation hold None. Object models are Wavefront OBJ files in metres.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from handloom.datasets.numbered_pictures import numbered_pictures, numbers_of
from handloom.geometry.bounds import DISTANCE_M, OBJECT_SIZE_M, intrinsics_fault, length_fault, turn_fault
from handloom.hand.joints import SNAP_FROM_MANO21, Side
from handloom.hand.mano import HandModel, SkinnedHand, rest_joints_m, skin
from handloom.hand.proportions import hand_fault
from handloom.runtime.errors import InputError
from handloom.runtime.images import image_size
from handloom.runtime.pickles import load_pickle
from handloom.runtime.reading import MEGABYTE, reading

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])
_MOST_OBJ_BYTES = 512 * MEGABYTE
_SIZES = {"handPose": 48, "handBeta": 10, "handTrans": 3, "handJoints3D": 63, "objRot": 3, "objTrans": 3}
"""Numbers of an annotation by its names."""


@dataclass(frozen=True)
class ObjectModel:
    """A triangle mesh in the object's own frame, metres."""

    vertices_m: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]


@dataclass(frozen=True)
class Ho3dSequence:
    """One sequence in OpenCV axes of its camera, metres; rows of frames that are not `valid` are NaN.

    `hand_rotvec_gl` and `hand_translation_gl_m` are MANO's parameters as stored, in OpenGL axes: MANO turns about its
    own wrist, so only a hand model can bring them into another frame (`skinned_hands`).
    """

    folder: Path
    pictures: tuple[Path, ...]
    valid: Bool[np.ndarray, " frames"]
    intrinsics: Float[np.ndarray, "3 3"] | None
    hand_rotvec_gl: Float[np.ndarray, "frames 16 3"]
    hand_translation_gl_m: Float[np.ndarray, "frames 3"]
    hand_shape: Float[np.ndarray, "frames 10"]
    hand_joints_cam_m: Float[np.ndarray, "frames 21 3"]
    """The annotated joints in SNAP order."""
    cam_from_object: Float[np.ndarray, "frames 4 4"]
    object_name: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Base names of the pictures, in order."""
        return tuple(path.name for path in self.pictures)

    def rows_of(self, names: Sequence[str]) -> Int[np.ndarray, " chosen"]:
        """The rows of pictures by their base names; raises InputError naming the first that is not there."""
        row = {name: index for index, name in enumerate(self.names)}
        foreign = [name for name in names if name not in row]
        if foreign:
            raise InputError(
                f"{self.folder / 'rgb'}: lacks the frame {foreign[0]} ({len(foreign)} in all); extract the frames again"
            )
        return np.array([row[name] for name in names], dtype=np.int64)

    def skinned_hands(self, model: HandModel) -> SkinnedHand:
        """The hands of all frames, posed in the camera's OpenCV frame; rows of invalid frames mean nothing.

        With J the wrist of the shaped hand at rest, D (R (v - J) + J + t) = (D R)(v - J) + J + t' gives
        t' = D (J + t) - J. Raises InputError when the model has another number of shape coefficients.
        """
        if model.shape_count != self.hand_shape.shape[1]:
            raise InputError(
                f"{self.folder}: has {self.hand_shape.shape[1]} hand shape coefficients, but the hand model takes "
                f"{model.shape_count}; give the model that the annotations were made with as `mano`"
            )
        dtype = model.v_template.dtype
        shape = torch.from_numpy(np.nan_to_num(self.hand_shape)).to(dtype)
        wrist = rest_joints_m(model, shape)[:, 0].double().numpy()
        translation = (wrist + self.hand_translation_gl_m) @ OPENCV_FROM_OPENGL - wrist
        rotvec = self.hand_rotvec_gl.copy()
        turned = Rotation.from_matrix(OPENCV_FROM_OPENGL) * Rotation.from_rotvec(rotvec[self.valid, 0])
        rotvec[self.valid, 0] = turned.as_rotvec()
        pose, shift = (torch.from_numpy(np.nan_to_num(values)).to(dtype) for values in (rotvec, translation))
        return skin(model, pose_rotvec=pose, shape=shape, translation_m=shift)

    def object_model(self, models: Path | None = None) -> ObjectModel:
        """The object's mesh, from `models` or from the folder models beside the split.

        Raises InputError when no frame names an object or its model cannot be read.
        """
        if self.object_name is None:
            raise InputError(f"{self.folder / 'meta'}: no frame is annotated, so no object is known; fetch it again")
        return read_object_model(models or self.folder.parents[1] / "models", self.object_name)


def read_sequence(folder: Path, side: Side = "right") -> Ho3dSequence:
    """Read one sequence folder. A frame whose annotation is missing or None is invalid, not an error.

    Of two annotated hands, named as in H2O-3D (rightHandPose, leftHandPose and so on), that of a side is read. Raises
    InputError when there are no pictures, an annotation is damaged or of another format, or the camera or the object
    changes on the way.
    """
    pictures = tuple(numbered_pictures(folder / "rgb"))
    paths = _annotations(folder / "meta", pictures)
    labels = [_of_hand(_labels(path), side) for path in paths]
    valid = np.array([all(label.get(key) is not None for key in _SIZES) for label in labels])
    columns = {key: np.full((len(labels), size), np.nan) for key, size in _SIZES.items()}
    for index in np.flatnonzero(valid):
        for key, size in _SIZES.items():
            columns[key][index] = _numbers(paths[index], labels[index], key, size)
        _require_plausible(paths[index], {key: column[index] for key, column in columns.items()})
    cam_from_object = np.full((len(labels), 4, 4), np.nan)
    cam_from_object[valid] = np.eye(4)
    rotation = Rotation.from_rotvec(columns["objRot"][valid]).as_matrix()
    cam_from_object[valid, :3, :3] = OPENCV_FROM_OPENGL @ rotation
    cam_from_object[valid, :3, 3] = columns["objTrans"][valid] @ OPENCV_FROM_OPENGL
    joints = columns["handJoints3D"].reshape(-1, 21, 3) @ OPENCV_FROM_OPENGL
    return Ho3dSequence(
        folder=folder,
        pictures=pictures,
        valid=valid,
        intrinsics=_camera(paths, labels, pictures[0]),
        hand_rotvec_gl=columns["handPose"].reshape(-1, 16, 3),
        hand_translation_gl_m=columns["handTrans"],
        hand_shape=columns["handBeta"],
        hand_joints_cam_m=joints[:, list(SNAP_FROM_MANO21)],
        cam_from_object=cam_from_object,
        object_name=_object_name(folder, [label for label, good in zip(labels, valid, strict=True) if good]),
    )


def _annotations(meta: Path, pictures: Sequence[Path]) -> list[Path]:
    """Where the annotation of each picture lies, or would: the file of its number.

    Raises InputError where some pictures have none and some annotations no picture: the names are not each other's.
    """
    file_of = {numbers_of(path.name) or path.stem: path for path in sorted(meta.glob("[!.]*.pkl"))}
    keys = [numbers_of(picture.name) or picture.stem for picture in pictures]
    odd, bare = [file_of[key].name for key in file_of.keys() - set(keys)], [key for key in keys if key not in file_of]
    if odd and bare:
        raise InputError(
            f"{meta}: {len(odd)} annotations, such as {min(odd)}, are of no picture in rgb, and {len(bare)} pictures "
            "have none; expected annotations named as the pictures; fetch the sequence again"
        )
    return [file_of.get(key, meta / f"{path.stem}.pkl") for key, path in zip(keys, pictures, strict=True)]


def _labels(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    labels = load_pickle(path)
    if not isinstance(labels, Mapping):
        raise InputError(
            f"{path}: holds {type(labels).__name__}, but HO3D's dict of labels was expected; fetch it again"
        )
    return labels


def _of_hand(labels: Mapping[str, Any], side: Side) -> Mapping[str, Any]:
    """The annotation of one hand under HO3D's names."""
    own = {f"{name[0].lower()}{name[1:]}": f"{side}{name}" for name in ("HandPose", "HandTrans", "HandJoints3D")}
    return {**labels, **{name: labels[key] for name, key in own.items() if key in labels}}


def _numbers(path: Path, labels: Mapping[str, Any], key: str, size: int) -> np.ndarray:
    value = labels[key]
    if not isinstance(value, np.ndarray) or value.size != size or value.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: has {type(value).__name__} of shape {np.shape(value)} as '{key}', but {size} numbers were "
            "expected; the evaluation split has no hand poses, fetch a sequence of the train split"
        )
    numbers = value.astype(np.float64).reshape(size)
    if not np.isfinite(numbers).all():
        raise InputError(f"{path}: '{key}' holds a value that is no number; fetch it again")
    return numbers


def _require_plausible(path: Path, label: Mapping[str, np.ndarray]) -> None:
    """Raise InputError for joints of no hand, a hand or an object that no camera sees, and turns in degrees."""
    joints_m = label["handJoints3D"].reshape(21, 3)
    faults = {"handJoints3D": hand_fault(joints_m[list(SNAP_FROM_MANO21)])}
    for key, place_m in (("handJoints3D", joints_m.mean(axis=0)), ("objTrans", label["objTrans"])):
        distance = length_fault(float(np.linalg.norm(place_m)), DISTANCE_M, "the distance from the camera")
        behind = f"lies behind the camera, at z {place_m[2]:.3g} m; expected OpenGL's axes, z negative in front of it"
        faults[key] = faults.get(key) or distance or (behind if place_m[2] > 0 else "")
    faults |= {key: turn_fault(label[key].reshape(-1, 3)) for key in ("handPose", "objRot")}
    for key, fault in faults.items():
        if fault:
            raise InputError(f"{path}: '{key}': {fault}; correct it, or fetch the sequence again")


def _camera(paths: list[Path], labels: list[Mapping[str, Any]], picture: Path) -> Float[np.ndarray, "3 3"] | None:
    told = [each for each in zip(paths, labels, strict=True) if each[1].get("camMat") is not None]
    matrices = [_numbers(path, label, "camMat", 9).reshape(3, 3) for path, label in told]
    if not matrices:
        return None
    if np.ptp(np.stack(matrices), axis=0).max() > 1e-3:  # pixels
        raise InputError(f"{paths[0].parent}: camMat changes between frames; expected one camera per sequence")
    if fault := intrinsics_fault(matrices[0], np.array(image_size(picture), dtype=np.float64)):
        raise InputError(f"{told[0][0]}: camMat {fault}; fetch it again")
    return matrices[0]


def _object_name(folder: Path, labels: list[Mapping[str, Any]]) -> str | None:
    names = {str(label.get("objName")) for label in labels}
    if len(names) > 1:
        raise InputError(f"{folder / 'meta'}: objName is {sorted(names)}; expected one object per sequence")
    return names.pop() if names else None


def read_object_model(folder: Path, name: str) -> ObjectModel:
    """Read `folder`/{name}/textured_simple.obj; texture coordinates and normals are passed over.

    Raises InputError when the file is missing, has polygons other than triangles or indices without a vertex, and for
    an object that no hand holds, which is in another unit.
    """
    if Path(name).name != name or name in {"", ".", ".."}:
        raise InputError(f"object '{name}': is no plain name; the annotation is damaged, fetch it again")
    path = folder / name / "textured_simple.obj"
    absent = "fetch the YCB-Video models and name their folder as `models`"
    with reading(
        path, "a triangle mesh in OBJ format", "fetch it again", absent=absent, most_bytes=_MOST_OBJ_BYTES
    ) as file:
        rows = file.read().decode("utf-8", errors="replace").splitlines()
        vertices = np.array([row.split()[1:4] for row in rows if row.startswith("v ")], dtype=np.float64)
        corners = [row.split()[1:] for row in rows if row.startswith("f ")]
        if any(len(corner) != 3 for corner in corners):
            raise ValueError("a polygon with other than three corners")
        faces = np.array([[corner.split("/", 1)[0] for corner in triangle] for triangle in corners], dtype=np.int64) - 1
    if vertices.shape != (len(vertices), 3) or not len(vertices) or not len(faces):
        raise InputError(f"{path}: has {len(vertices)} vertices and {len(faces)} triangles; fetch it again")
    if faces.min() < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise InputError(
            f"{path}: a triangle names vertex {faces.max() + 1} of {len(vertices)}, or a vertex is no number; "
            "expected absolute indices and finite metres; fetch it again"
        )
    size_m = float(np.linalg.norm(np.ptp(vertices, axis=0)))
    if fault := length_fault(size_m, OBJECT_SIZE_M, "the object's diagonal"):
        raise InputError(f"{path}: {fault}; give the model in metres")
    return ObjectModel(vertices, faces)
