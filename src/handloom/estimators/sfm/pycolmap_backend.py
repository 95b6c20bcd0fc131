"""SIFT, matching and mapping by pycolmap alone: the default, with nothing to download.

Reproducible: image ids are fixed before extraction, RANSAC and the mappers are seeded, and mapping runs on one thread.
Extraction and matching use several threads, which changes no result: each frame and each pair is computed by itself.
"""

import zlib  # noqa: F401, I001 (must precede pycolmap: its wheel's own zlib breaks those loaded later)

import pycolmap

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from handloom.estimators.sfm.structure_from_motion import (
    MIN_MODEL_FRAMES,
    SfmJob,
    SparseModel,
    empty_model,
    from_reconstruction,
    larger,
)
from handloom.runtime.images import read_grey

# SIFT features per frame, the strongest first; HOLD's superpoint_aachen keeps as many.
_MAX_FEATURES = 4096
# Lowe's ratio of the best match to the second best (IJCV 2004, section 7.1).
_MAX_RATIO = 0.8
# The other mapper is tried unless so many frames are registered.
_ENOUGH = 0.9
# A feature's descriptor sees this much beyond the mask.
_CROP_MARGIN_PX = 24


def reconstruct(job: SfmJob) -> SparseModel:
    """The largest model of the first mapper, or of both where the first registers too few frames."""
    pycolmap.logging.minloglevel = 2
    pycolmap.set_random_seed(job.seed)
    database = job.work_folder / "database.db"
    database.unlink(missing_ok=True)
    with pycolmap.Database.open(database):
        pass  # opening it makes it
    options = pycolmap.ImageReaderOptions(**job.camera_options())
    pycolmap.import_images(
        database, job.frames_folder, pycolmap.CameraMode.SINGLE, image_names=list(job.names), options=options
    )
    features = _extract(job, database)
    _match(job, database)
    order: list[str] = ["global", "incremental"] if job.settings.mapper == "global" else ["incremental", "global"]
    best = empty_model(features)
    for mapper in order:
        best = larger(best, _mapped(job, database, mapper, features))
        if best.registered.mean() >= max(job.settings.min_registered, _ENOUGH):
            break
    return best


def _extract(job: SfmJob, database: Path) -> Int[np.ndarray, " frames"]:
    """Features on the object of every frame into the database; returns their counts."""
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.use_gpu = False
    extraction.num_threads = 1
    extraction.sift.max_num_features = _MAX_FEATURES
    extraction.sift.peak_threshold = job.settings.peak_threshold

    def features(name: str) -> tuple[Float[np.ndarray, "points 4"], "pycolmap.FeatureDescriptors"]:
        extractor = pycolmap.FeatureExtractor.create(extraction, pycolmap.Device.cpu)
        return object_features(extractor, read_grey(job.frames_folder / name), read_grey(job.mask_of(name)))

    with ThreadPoolExecutor(job.threads) as threads, pycolmap.Database.open(database) as opened:
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
    x, y, width, height = cv2.boundingRect(mask)
    if width == 0:
        return np.zeros((0, 4), np.float32), pycolmap.FeatureDescriptors(kind, np.zeros((0, 128), np.uint8))
    top, left = max(y - _CROP_MARGIN_PX, 0), max(x - _CROP_MARGIN_PX, 0)
    window = np.s_[top : y + height + _CROP_MARGIN_PX, left : x + width + _CROP_MARGIN_PX]
    found, described = extractor.extract(pycolmap.Bitmap.from_array(np.ascontiguousarray(image[window])))
    keypoints = np.asarray(pycolmap.keypoints_to_matrix(found), np.float32).reshape(-1, 4)
    keypoints[:, :2] += np.array([left, top], np.float32)
    column, row = np.floor(keypoints[:, :2]).astype(int).T
    kept = mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(column, 0, mask.shape[1] - 1)] > 0
    return keypoints[kept], pycolmap.FeatureDescriptors(kind, np.ascontiguousarray(described.data[kept]))


def _match(job: SfmJob, database: Path) -> None:
    matching = pycolmap.FeatureMatchingOptions()
    matching.use_gpu = False
    matching.num_threads = job.threads
    matching.sift.max_ratio = _MAX_RATIO
    matching.sift.cpu_brute_force_matcher = True
    verification = pycolmap.TwoViewGeometryOptions()
    verification.min_num_inliers = job.settings.min_matches
    verification.ransac.random_seed = job.seed
    pycolmap.match_image_pairs(
        database,
        matching_options=matching,
        pairing_options=pycolmap.ImportedPairingOptions(match_list_path=job.write_pairs()),
        verification_options=verification,
    )


def _mapped(job: SfmJob, database: Path, mapper: str, features: Int[np.ndarray, " frames"]) -> SparseModel:
    """The largest model of one mapper, empty where it makes none."""
    folder = job.work_folder / mapper
    folder.mkdir(parents=True, exist_ok=True)
    everywhere, estimated = mapper == "global", job.camera_params is None
    options: Any = pycolmap.GlobalPipelineOptions() if everywhere else pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1
    options.random_seed = job.seed
    options.min_num_matches = job.settings.min_matches
    options.min_model_size = MIN_MODEL_FRAMES
    if everywhere:
        adjustment = options.mapper.bundle_adjustment
        adjustment.refine_focal_length = adjustment.refine_extra_params = estimated
        adjustment.refine_principal_point = False
    else:
        options.extract_colors = False
        options.ba_refine_focal_length = options.ba_refine_extra_params = estimated
        options.ba_refine_principal_point = False
        options.mapper.abs_pose_refine_focal_length = options.mapper.abs_pose_refine_extra_params = estimated
        options.mapper.abs_pose_min_num_inliers = job.settings.min_matches
        options.mapper.init_min_num_inliers = 2 * job.settings.min_matches
    mapping: Any = pycolmap.global_mapping if everywhere else pycolmap.incremental_mapping
    best = empty_model(features, mapper)
    for model in mapping(database, job.frames_folder, folder, options=options).values():
        best = larger(best, from_reconstruction(model, job.names, features, mapper))
    return best
