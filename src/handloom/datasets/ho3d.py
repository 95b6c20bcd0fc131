"""HO3D-v3 in its original layout (facts/hold.md 4; format as its README documents it).

Layout, below the data set's root; a sequence is one folder below a split::

    train/{sequence}/rgb/0000.jpg   meta/0000.pkl   seg/0000.png (a separate archive)     models/{object}/...

Annotations are in OpenGL axes (x right, y up, z backwards); here, and only here, they become OpenCV's: x_cv = D x_gl
with D = diag(1, -1, -1). Hand poses are absolute (a flat hand is zero: HO3D loads MANO with flat_hand_mean), and joints
are in MANO's order of 21. Frames without annotation hold None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from handloom.datasets.ycb_models import ObjectModel, read_object_model
from handloom.hand.joints import SNAP_FROM_MANO21
from handloom.hand.mano import HandModel, SkinnedHand, rest_joints_m, skin
from handloom.runtime.errors import InputError
from handloom.runtime.pickles import load_pickle

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])
PICTURES = (".jpg", ".png")
_SIZES = {
    "handPose": 48,
    "handBeta": 10,
    "handTrans": 3,
    "handJoints3D": 63,
    "objRot": 3,
    "objTrans": 3,
}


@dataclass(frozen=True)
class Ho3dSequence:
    """One sequence in OpenCV axes of its camera, metres; rows of frames that are not `valid` are NaN.

    `hand_rotvec_gl` and `hand_translation_gl_m` are MANO's parameters as stored, in OpenGL axes: MANO turns about its
    own wrist, so only a hand model can bring them into another frame (`hand_poses`).
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

    def hand_poses(
        self, model: HandModel
    ) -> tuple[Float[np.ndarray, "frames 16 3"], Float[np.ndarray, "frames 3"], Float[np.ndarray, "frames 10"]]:
        """Rotation vectors, translations (metres) and shapes that `skin` takes, in OpenCV axes of the camera.

        With J the wrist of the shaped hand at rest, D (R (v - J) + J + t) = (D R)(v - J) + J + t' gives
        t' = D (J + t) - J. Raises InputError when the model has another number of shape coefficients.
        """
        self._require_shapes(model)
        shape = torch.from_numpy(np.nan_to_num(self.hand_shape)).to(model.v_template.dtype)
        wrist = rest_joints_m(model, shape)[:, 0].double().numpy()
        rotvec = self.hand_rotvec_gl.copy()
        turned = Rotation.from_matrix(OPENCV_FROM_OPENGL) * Rotation.from_rotvec(rotvec[self.valid, 0])
        rotvec[self.valid, 0] = turned.as_rotvec()
        return rotvec, (wrist + self.hand_translation_gl_m) @ OPENCV_FROM_OPENGL - wrist, self.hand_shape

    def skinned_hands(self, model: HandModel) -> SkinnedHand:
        """The hands of all frames, posed in the camera's OpenCV frame; rows of invalid frames mean nothing.

        Raises InputError as `hand_poses` does.
        """
        rotvec, translation, shape = (
            torch.from_numpy(np.nan_to_num(values)).to(model.v_template.dtype) for values in self.hand_poses(model)
        )
        return skin(model, pose_rotvec=rotvec, shape=shape, translation_m=translation)

    def object_model(self, models: Path | None = None) -> ObjectModel:
        """The object's mesh, from `models` or from the folder models beside the split.

        Raises InputError when no frame names an object or its model cannot be read.
        """
        if self.object_name is None:
            raise InputError(f"{self.folder / 'meta'}: no frame is annotated, so no object is known; fetch it again")
        return read_object_model(models or self.folder.parents[1] / "models", self.object_name)

    def _require_shapes(self, model: HandModel) -> None:
        if model.shape_count != self.hand_shape.shape[1]:
            raise InputError(
                f"{self.folder}: has {self.hand_shape.shape[1]} hand shape coefficients, but the hand model takes "
                f"{model.shape_count}; give the model that the annotations were made with as `mano`"
            )


def read_sequence(folder: Path) -> Ho3dSequence:
    """Read one sequence folder. A frame whose annotation is missing or None is invalid, not an error.

    Raises InputError when there are no pictures, an annotation is damaged or of another format, or the camera or the
    object changes on the way.
    """
    folder = Path(folder)
    pictures = tuple(sorted(path for path in (folder / "rgb").glob("*") if path.suffix.lower() in PICTURES))
    if not pictures:
        raise InputError(f"{folder / 'rgb'}: holds no pictures; expected HO3D-v3's {{sequence}}/rgb/0000.jpg")
    labels = [_labels(folder / "meta" / f"{picture.stem}.pkl") for picture in pictures]
    valid = np.array([_is_annotated(label) for label in labels])
    columns = {key: np.full((len(labels), size), np.nan) for key, size in _SIZES.items()}
    for index in np.flatnonzero(valid):
        path = folder / "meta" / f"{pictures[index].stem}.pkl"
        for key, size in _SIZES.items():
            columns[key][index] = _numbers(path, labels[index], key, size)
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
        intrinsics=_camera(folder, pictures, labels),
        hand_rotvec_gl=columns["handPose"].reshape(-1, 16, 3),
        hand_translation_gl_m=columns["handTrans"],
        hand_shape=columns["handBeta"],
        hand_joints_cam_m=joints[:, list(SNAP_FROM_MANO21)],
        cam_from_object=cam_from_object,
        object_name=_object_name(folder, [label for label, good in zip(labels, valid, strict=True) if good]),
    )


def _labels(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    labels = load_pickle(path)
    if not isinstance(labels, Mapping):
        raise InputError(
            f"{path}: holds {type(labels).__name__}, but HO3D's dict of labels was expected; fetch it again"
        )
    return labels


def _is_annotated(labels: Mapping[str, Any]) -> bool:
    return all(labels.get(key) is not None for key in _SIZES)


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


def _camera(
    folder: Path, pictures: tuple[Path, ...], labels: list[Mapping[str, Any]]
) -> Float[np.ndarray, "3 3"] | None:
    matrices = [
        _numbers(folder / "meta" / f"{picture.stem}.pkl", label, "camMat", 9).reshape(3, 3)
        for picture, label in zip(pictures, labels, strict=True)
        if label.get("camMat") is not None
    ]
    if not matrices:
        return None
    if np.ptp(np.stack(matrices), axis=0).max() > 1e-3:
        raise InputError(f"{folder / 'meta'}: camMat changes between frames; expected one camera per sequence")
    return matrices[0]


def _object_name(folder: Path, labels: list[Mapping[str, Any]]) -> str | None:
    names = {str(label.get("objName")) for label in labels}
    if len(names) > 1:
        raise InputError(f"{folder / 'meta'}: objName is {sorted(names)}; expected one object per sequence")
    return names.pop() if names else None
