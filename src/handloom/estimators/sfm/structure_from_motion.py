"""The object's poses by structure from motion: what a backend is given, the process it runs in, the model it hands
back, and the gates which that has to pass.

pycolmap can end its process (it aborts where other libraries raise) and prints to the terminal from C++; apart from
that, its wheel brings a zlib that breaks others loaded later. A child process keeps all three away: this module, run by
`run_job`. Only the object's pixels give features, so its motion looks like that of a camera.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image
from pydantic import FiniteFloat

from handloom.datasets.frames import Frames, read_frames
from handloom.datasets.masks import OBJECT, LabelSequence, read_masks
from handloom.estimators.sfm.object_poses import ObjectPoses, filled_poses, trimmed_points, write_pose_sheet
from handloom.runtime.artifacts import Artifact
from handloom.runtime.config.base import Settings
from handloom.runtime.config.hold_stages import PairSettings, SfmSettings
from handloom.runtime.errors import InputError, listed
from handloom.runtime.files import read_json, write_json
from handloom.runtime.seeds import derived_seed

# COLMAP puts the centre of the first pixel at (0.5, 0.5), handloom at (0, 0).
_COLMAP_PIXEL_OFFSET = 0.5
# First guess of f over the longer image side, where the camera is estimated: COLMAP's own.
_FOCAL_FACTOR = 1.2
MIN_MODEL_FRAMES = 3
"""Of a model that a mapper keeps; two views are no model of a surface."""
# The mask's edge is the background's or the hand's as much as the object's.
_MASK_EROSION_PX = 2
# Points a registered frame must see; with fewer its pose is not to be trusted, and is interpolated.
_MIN_OBSERVED_POINTS = 12
# A radial term is only told from the focal length by features near the image's edge.
_RADIAL_REACH = 0.75
# Of the backend's log, shown where it failed: the last ones tell why.
_LOG_LINES = 6

CameraModel = Literal["PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL"]


class SfmJob(Settings):
    """What a backend is given: frames by name, masks of the object as `<name>.png`, and a folder to work in."""

    frames_folder: Path
    masks_folder: Path
    work_folder: Path
    names: tuple[str, ...]
    camera_model: CameraModel
    camera_params: tuple[float, float, float, float] | None
    """Focal lengths and principal point of the known camera, in COLMAP's pixels."""
    settings: SfmSettings
    seed: int
    """Of all that is random in COLMAP, which takes 31 bits."""
    threads: int

    def mask_of(self, name: str) -> Path:
        """The file of a frame's mask: the frame's whole name and `.png`, as COLMAP names masks."""
        return self.masks_folder / f"{name}.png"

    def camera_options(self) -> dict[str, Any]:
        """The camera as options of pycolmap's image reader."""
        options = {"camera_model": self.camera_model, "default_focal_length_factor": _FOCAL_FACTOR}
        if self.camera_params is None:
            return options
        return {**options, "camera_params": ",".join(map(repr, self.camera_params))}

    def write_pairs(self) -> Path:
        """A file of the pairs of names to be matched, one a line."""
        path = self.work_folder / "pairs.txt"
        pairs = frame_pairs(len(self.names), self.settings.pairs)
        path.write_text("".join(f"{self.names[i]} {self.names[j]}\n" for i, j in pairs), encoding="utf-8")
        return path


@dataclass(frozen=True)
class SparseModel(
    Artifact, kind="sparse_model", units="SfM", frame="camera from object, OpenCV", may_be_nan=("cam_from_object",)
):
    """The largest model of a sequence, frames in the order of its names; rows of unregistered frames are NaN.

    Poses map SfM units to OpenCV camera axes: COLMAP's camera-from-world is camera-from-object. `radial` is COLMAP's k
    of r_d = r (1 + k r^2), 0 for a pinhole. `features` and `observed` count, per frame, the features on the object and
    those that became points.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    radial: FiniteFloat
    cam_from_object: Float[np.ndarray, "frames 4 4"]
    registered: Bool[np.ndarray, " frames"]
    points_object: Float[np.ndarray, "points 3"]
    reprojection_px: FiniteFloat
    features: Int[np.ndarray, " frames"]
    observed: Int[np.ndarray, " frames"]
    mapper: str


def estimate_object_poses(
    settings: SfmSettings,
    frames: Path,
    frames_json: Path,
    masks: Path,
    poses: Path,
    picture: Path,
    *,
    seed: int,
    threads: int,
    code: str,
) -> None:
    """Stage: structure from motion of the masked object, gaps interpolated, points trimmed, and a picture of it all.

    The camera is the source's where it knows one. Raises InputError for an object without texture or with an empty mask
    in most frames, for too few registered frames, and a backend that fails.
    """
    taken = read_frames(frames, frames_json)
    labels = read_masks(masks, taken)
    _require_visible(labels, masks, settings)
    names = tuple(path.name for path in taken.pictures)
    k = taken.intrinsics
    with tempfile.TemporaryDirectory(prefix="handloom-sfm-") as work:
        object_masks = Path(work) / "masks"
        _write_object_masks(object_masks, names, labels)
        job = SfmJob(
            frames_folder=frames.absolute(),
            masks_folder=object_masks,
            work_folder=Path(work) / "model",
            names=names,
            camera_model=camera_model(settings, labels, taken),
            camera_params=None if k is None else (k[0, 0], k[1, 1], *(k[:2, 2] + _COLMAP_PIXEL_OFFSET)),
            settings=settings,
            seed=derived_seed(seed, "sfm") % (2**31 - 1),
            threads=threads,
        )
        model = run_job(job)
    found = checked_poses(model, settings, taken)
    found.save(poses, seed=seed, code=code)
    write_pose_sheet(taken, found, picture)


def camera_model(settings: SfmSettings, labels: LabelSequence, frames: Frames) -> CameraModel:
    """PINHOLE where the camera is known; `auto` estimates distortion only if the object comes near the image's edge."""
    if frames.intrinsics is not None:
        return "PINHOLE"
    if settings.camera_model != "auto":
        return settings.camera_model
    width, height = frames.size_px
    row, column = np.nonzero((labels == OBJECT).any(0))
    radius = np.hypot(row - (height - 1) / 2, column - (width - 1) / 2) / (np.hypot(height, width) / 2)
    return "SIMPLE_RADIAL" if radius.max() >= _RADIAL_REACH else "SIMPLE_PINHOLE"


def frame_pairs(count: int, settings: PairSettings) -> Int[np.ndarray, "pairs 2"]:
    """Pairs (i, j) with i < j in sorted order: all of a short sequence; of a long one a window and loops.

    The window joins each frame with the next `window` ones and those 2, 4, 8... windows ahead; the loops join every
    `loop_stride`-th frame with all its kind, so that a view which comes back closes the chain.
    """
    first, second = np.triu_indices(count, 1)
    if count > settings.exhaustive_up_to:
        gap = second - first
        doubled = settings.window * 2 ** np.arange(1, 32, dtype=np.int64)
        loop = (first % settings.loop_stride == 0) & (second % settings.loop_stride == 0)
        kept = (gap <= settings.window) | np.isin(gap, doubled) | loop
        first, second = first[kept], second[kept]
    return np.stack([first, second], -1)


def run_job(job: SfmJob) -> SparseModel:
    """The model of the job's backend, computed in a child process whose output goes to `sfm.log` in the work folder.

    Raises InputError when the child fails, dies of a signal or takes too long, with the last lines of its log.
    """
    job.work_folder.mkdir(parents=True, exist_ok=True)
    description, result, log = (job.work_folder / name for name in ("job.json", "model.npz", "sfm.log"))
    write_json(description, job.model_dump(mode="json"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        try:
            ended = subprocess.run(
                [sys.executable, "-m", __spec__.name, str(description), str(result)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=job.settings.time_limit_s,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"{job.frames_folder}: structure from motion took longer than sfm.time_limit_s = "
                f"{job.settings.time_limit_s:g} s; use fewer frames, a smaller sfm.pairs.window, or a higher limit"
            ) from error
    if ended != 0:
        ending = f"failed with exit code {ended}"
        if ended < 0:
            name = signal.Signals(-ended).name
            ending = f"died of {name} (backend's fault or no memory; try another sfm.backend)"
        last_lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LOG_LINES:]
        raise InputError(f"{job.frames_folder}: structure from motion {ending}; its log ends\n" + "\n".join(last_lines))
    return SparseModel.load(result)


def empty_model(features: Int[np.ndarray, " frames"], mapper: str = "none") -> SparseModel:
    """The model of a sequence in which nothing was registered."""
    count = len(features)
    return SparseModel(
        intrinsics=np.eye(3),
        radial=0.0,
        cam_from_object=np.full((count, 4, 4), np.nan),
        registered=np.zeros(count, bool),
        points_object=np.zeros((0, 3)),
        reprojection_px=0.0,
        features=features,
        observed=np.zeros(count, int),
        mapper=mapper,
    )


def from_reconstruction(
    reconstruction: Any, names: Sequence[str], features: Int[np.ndarray, " frames"], mapper: str
) -> SparseModel:
    """A `pycolmap.Reconstruction` with frames found by NAME: COLMAP's ids follow no order that may be relied on.

    Principal point and focal length are those of COLMAP's one camera, moved to handloom's pixel centres. HOLD takes
    COLMAP's id - 1 for a frame's number (format_poses of generator/src/colmap/colmap_utils.py).
    """
    row_of = {name: row for row, name in enumerate(names)}
    count = len(names)
    poses, observed = np.full((count, 4, 4), np.nan), np.zeros(count, int)
    camera = None
    for image_id in reconstruction.reg_image_ids():
        image = reconstruction.images[image_id]
        row = row_of[image.name]
        poses[row] = np.eye(4)
        poses[row, :3] = image.cam_from_world().matrix()
        observed[row] = image.num_points3D
        camera = reconstruction.cameras[image.camera_id]
    points = np.array([point.xyz for point in reconstruction.points3D.values()]).reshape(-1, 3)
    if camera is None or len(points) == 0:
        return empty_model(features, mapper)
    intrinsics = np.array(camera.calibration_matrix(), float)
    intrinsics[:2, 2] -= _COLMAP_PIXEL_OFFSET
    return replace(
        empty_model(features, mapper),
        intrinsics=intrinsics,
        radial=float(camera.params[-1]) if camera.model.name == "SIMPLE_RADIAL" else 0.0,
        cam_from_object=poses,
        registered=np.isfinite(poses[:, 0, 0]),
        points_object=points,
        reprojection_px=float(reconstruction.compute_mean_reprojection_error()),
        observed=observed,
    )


def larger(first: SparseModel, second: SparseModel) -> SparseModel:
    """The model with more registered frames; of two equal ones that with more points."""
    return max((first, second), key=lambda model: (int(model.registered.sum()), len(model.points_object)))


def checked_poses(model: SparseModel, settings: SfmSettings, frames: Frames) -> ObjectPoses:
    """The poses of a model that passes the gates; raises InputError for too few features or registered frames."""
    features = int(np.median(model.features))
    if features < settings.min_features:
        raise InputError(
            f"{frames.folder}: the object has {features} features in the median frame, expected at least "
            f"{settings.min_features} (sfm.min_features): it seems to have no texture, or is very small in the image. "
            "Try sharper or larger frames, a lower sfm.peak_threshold, or poses from elsewhere (sfm.backend: known)"
        )
    registered = model.registered & (model.observed >= _MIN_OBSERVED_POINTS)
    missing = [path.name for path, there in zip(frames.pictures, registered, strict=True) if not there]
    if registered.mean() < settings.min_registered or not registered.any():
        raise InputError(
            f"{frames.folder}: structure from motion registered {registered.sum()} of {len(registered)} frames, "
            f"expected at least {settings.min_registered:.0%} (sfm.min_registered); without pose: {listed(missing)}. "
            "Try frames that follow each other closely, an object larger in view, sfm.mapper: incremental, a lower "
            "sfm.min_matches or sfm.peak_threshold, or check the object's masks"
        )
    points = trimmed_points(model.points_object)
    if missing:
        print(f"{len(missing)} of {len(frames)} object poses interpolated: {listed(missing)}", file=sys.stderr)
    return ObjectPoses(
        intrinsics=model.intrinsics,
        radial=model.radial,
        cam_from_object=filled_poses(model.cam_from_object, registered, np.median(points, 0)),
        registered=registered,
        points_object=points,
        reprojection_px=model.reprojection_px,
        mapper=model.mapper,
        median_features=features,
    )


def _require_visible(labels: LabelSequence, folder: Path, settings: SfmSettings) -> None:
    visible = (labels == OBJECT).any((1, 2))
    if visible.mean() < max(settings.min_registered, 1 / len(labels)):
        raise InputError(
            f"{folder}: the object's mask is empty in {np.sum(~visible)} of {len(visible)} frames, but at least "
            f"{settings.min_registered:.0%} of the frames must show it (sfm.min_registered); check the masks or the "
            "prompt they are made from"
        )


def _write_object_masks(folder: Path, names: Sequence[str], labels: LabelSequence) -> None:
    """Masks as COLMAP looks for them: `<name>.png`, 255 where features may lie, the image's border no edge."""
    folder.mkdir(parents=True)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _MASK_EROSION_PX + 1, 2 * _MASK_EROSION_PX + 1))
    for name, image in zip(names, labels, strict=True):
        mask = np.where(image == OBJECT, np.uint8(255), np.uint8(0))
        Image.fromarray(cv2.erode(mask, disc)).save(folder / f"{name}.png")


def _main(description: Path, result: Path) -> None:
    job = SfmJob.model_validate(read_json(description))
    if job.settings.backend == "hloc":
        from handloom.estimators.sfm.hloc_backend import reconstruct
    else:
        from handloom.estimators.sfm.pycolmap_backend import reconstruct
    reconstruct(job).save(result)


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]), Path(sys.argv[2]))
    except InputError as error:
        sys.exit(f"{error}")
