"""The object's poses by structure from motion: what a backend is given, the process it runs in, and the gates that the
model which it hands back has to pass.

pycolmap can end its process (it aborts where other libraries raise) and prints to the terminal from C++; apart from
that, its wheel brings a zlib that breaks others loaded later. A child process keeps all three away: this module, run by
`run_job`. Only the object's pixels give features, so its motion looks like that of a camera.
"""

import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from handloom.datasets.frames import Frames, read_frames
from handloom.datasets.masks import OBJECT, LabelSequence, read_masks
from handloom.estimators.masks.voted_shape import without_contradicted_ends
from handloom.estimators.sfm.matches import Matches
from handloom.estimators.sfm.object_poses import ObjectPoses, filled_poses, trimmed_points, write_pose_sheet
from handloom.estimators.sfm.seams import (
    SURE_LINK_SHARE,
    advice_for,
    cuts_of,
    in_words,
    links_of,
    parts_of,
    without_weak_ends,
)
from handloom.estimators.sfm.sparse_model import COLMAP_PIXEL_OFFSET, SparseModel, empty_model, larger
from handloom.estimators.sfm.views import Views, views_of
from handloom.runtime.config.base import Settings
from handloom.runtime.config.hold_stages import PairSettings, SfmSettings
from handloom.runtime.config.sequences import FrameSettings
from handloom.runtime.errors import InputError, listed
from handloom.runtime.files import read_json, write_json
from handloom.runtime.images import read_grey
from handloom.runtime.seeds import derived_seed

# First guess of f over the longer image side, where hloc estimates the camera: COLMAP's own.
_FOCAL_FACTOR = 1.2
# Fields of view over the longer side of cameras that people film hands with; and how far off a told one may be.
_NARROWEST_DEG, _WIDEST_DEG = 35.0, 95.0
_TOLD_WITHIN = 0.25
MIN_MODEL_FRAMES = 3
"""Of a model that a mapper keeps; two views are no model of a surface."""
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
    size_px: tuple[int, int] = (0, 0)
    positions: tuple[float, ...] = ()
    """Of each frame in those of the sequence, which have whole ones; none of a job without skipped pictures."""
    tracks: Path | None = None
    """Matches of spots that were followed by optical flow."""
    focal_px: float | None = None
    """A better guess of an unknown camera's focal length than the usual field of view: told by files, or found."""

    @property
    def position(self) -> Float[np.ndarray, " frames"]:
        """Where each frame lies among those of the sequence."""
        return np.array(self.positions or range(len(self.names)), float)

    @property
    def used(self) -> Bool[np.ndarray, " frames"]:
        """Which frames are the sequence's and no skipped pictures."""
        return self.position % 1 == 0

    def used_frames(self, model: "SparseModel") -> int:
        """How many frames of the sequence a model has."""
        return int((model.registered & self.used).sum())

    def camera(self) -> tuple[float, ...]:
        """COLMAP's parameters of the known camera, or of one with the usual field of view and no distortion."""
        if self.camera_params is not None:
            return self.camera_params
        width, height = self.size_px
        focal = self.focal_px or _focal_px(max(self.size_px), self.settings.field_of_view_deg)
        return (focal, width / 2, height / 2, *([0.0] if self.camera_model == "SIMPLE_RADIAL" else []))

    @property
    def focal_bounds_px(self) -> tuple[float, float]:
        """Between which an estimated focal length is believed."""
        low, high = (_focal_px(max(self.size_px), angle) for angle in (_WIDEST_DEG, _NARROWEST_DEG))
        guess = self.focal_px or low
        return min(low, guess / (1 + _TOLD_WITHIN)), max(high, guess * (1 + _TOLD_WITHIN))

    def mask_of(self, name: str) -> Path:
        """The file of a frame's mask: the frame's whole name and `.png`, as COLMAP names masks."""
        return self.masks_folder / f"{name}.png"

    def camera_options(self) -> dict[str, Any]:
        """The camera as options of pycolmap's image reader."""
        options = {"camera_model": self.camera_model, "default_focal_length_factor": _FOCAL_FACTOR}
        if self.camera_params is None:
            return options
        return {**options, "camera_params": ",".join(map(repr, self.camera_params))}

    def write_pairs(self, far: bool = True) -> Path:
        """A file of the pairs of names to be matched, one a line: of a window, and if wanted some far apart."""
        path = self.work_folder / "pairs.txt"
        if not far:
            first, second = np.triu_indices(len(self.names), 1)
            near = self.position[second] - self.position[first] <= self.settings.pairs.window
            pairs = np.stack([first[near], second[near]], -1)
        else:
            exhaustive = self.settings.pairs.exhaustive_up_to if self.settings.backend == "hloc" else 2
            settings = self.settings.pairs.model_copy(update={"exhaustive_up_to": exhaustive})
            pairs = frame_pairs(len(self.names), settings)
        path.write_text("".join(f"{self.names[i]} {self.names[j]}\n" for i, j in pairs), encoding="utf-8")
        return path


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
    source: Path | None = None,
    footage: FrameSettings | None = None,
) -> None:
    """Stage: structure from motion of the masked object, gaps interpolated, points trimmed, and a picture of it all.

    The camera is the source's where it knows one; else its focal length begins at what the source's files tell, or at a
    usual field of view. Where the model is torn, or frames are missing, the pictures that the
    sequence skips about there are taken in (`source` and `footage` lead to them), and the larger right part counts.
    Raises InputError for an object without texture or with an empty mask in most frames, for a right part with too few
    frames, and a backend that fails.
    """
    taken = read_frames(frames, frames_json)
    labels = read_masks(masks, taken)
    _require_visible(labels, masks, settings)
    model_of_camera = camera_model(settings, labels, taken)
    k = taken.intrinsics
    with tempfile.TemporaryDirectory(prefix="handloom-sfm-") as work:

        def model_of(views: Views, *, careful: bool, focal_px: float | None = None) -> SparseModel:
            folder = Path(tempfile.mkdtemp(dir=work))
            views.write(folder)
            tracks = folder / "tracks.npz" if careful else None
            if tracks is not None:
                views.followed(float(settings.pairs.window)).save(tracks)
            job = SfmJob(
                frames_folder=folder / "frames",
                masks_folder=folder / "masks",
                work_folder=folder / "model",
                names=views.names,
                camera_model=model_of_camera,
                camera_params=None if k is None else (k[0, 0], k[1, 1], *(k[:2, 2] + COLMAP_PIXEL_OFFSET)),
                settings=settings,
                seed=derived_seed(seed, "sfm") % (2**31 - 1),
                threads=threads,
                size_px=taken.size_px,
                positions=tuple(views.position.tolist()),
                tracks=tracks,
                focal_px=focal_px,
            )
            return run_job(job)

        views = views_of(taken, labels, source, footage)
        model = model_of(views, careful=False, focal_px=taken.focal_px)
        _require_texture(model, settings, taken)
        if settings.backend == "pycolmap" and not _whole(model):
            model = larger(model, model_of(views, careful=True, focal_px=taken.focal_px))
            lost = _lost(model)
            if len(lost) and views.skips:
                more, focal_px = views.about(lost), float(model.intrinsics[0, 0])
                closed = model_of(more, careful=True, focal_px=None if k is not None else focal_px)
                taken_in = len(more.numbers) - len(taken)
                print(f"{taken_in} skipped pictures about {len(lost)} seams taken in", file=sys.stderr)
                model = larger(model, _of_sequence(closed, more))
    found = checked_poses(_agreeing(model, labels), settings, taken)
    found.save(poses, seed=seed, code=code)
    write_pose_sheet(taken, found, picture)


def _focal_px(longest_side_px: int, field_of_view_deg: float) -> float:
    return longest_side_px / 2 / math.tan(math.radians(field_of_view_deg / 2))


def _whole(model: SparseModel) -> bool:
    """Whether every frame is in one model whose seams hold without a doubt."""
    return bool(model.registered.all() and (model.link_share[:-1] >= SURE_LINK_SHARE).all())


def _lost(model: SparseModel) -> Int[np.ndarray, " seams"]:
    """Rows of frames after which the kept part begins or ends."""
    return np.flatnonzero(np.diff(model.registered.astype(int)) != 0)


def _of_sequence(model: SparseModel, views: Views) -> SparseModel:
    """A model's rows of the sequence's own frames; seams and cuts are said of these."""
    rows = np.flatnonzero(np.isin(views.numbers, views.own))
    row_of = np.searchsorted(rows, np.arange(len(views.position)), side="right") - 1
    link_share = np.full(len(rows), np.nan)
    np.fmin.at(link_share, row_of, model.link_share)
    cuts = tuple(
        cut._replace(before=int(row_of[cut.before]), after=int(min(row_of[cut.after - 1] + 1, len(rows) - 1)))
        for cut in model.cuts
    )
    return replace(
        model,
        cam_from_object=model.cam_from_object[rows],
        registered=model.registered[rows],
        features=model.features[rows],
        observed=model.observed[rows],
        observations=np.stack([row_of[model.observations[:, 0]], model.observations[:, 1]], 1),
        link_share=link_share,
        cuts=cuts,
    )


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
    advice = "use fewer frames, a smaller sfm.pairs.window, or a higher limit (sfm.time_limit_s)"
    arguments, what = [str(description), str(result)], f"{job.frames_folder}: structure from motion"
    run_apart(__spec__.name, arguments, log, job.settings.time_limit_s, what, advice)
    return SparseModel.load(result)


def run_apart(
    module: str, arguments: Sequence[str], log: Path, limit_s: float, what: str, advice: str = "try again"
) -> None:
    """Run a module in its own process, which pycolmap may end; raises InputError with the last lines of its log."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        try:
            ended = subprocess.run(
                [sys.executable, "-m", module, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=limit_s,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise InputError(f"{what} took longer than {limit_s:g} s; {advice}") from error
    if ended != 0:
        ending = f"failed with exit code {ended}"
        if ended < 0:
            name = signal.Signals(-ended).name
            ending = f"died of {name} (the library's fault, a damaged file or no memory)"
        last_lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LOG_LINES:]
        raise InputError(f"{what} {ending}; its log ends\n" + "\n".join(last_lines))


def judged(model: SparseModel, matches: Matches, job: SfmJob) -> SparseModel:
    """The model with its largest right part registered alone, counted in the sequence's own frames, and its cuts."""
    poses, registered = model.cam_from_object, model.registered
    links = links_of(matches, model.observations, poses, registered, model.intrinsics, job.position)
    part = parts_of(links, registered)
    if not (part >= 0).any():
        return empty_model(model.features, model.mapper)
    kept = without_weak_ends(links, part == np.bincount(part[(part >= 0) & job.used], minlength=1).argmax())
    signs, link_share = links.signs(kept), np.full(len(part), np.nan)
    link_share[signs.before] = signs.link_share
    several = part.max() > 0
    areas = np.array([np.count_nonzero(read_grey(job.mask_of(name))) for name in job.names]) if several else part
    cuts = cuts_of(links, part, model.points_object, model.features, areas)
    return replace(model, registered=kept, link_share=link_share, cuts=cuts)


def _require_texture(model: SparseModel, settings: SfmSettings, frames: Frames) -> None:
    features = int(np.median(model.features))
    if features < settings.min_features:
        raise InputError(
            f"{frames.folder}: the object has {features} features in the median frame, expected at least "
            f"{settings.min_features} (sfm.min_features): it seems to have no texture, or is very small in the image. "
            "Try a textured sticker, sharper or larger frames, a lower sfm.peak_threshold, or poses from elsewhere "
            "(sfm.backend: colmap_model, or known)"
        )


def checked_poses(model: SparseModel, settings: SfmSettings, frames: Frames) -> ObjectPoses:
    """The poses of a model that passes the gates; raises InputError for too few registered frames."""
    registered = _trusted(model)
    pictures = [path.name for path in frames.pictures]
    missing = [name for name, there in zip(pictures, registered, strict=True) if not there]
    torn = f"cut apart at {'; '.join(in_words(cut, pictures) for cut in model.cuts)}. " if model.cuts else ""
    if registered.mean() < settings.min_registered or not registered.any():
        raise InputError(
            f"{frames.folder}: structure from motion registered {registered.sum()} of {len(registered)} frames in one "
            f"model that holds, expected at least {settings.min_registered:.0%} (sfm.min_registered); without pose: "
            f"{listed(missing)}. {torn}{advice_for(model.cuts)}; or try sfm.mapper: incremental, a lower "
            "sfm.min_matches or sfm.peak_threshold, or check the object's masks"
        )
    found = replace(
        _poses_of(model, registered),
        median_features=int(np.median(model.features)),
        link_share=model.link_share,
        cuts=model.cuts if settings.backend == "pycolmap" else None,
        focal_guess=_focal_guess(settings, frames),
    )
    if found.focal_guess is not None:
        print(f"focal length {found.intrinsics[0, 0]:.0f} px, estimated from {found.focal_guess}", file=sys.stderr)
    interpolated = [name for name, each in zip(pictures, found.posed & ~registered, strict=True) if each]
    if interpolated:
        print(
            f"{len(interpolated)} of {len(frames)} object poses interpolated: {listed(interpolated)}", file=sys.stderr
        )
    left = [name for name, each in zip(pictures, found.posed, strict=True) if not each]
    if left:
        words = (
            f"{len(left)} of {len(frames)} frames are left out, as they have no pose that is right: {listed(left)}. "
        )
        print(f"{words}{torn}{advice_for(model.cuts)}", file=sys.stderr)
    return found


def _trusted(model: SparseModel) -> Bool[np.ndarray, " frames"]:
    return np.asarray(model.registered & (model.observed >= _MIN_OBSERVED_POINTS))


def _poses_of(model: SparseModel, registered: Bool[np.ndarray, " frames"]) -> ObjectPoses:
    points = trimmed_points(model.points_object)
    return ObjectPoses(
        intrinsics=model.intrinsics,
        radial=model.radial,
        cam_from_object=filled_poses(model.cam_from_object, registered, np.median(points, 0)),
        registered=registered,
        points_object=points,
        reprojection_px=model.reprojection_px,
        mapper=model.mapper,
    )


def _agreeing(model: SparseModel, labels: LabelSequence) -> SparseModel:
    """The model without ends that the object's masks contradict."""
    registered = _trusted(model)
    if not registered.any():
        return model
    kept = without_contradicted_ends(labels, _poses_of(model, registered))
    if (kept == registered).all():
        return model
    print(f"{(registered & ~kept).sum()} poses at the ends show the object where its masks do not", file=sys.stderr)
    return model.only(kept)


def _focal_guess(settings: SfmSettings, frames: Frames) -> str | None:
    """In words what an unknown camera's focal length begins from."""
    if frames.intrinsics is not None:
        return None
    if settings.backend == "hloc":
        return f"{_FOCAL_FACTOR:g} times the longer side"
    if frames.focal_px is not None:
        return f"the {frames.focal_px:.0f} px that the files' metadata tell"
    return f"a usual field of view of {settings.field_of_view_deg:g} degrees (hold.sfm.field_of_view_deg)"


def _require_visible(labels: LabelSequence, folder: Path, settings: SfmSettings) -> None:
    visible = (labels == OBJECT).any((1, 2))
    if visible.mean() < max(settings.min_registered, 1 / len(labels)):
        raise InputError(
            f"{folder}: the object's mask is empty in {np.sum(~visible)} of {len(visible)} frames, but at least "
            f"{settings.min_registered:.0%} of the frames must show it (sfm.min_registered); check the masks or the "
            "prompt they are made from"
        )


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
