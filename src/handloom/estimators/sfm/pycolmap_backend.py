"""SIFT, matching and mapping by pycolmap alone: the default, with nothing to download.

Reproducible: image ids are fixed before extraction, RANSAC and the mappers are seeded, and mapping runs on one thread.
Extraction and matching use several threads, which changes no result: each frame and each pair is computed by itself.
"""

import zlib  # noqa: F401, I001 (must precede pycolmap, whose own zlib breaks those loaded later: facts/assets.md C)

import pycolmap

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from handloom.estimators.sfm.image_pairs import frame_pairs
from handloom.estimators.sfm.job import SfmJob
from handloom.estimators.sfm.sparse_model import (
    COLMAP_PIXEL_OFFSET,
    SparseModel,
    empty_model,
    from_reconstruction,
    larger,
)
from handloom.runtime.images import read_grey
from handloom.runtime.seeds import derived_seed

_MIN_MODEL_FRAMES = 3
_CROP_MARGIN_PX = 24
_SEED_LIMIT = 2**31 - 1


def reconstruct(job: SfmJob) -> SparseModel:
    """The largest model of the first mapper, or of both where the first registers too few frames."""
    seed = derived_seed(job.seed, "sfm") % _SEED_LIMIT
    pycolmap.logging.minloglevel = 2
    pycolmap.set_random_seed(seed)
    database = job.work_folder / "database.db"
    database.unlink(missing_ok=True)
    _import_frames(job, database)
    features = _extract(job, database)
    _match(job, database, seed)
    order: list[str] = ["global", "incremental"] if job.settings.mapper == "global" else ["incremental", "global"]
    best = empty_model(features, job.guessed_intrinsics())
    for mapper in order:
        best = larger(best, _mapped(job, database, seed, mapper, features))
        if best.registered.mean() >= max(job.settings.min_registered, 0.9):
            break
    return best


def _import_frames(job: SfmJob, database: Path) -> None:
    """Frames into a new database in name order, all of one camera."""
    options = pycolmap.ImageReaderOptions()
    options.default_focal_length_factor = job.settings.focal_factor
    options.camera_model = job.camera_model
    if job.known_intrinsics is not None:
        k = job.known_intrinsics
        centre = k[:2, 2] + COLMAP_PIXEL_OFFSET
        options.camera_params = ",".join(repr(float(value)) for value in (k[0, 0], k[1, 1], *centre))
    with pycolmap.Database.open(database):
        pass  # opening it makes it
    pycolmap.import_images(
        database, job.frames_folder, pycolmap.CameraMode.SINGLE, image_names=list(job.names), options=options
    )


def _extract(job: SfmJob, database: Path) -> Int[np.ndarray, " frames"]:
    """Features on the object of every frame into the database; returns their counts."""
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.use_gpu = False
    extraction.num_threads = 1
    extraction.sift.max_num_features = job.settings.max_features
    extraction.sift.peak_threshold = job.settings.peak_threshold

    def features(name: str) -> tuple[Float[np.ndarray, "points 4"], "pycolmap.FeatureDescriptors"]:
        extractor = pycolmap.FeatureExtractor.create(extraction, pycolmap.Device.cpu)
        return object_features(extractor, read_grey(job.frames_folder / name), read_grey(job.mask_of(name)))

    with ThreadPoolExecutor(job.settings.threads) as threads, pycolmap.Database.open(database) as opened:
        id_of = {image.name: image.image_id for image in opened.read_all_images()}
        counts = []
        for name, (keypoints, descriptors) in zip(job.names, threads.map(features, job.names), strict=True):
            opened.write_keypoints(id_of[name], keypoints)
            opened.write_descriptors(id_of[name], descriptors)
            counts.append(len(keypoints))
    return np.array(counts, int)


def object_features(
    extractor: "pycolmap.FeatureExtractor", image: UInt8[np.ndarray, "height width"], mask: UInt8[np.ndarray, "h w"]
) -> tuple[Float[np.ndarray, "points 4"], "pycolmap.FeatureDescriptors"]:
    """Key points (x, y, scale, orientation; COLMAP's pixels) on the mask, with descriptors.

    Only the mask's surroundings are looked at: SIFT's cost is that of the area, and COLMAP drops what a mask excludes
    only after describing it.
    """
    kind = pycolmap.FeatureExtractorType.SIFT
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return np.zeros((0, 4), np.float32), pycolmap.FeatureDescriptors(kind, np.zeros((0, 128), np.uint8))
    top, left = max(rows[0] - _CROP_MARGIN_PX, 0), max(columns[0] - _CROP_MARGIN_PX, 0)
    window = np.s_[top : rows[-1] + _CROP_MARGIN_PX + 1, left : columns[-1] + _CROP_MARGIN_PX + 1]
    found, described = extractor.extract(pycolmap.Bitmap.from_array(np.ascontiguousarray(image[window])))
    keypoints = np.asarray(pycolmap.keypoints_to_matrix(found), np.float32).reshape(-1, 4)
    keypoints[:, :2] += np.array([left, top], np.float32)
    column, row = np.floor(keypoints[:, :2]).astype(int).T
    kept = mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(column, 0, mask.shape[1] - 1)] > 0
    return keypoints[kept], pycolmap.FeatureDescriptors(kind, np.ascontiguousarray(described.data[kept]))


def _match(job: SfmJob, database: Path, seed: int) -> None:
    pairs = job.work_folder / "pairs.txt"
    pairs.write_text(
        "\n".join(f"{job.names[i]} {job.names[j]}" for i, j in frame_pairs(len(job.names), job.settings.pairs)) + "\n",
        encoding="utf-8",
    )
    matching = pycolmap.FeatureMatchingOptions()
    matching.use_gpu = False
    matching.num_threads = job.settings.threads
    matching.sift.max_ratio = job.settings.max_ratio
    matching.sift.cpu_brute_force_matcher = True
    verification = pycolmap.TwoViewGeometryOptions()
    verification.min_num_inliers = job.settings.min_matches
    verification.ransac.random_seed = seed
    pycolmap.match_image_pairs(
        database,
        matching_options=matching,
        pairing_options=pycolmap.ImportedPairingOptions(match_list_path=pairs),
        verification_options=verification,
    )


def _mapped(job: SfmJob, database: Path, seed: int, mapper: str, features: Int[np.ndarray, " frames"]) -> SparseModel:
    """The largest model of one mapper, empty where it makes none."""
    folder = job.work_folder / mapper
    folder.mkdir(parents=True, exist_ok=True)
    place = (database, job.frames_folder, folder)
    if mapper == "global":
        models = pycolmap.global_mapping(*place, options=_global_options(job, seed))
    else:
        models = pycolmap.incremental_mapping(*place, options=_incremental_options(job, seed))
    best = empty_model(features, job.guessed_intrinsics(), mapper)
    for model in models.values():
        best = larger(best, from_reconstruction(model, job.names, features, mapper))
    return best


def _global_options(job: SfmJob, seed: int) -> "pycolmap.GlobalPipelineOptions":
    options = pycolmap.GlobalPipelineOptions()
    options.num_threads = 1
    options.random_seed = seed
    options.min_num_matches = job.settings.min_matches
    options.min_model_size = _MIN_MODEL_FRAMES
    estimated = job.known_intrinsics is None
    options.mapper.bundle_adjustment.refine_focal_length = estimated
    options.mapper.bundle_adjustment.refine_extra_params = estimated
    options.mapper.bundle_adjustment.refine_principal_point = False
    return options


def _incremental_options(job: SfmJob, seed: int) -> "pycolmap.IncrementalPipelineOptions":
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1
    options.random_seed = seed
    options.min_num_matches = job.settings.min_matches
    options.min_model_size = _MIN_MODEL_FRAMES
    options.extract_colors = False
    options.mapper.init_min_num_inliers = 2 * job.settings.min_matches
    options.mapper.abs_pose_min_num_inliers = job.settings.min_matches
    estimated = job.known_intrinsics is None
    options.ba_refine_focal_length = estimated
    options.ba_refine_extra_params = estimated
    options.ba_refine_principal_point = False
    options.mapper.abs_pose_refine_focal_length = estimated
    options.mapper.abs_pose_refine_extra_params = estimated
    return options
