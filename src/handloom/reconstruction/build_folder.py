"""HOLD's `build/` folder: image/, mask/, corres.txt and data.npy, with the exact keys of HOLD's build_dataset.py.

The file's hand poses are relative to the model's mean pose; here, and only here, they become absolute and back.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.datasets.frames import image_size
from handloom.datasets.masks import MASK_LABELS
from handloom.datasets.numbered_pictures import pictures_and_masks
from handloom.geometry.bounds import DISTANCE_M, OBJECT_SIZE_M, intrinsics_fault, length_fault, turn_fault
from handloom.hand.joints import SIDES, Side
from handloom.hand.mano import HandModel, rest_joints_m
from handloom.reconstruction.scene_placement import Cameras, ScenePlacement, decompose, scale_matrix, world_matrices
from handloom.reconstruction.tracks import HandTrack, ObjectTrack, SequencePoses
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_text, whole_folder
from handloom.runtime.images import read_grey, read_rgb
from handloom.runtime.pickled_npy import pickled_npy, read_data

_TOP_KEYS = ("seq_name", "cameras", "scene_bounding_sphere", "max_radius_ratio", "normalize_shift", "entities")
_HAND_KEYS = ("hand_poses", "hand_trans", "mean_shape")
_OBJECT_KEYS = ("object_poses", "obj_scale", "norm_mat", "pts.cano")
_FETCH = "fetch the folder again, or build it anew from the aligned sequence"


@dataclass(frozen=True)
class BuildScene:
    """A sequence ready for HOLD's trainings; tracks are in the world, in metres before the scene's scale."""

    sequence: str
    names: tuple[str, ...]
    """Original base name of each frame."""
    image_paths: tuple[Path, ...]
    mask_paths: tuple[Path, ...]
    """Label images: background 0, object 50, right hand 150, left hand 250."""
    cameras: Cameras
    """In the scaled world."""
    placement: ScenePlacement
    hands: Mapping[Side, HandTrack]
    object: ObjectTrack
    normalised_from_sfm: Float[Tensor, "4 4"]
    """N, HOLD's norm_mat: a point x_c of the object's unit sphere is at R (sigma N^-1 x_c) + t."""
    points_canonical: Float[Tensor, "point 3"]
    """The SfM points in the unit sphere."""
    foreign_keys: tuple[str, ...] = field(default=())
    """Keys of a read folder that handloom does not know and left alone."""

    @property
    def frame_count(self) -> int:
        """How many frames the sequence has."""
        return len(self.names)

    def poses_cam(self, model: HandModel) -> SequencePoses:
        """The object and the hand of the model's side, in OpenCV camera metres."""
        hand = self.placement.hand_to_cam(self.hands[model.side].to(torch.float32), model)
        thing = self.placement.object_to_cam(self.object.to(torch.float32))
        return SequencePoses.of(hand, thing, model.side)


def read_build(folder: Path, models: Mapping[Side, HandModel]) -> BuildScene:
    """Read a `build/` folder, of ours or of HOLD's releases.

    `models` gives the hand model of each side that the folder may hold; it must be the one the folder was made with
    (MANO for HOLD's). Images stay files. Raises InputError naming file and key when something is missing, foreign among
    the entities, of another shape, not finite or of another number of frames; other foreign keys are listed in
    `foreign_keys`. Raises InputError, too, for what is no camera of these pictures, no rotation in radians, or not in
    metres.
    """
    folder = Path(folder)
    path = folder / "data.npy"
    content = read_data(path)
    foreign = _checked_keys(path, "", content, _TOP_KEYS)
    lines = read_text(folder / "corres.txt", "the list of the frames' names, one a line", _FETCH).splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    images, masks = pictures_and_masks(folder)
    if len(images) != len(names):
        raise InputError(f"{folder}: holds {len(images)} images, but corres.txt names {len(names)} frames; {_FETCH}")

    placement, cameras = _cameras(path, content, len(names))
    entities = content["entities"]
    _checked_keys(path, "entities", entities, ())
    sides = [side for side in SIDES if side in entities]
    unknown = sorted(set(entities) - {*SIDES, "object"})
    if unknown or "object" not in entities or not sides:
        raise InputError(
            f"{path}: entities are {sorted(entities)}, but an object and a right or left hand were expected; {_FETCH}"
        )
    if set(sides) != set(models):
        lacking = [side for side in sides if side not in models]
        odd = f"no {' and no '.join(lacking)} hand model was given" if lacking else f"models of {sorted(models)} were"
        raise InputError(
            f"{path}: holds a {' and a '.join(sides)} hand, but {odd}; set the sequence's hands to [{', '.join(sides)}]"
        )
    hands = {}
    for side in models:
        foreign += _checked_keys(path, f"entities.{side}.", entities[side], _HAND_KEYS)
        hands[side] = _hand(path, side, entities[side], models[side], len(names))
    foreign += _checked_keys(path, "entities.object.", entities["object"], _OBJECT_KEYS)
    scene = BuildScene(
        sequence=str(content["seq_name"]),
        names=names,
        image_paths=tuple(images),
        mask_paths=tuple(masks),
        cameras=cameras,
        placement=placement,
        hands=hands,
        object=_object(path, entities["object"], len(names)),
        normalised_from_sfm=_array(path, "entities.object.norm_mat", entities["object"]["norm_mat"], (4, 4)).float(),
        points_canonical=_array(path, "entities.object.pts.cano", entities["object"]["pts.cano"], (None, 3)).float(),
        foreign_keys=tuple(foreign),
    )
    for place, fault in _faults(scene, models):
        if fault:
            raise InputError(f"{path}: {place}: {fault}; {_FETCH}")
    return scene


def write_build(folder: Path, scene: BuildScene, models: Mapping[Side, HandModel]) -> None:
    """Write a `build/` folder that HOLD's own loader reads; it appears whole or not at all.

    The scene's PNG files are copied to image/0000.png, ... and mask/0000.png, .... An older folder is replaced. Raises
    InputError when a mask has other labels than 0, 50, 150, 250, or a name would not survive corres.txt.
    """
    folder = Path(folder)
    split = [name for name in scene.names if [name] != name.strip().splitlines()]
    if split:
        raise InputError(f"{folder}: frame names {split[:5]} hold ends of lines or end in spaces; rename the frames")
    counts = {"images": len(scene.image_paths), "masks": len(scene.mask_paths), "names": len(scene.names)}
    counts |= {f"{side} hand poses": len(hand.rotvec) for side, hand in scene.hands.items()}
    counts["object poses"] = len(scene.object.rotation)
    if len(set(counts.values())) > 1:
        raise InputError(f"{folder}: found {counts}, expected one of each per frame; run the stages of the scene again")
    with whole_folder(folder) as temporary:
        for kind, sources in (("image", scene.image_paths), ("mask", scene.mask_paths)):
            (temporary / kind).mkdir()
            for number, source in enumerate(sources):
                # Decoded first, so that no damaged or missing picture gets into a folder that looks whole.
                (read_mask if kind == "mask" else read_rgb)(source)
                shutil.copyfile(source, temporary / kind / f"{number:04d}.png")
        (temporary / "corres.txt").write_text("".join(f"{name}\n" for name in scene.names), encoding="utf-8")
        (temporary / "data.npy").write_bytes(pickled_npy(data_of_scene(scene, models)))


def data_of_scene(scene: BuildScene, models: Mapping[Side, HandModel]) -> dict[str, Any]:
    """The dictionary of data.npy: HOLD's keys, shapes and precisions."""
    placement = scene.placement
    world = world_matrices(scene.cameras, placement.scene_scale).numpy()
    scale = scale_matrix(placement.scene_scale).float().numpy()
    cameras: dict[str, np.ndarray] = {}
    for frame, matrix in enumerate(world):
        cameras[f"scale_mat_{frame}"], cameras[f"world_mat_{frame}"] = scale.copy(), matrix
    entities: dict[str, dict[str, Any]] = {}
    for side, hand in scene.hands.items():
        poses = torch.cat([hand.rotvec[:, 0], hand.rotvec[:, 1:].flatten(1) - models[side].hands_mean], dim=1)
        entities[side] = {
            "hand_poses": poses.float().numpy(),
            "hand_trans": hand.translation_m.double().numpy(),
            "mean_shape": hand.shape.float().numpy(),
        }
    rotvec = roma.rotmat_to_rotvec(scene.object.rotation)
    entities["object"] = {
        "object_poses": torch.cat([rotvec, scene.object.translation_m], dim=1).double().numpy(),
        "obj_scale": float(scene.object.scale),
        "norm_mat": scene.normalised_from_sfm.float(),
        "pts.cano": scene.points_canonical.double().numpy(),
    }
    return {
        "seq_name": scene.sequence,
        "cameras": cameras,
        "scene_bounding_sphere": placement.bounding_sphere,
        "max_radius_ratio": placement.max_radius_ratio,
        "normalize_shift": np.array(placement.shift_m),
        "entities": entities,
    }


def read_mask(path: Path) -> np.ndarray:
    """A label image (height, width) uint8; raises InputError for labels other than 0, 50, 150, 250."""
    labels = read_grey(path)
    foreign = np.setdiff1d(labels, MASK_LABELS)
    if foreign.size:
        raise InputError(
            f"{path}: has labels {foreign[:5].tolist()}, expected background 0, object 50, right hand 150, left hand "
            "250; declare the masks' convention in the configuration"
        )
    return labels


def read_pictures(scene: BuildScene) -> tuple[np.ndarray, np.ndarray]:
    """All images (frames, height, width, 3) and masks (frames, height, width), uint8.

    Raises InputError when a picture has another size than the first image, naming it.
    """
    images, masks = [read_rgb(path) for path in scene.image_paths], [read_mask(path) for path in scene.mask_paths]
    size = images[0].shape[:2]
    for path, picture in zip((*scene.image_paths, *scene.mask_paths), (*images, *masks), strict=True):
        if picture.shape[:2] != size:
            found, wanted = ("x".join(map(str, s[::-1])) for s in (picture.shape[:2], size))
            raise InputError(
                f"{path}: is {found} pixels, but {scene.image_paths[0].name} is {wanted}; give frames of one size"
            )
    return np.stack(images), np.stack(masks)


def _checked_keys(path: Path, prefix: str, found: Any, expected: tuple[str, ...]) -> list[str]:
    """The foreign keys; raises for missing ones."""
    if not isinstance(found, dict):
        raise InputError(
            f"{path}: {prefix or 'its content'} is of type {type(found).__name__}, expected a dictionary; {_FETCH}"
        )
    missing = [prefix + key for key in expected if key not in found]
    foreign = [f"{prefix}{key}" for key in found if key not in expected]
    if missing:
        also = f", found the foreign {foreign}" if foreign else ""
        raise InputError(f"{path}: lacks {missing}{also}; {_FETCH}")
    return foreign


def _array(path: Path, key: str, value: Any, shape: tuple[int | None, ...]) -> Float[Tensor, "..."]:
    """A finite array of real numbers, in double precision; None in `shape` is any length."""
    array = np.asarray(value)
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if array.dtype.kind not in "fiu" or not fits:
        wanted = " x ".join("any" if size is None else str(size) for size in shape) or "one number"
        raise InputError(f"{path}: {key} is {array.dtype} of shape {array.shape}, expected reals, {wanted}; {_FETCH}")
    if not np.isfinite(array).all():
        frames = sorted({int(index) for index in np.nonzero(~np.isfinite(array))[0]}) if array.ndim else []
        raise InputError(f"{path}: {key} holds NaN or infinity at {frames[:5]}; {_FETCH}")
    return torch.from_numpy(array.astype(np.float64))


def _cameras(path: Path, content: dict[str, Any], frames: int) -> tuple[ScenePlacement, Cameras]:
    found = content["cameras"]
    wanted = [f"{kind}_{frame}" for kind in ("scale_mat", "world_mat") for frame in range(frames)]
    foreign = _checked_keys(path, "cameras.", found, tuple(wanted))
    if foreign:
        raise InputError(
            f"{path}: has cameras {foreign[:5]} beyond the {frames} names of corres.txt; expected one of each; {_FETCH}"
        )
    scale, world = (
        torch.stack([_array(path, key, found[key], (4, 4)) for key in half])
        for half in (wanted[:frames], wanted[frames:])
    )
    if not bool(scale[0, 0, 0] > 0) or not torch.allclose(scale, scale[:1].expand_as(scale)):
        raise InputError(f"{path}: scale_mat differs between frames or is not positive, expected one scale; {_FETCH}")
    x, y, z = _array(path, "normalize_shift", content["normalize_shift"], (3,)).tolist()
    sphere, ratio = (
        float(_array(path, key, content[key], ())) for key in ("scene_bounding_sphere", "max_radius_ratio")
    )
    if min(sphere, ratio) <= 0:
        raise InputError(
            f"{path}: scene_bounding_sphere is {sphere:g}, max_radius_ratio {ratio:g}; expected lengths; {_FETCH}"
        )
    placement = ScenePlacement((x, y, z), 1.0 / float(scale[0, 0, 0]), sphere, ratio)
    if fault := length_fault(float(np.linalg.norm((x, y, z))), DISTANCE_M, "the camera's distance"):
        raise InputError(f"{path}: normalize_shift: {fault}; {_FETCH}")
    cameras = decompose((world @ scale)[:, :3])
    return placement, Cameras(cameras.intrinsics.float(), cameras.world_from_cam.float())


def _faults(scene: BuildScene, models: Mapping[Side, HandModel]) -> Iterator[tuple[str, str]]:
    """What of a scene is no camera, hand or held object, or in another unit, with its place in data.npy."""
    size_px = np.array(image_size(scene.image_paths[0]), dtype=np.float64)
    for frame, matrix in enumerate(scene.cameras.intrinsics.double().numpy()):
        yield f"the camera of frame {frame}, world_mat_{frame}", intrinsics_fault(matrix, size_px)
    thing = scene.placement.object_to_cam(scene.object)
    places = {"entities.object.object_poses": thing.translation_m}
    for side, hand in scene.hands.items():
        seen = scene.placement.hand_to_cam(hand, models[side])
        places[f"entities.{side}.hand_trans"] = seen.translation_m + rest_joints_m(models[side], hand.shape)[0]
    for place, centre_m in places.items():
        for distance_m in centre_m.norm(dim=-1).tolist():
            yield place, length_fault(distance_m, DISTANCE_M, "the distance from the camera")
    # Half of the points, since those of structure from motion may lie anywhere.
    points = scene.points_canonical @ torch.linalg.inv(scene.normalised_from_sfm)[:3, :3].T * scene.object.scale
    radius_m = float((points - points.median(dim=0).values).norm(dim=-1).median())
    yield "entities.object.obj_scale", length_fault(2 * radius_m, OBJECT_SIZE_M, "the extent of the object's points")


def _hand(path: Path, side: Side, content: dict[str, Any], model: HandModel, frames: int) -> HandTrack:
    prefix = f"entities.{side}."
    poses = _array(path, prefix + "hand_poses", content["hand_poses"], (frames, 48))
    _require_turns(path, prefix + "hand_poses", poses)
    shape = _array(path, prefix + "mean_shape", content["mean_shape"], (model.shape_count,))
    translation = _array(path, prefix + "hand_trans", content["hand_trans"], (frames, 3))
    absolute = torch.cat([poses[:, :3], poses[:, 3:] + model.hands_mean.double()], dim=1)
    return HandTrack(absolute.unflatten(1, (16, 3)), shape, translation).to(torch.float32)


def _object(path: Path, content: dict[str, Any], frames: int) -> ObjectTrack:
    prefix = "entities.object."
    poses = _array(path, prefix + "object_poses", content["object_poses"], (frames, 6)).float()
    _require_turns(path, prefix + "object_poses", poses[:, :3])
    scale = _array(path, prefix + "obj_scale", np.squeeze(np.asarray(content["obj_scale"])), ()).float()
    return ObjectTrack(roma.rotvec_to_rotmat(poses[:, :3]), poses[:, 3:], scale)


def _require_turns(path: Path, key: str, rotvec: Float[Tensor, "frames numbers"]) -> None:
    """Raise InputError for rotation vectors, three numbers each, that are none in radians."""
    if fault := turn_fault(rotvec.reshape(-1, 3).numpy()):
        raise InputError(f"{path}: {key} {fault}; {_FETCH}")
