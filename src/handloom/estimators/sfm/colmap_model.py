"""Object poses of a COLMAP model that the user brings, in COLMAP's binary or text format, for a sequence's frames."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from handloom.datasets.frames import Frames, read_frames
from handloom.datasets.numbered_pictures import numbers_of, stem_of
from handloom.estimators.sfm import colmap_model_fault
from handloom.estimators.sfm.object_poses import ObjectPoses, filled_poses, trimmed_points, write_pose_sheet
from handloom.estimators.sfm.sparse_model import COLMAP_PIXEL_OFFSET
from handloom.estimators.sfm.structure_from_motion import run_apart
from handloom.runtime.artifacts import Artifact
from handloom.runtime.errors import InputError, listed

# Number of parameters that are focal lengths, and whether one of a radial distortion follows.
_CAMERAS = {"SIMPLE_PINHOLE": (1, False), "PINHOLE": (2, False), "SIMPLE_RADIAL": (1, True)}
_TIME_LIMIT_S = 600.0
# The frames may have been made smaller, to whole pixels.
_ASPECT_WITHIN = 0.01


@dataclass(frozen=True)
class ColmapModel(Artifact, kind="colmap_model", units="model units, px", frame="OpenCV camera from model"):
    """A model's registered images, points and cameras, as COLMAP has them."""

    names: np.ndarray
    cam_from_world: Float[np.ndarray, "images 4 4"]
    camera: Int[np.ndarray, " images"]
    """Rows of each image's camera."""
    parameters: Float[np.ndarray, "cameras 4"]
    """fx, fy, cx, cy in COLMAP's pixels."""
    radial: Float[np.ndarray, " cameras"]
    size_px: Int[np.ndarray, "cameras 2"]
    points: Float[np.ndarray, "points 3"]
    reprojection_px: float


def poses_of_colmap_model(
    source: Path,
    frames: Path,
    frames_json: Path,
    poses: Path,
    picture: Path,
    *,
    min_registered: float,
    seed: int,
    code: str,
) -> None:
    """Stage: the object's poses of the model in `source`, gaps interpolated, and a picture of them.

    Images belong to frames by their original names or numbers, else by those of the extracted frames. Raises InputError
    for a folder that is no COLMAP model, cameras that differ, have another aspect than the frames or a distortion
    beyond COLMAP's SIMPLE_RADIAL, names that fit no frame or both ways, and for too few frames with a pose.
    """
    taken = read_frames(frames, frames_json)
    model = read_colmap_model(source, poses.with_name("colmap_model.npz"))
    found = poses_of_frames(model, taken, source, min_registered)
    found.save(poses, seed=seed, code=code)
    write_pose_sheet(taken, found, picture)


def read_colmap_model(folder: Path, scratch: Path) -> ColmapModel:
    """Read a model in a process of its own, which a damaged file may end; raises InputError where it cannot be read."""
    if fault := colmap_model_fault(folder):
        raise InputError(f"{folder}: {fault}")
    arguments = [str(folder), str(scratch)]
    try:
        run_apart(
            __name__, arguments, scratch.with_suffix(".log"), _TIME_LIMIT_S, f"{folder}: reading the COLMAP model"
        )
        return ColmapModel.load(scratch)
    finally:
        for path in (scratch, scratch.with_suffix(".log")):
            path.unlink(missing_ok=True)


def poses_of_frames(model: ColmapModel, taken: Frames, folder: Path, min_registered: float) -> ObjectPoses:
    """The model's poses in the order of the frames; raises InputError as `poses_of_colmap_model` does."""
    names = [str(name) for name in model.names]
    row_of = _frames_of_images(names, taken, folder)
    intrinsics, radial = _camera(model, sorted(row_of.values()), taken, folder)
    poses = np.tile(np.eye(4), (len(taken), 1, 1))
    registered = np.zeros(len(taken), bool)
    for frame, image in row_of.items():
        poses[frame], registered[frame] = model.cam_from_world[image], True
    if registered.mean() < min_registered or not registered.any():
        lost = [name for name, there in zip(taken.names, registered, strict=True) if not there]
        raise InputError(
            f"{folder}: has poses for {registered.sum()} of {len(taken)} frames, expected at least "
            f"{min_registered:.0%} (hold.sfm.min_registered); none for {listed(lost)}"
        )
    if len(model.points) < 2:
        raise InputError(f"{folder}: has {len(model.points)} points, expected some hundreds of the object's surface")
    points = trimmed_points(model.points)
    return ObjectPoses(
        intrinsics=intrinsics,
        radial=radial,
        cam_from_object=filled_poses(poses, registered, np.median(points, 0)),
        registered=registered,
        points_object=points,
        reprojection_px=model.reprojection_px,
        mapper="colmap_model",
    )


def _frames_of_images(names: Sequence[str], taken: Frames, folder: Path) -> dict[int, int]:
    """Of each frame that has one the row of its image."""
    stems = [stem_of(Path(name).name) for name in names]
    if len(set(stems)) < len(stems):
        twice = sorted({stem for stem in stems if stems.count(stem) > 1})
        raise InputError(f"{folder}: has several images named {listed(twice)}; export the model of one video")
    image_of = {stem: row for row, stem in enumerate(stems)}
    original = _matched([stem_of(name) for name in taken.names], image_of)
    extracted = _matched([path.stem for path in taken.pictures], image_of)
    # A model of all pictures of a folder has names of both kinds; one that lacks none of the originals is of those.
    whole = len(original) == len(taken) or len(original) > len(extracted)
    if original and extracted and original != extracted and not whole:
        examples = [f"{names[row]} for {taken.names[frame]}" for frame, row in original.items()]
        raise InputError(
            f"{folder}: its images can be read as original and as extracted frames ({listed(examples, 3)}, or by their "
            "place); export the model with the frames' original names"
        )
    found = original if whole and original else extracted or original
    if not found:
        raise InputError(
            f"{folder}: its images ({listed(names, 3)}) are named neither as the frames ({listed(taken.names, 3)}) nor "
            f"as the extracted ones ({listed([path.name for path in taken.pictures], 3)})"
        )
    return found


def _matched(stems: Sequence[str], image_of: dict[str, int]) -> dict[int, int]:
    """Frames' images by name, else by the one number in a name."""
    by_name = {frame: image_of[stem] for frame, stem in enumerate(stems) if stem in image_of}
    if by_name:
        return by_name
    number_of = {numbers[-1]: row for stem, row in image_of.items() if (numbers := numbers_of(stem))}
    own = [numbers_of(stem) for stem in stems]
    if len(number_of) < len(image_of) or not all(own):
        return {}
    return {frame: number_of[each[-1]] for frame, each in enumerate(own) if each[-1] in number_of}


def _camera(
    model: ColmapModel, images: Sequence[int], taken: Frames, folder: Path
) -> tuple[Float[np.ndarray, "3 3"], float]:
    """The one camera, in the frames' pixels, and its radial distortion."""
    rows = np.unique(model.camera[list(images)])
    each = np.hstack([model.parameters, model.radial[:, None], model.size_px])[rows]
    if not np.allclose(each, each[0], rtol=1e-6):
        raise InputError(f"{folder}: has {len(rows)} cameras that differ; a sequence has one, share it (single camera)")
    focal_x, focal_y, centre_x, centre_y, radial, width, height = each[0].tolist()
    across, down = taken.width_px / width, taken.height_px / height
    if abs(across / down - 1) > _ASPECT_WITHIN:
        raise InputError(
            f"{folder}: its camera has {width:g} x {height:g} pixels, but the frames {taken.width_px} x "
            f"{taken.height_px}; the model is of other pictures"
        )
    centre = across * centre_x - COLMAP_PIXEL_OFFSET, down * centre_y - COLMAP_PIXEL_OFFSET
    return np.array([[across * focal_x, 0, centre[0]], [0, down * focal_y, centre[1]], [0, 0, 1.0]]), radial


def _read(folder: Path, output: Path) -> None:
    import zlib  # noqa: F401 (must precede pycolmap: its wheel's own zlib breaks those loaded later)

    import pycolmap

    pycolmap.logging.minloglevel = 2
    model = pycolmap.Reconstruction(folder)
    images = sorted((model.images[each] for each in model.reg_image_ids()), key=lambda image: str(image.name))
    cameras = {camera_id: row for row, camera_id in enumerate(sorted(model.cameras))}
    parameters, radial, sizes = [], [], []
    for camera_id in cameras:
        camera = model.cameras[camera_id]
        if camera.model.name not in _CAMERAS:
            raise InputError(
                f"{folder}: camera {camera_id} is {camera.model.name}, expected one of {', '.join(_CAMERAS)}; "
                "undistort the frames first (colmap image_undistorter), or calibrate with one of these"
            )
        focals, distorted = _CAMERAS[camera.model.name]
        values = list(camera.params)
        parameters.append([values[0], values[focals - 1], *values[focals : focals + 2]])
        radial.append(values[-1] if distorted else 0.0)
        sizes.append([camera.width, camera.height])
    poses = np.tile(np.eye(4), (len(images), 1, 1))
    for row, image in enumerate(images):
        poses[row, :3] = image.cam_from_world().matrix()
    ColmapModel(
        names=np.array([image.name for image in images], str),
        cam_from_world=poses,
        camera=np.array([cameras[image.camera_id] for image in images], int),
        parameters=np.array(parameters, float).reshape(-1, 4),
        radial=np.array(radial, float),
        size_px=np.array(sizes, int).reshape(-1, 2),
        points=np.array([point.xyz for point in model.points3D.values()], float).reshape(-1, 3),
        reprojection_px=float(model.compute_mean_reprojection_error()),
    ).save(output)


if __name__ == "__main__":
    try:
        _read(Path(sys.argv[1]), Path(sys.argv[2]))
    except InputError as error:
        sys.exit(f"{error}")
