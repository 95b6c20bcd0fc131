"""SIFT, matching and mapping by pycolmap alone: the default, with nothing to download.

What makes it hold on real clips: features of the enlarged object, matches of a window of frames (front and back of a
box carry the same print), tracks of optical flow beside them, matches that stand still left out, a focal length that is
fixed until a part is known to be right, and a judgement of every seam (`seams`).

Reproducible: image ids are fixed before extraction, RANSAC and the mappers are seeded, and mapping runs on one thread.
Extraction and matching use several threads, which changes no result: each frame and each pair is computed by itself.
"""

import zlib  # noqa: F401, I001 (must precede pycolmap: its wheel's own zlib breaks those loaded later)

import pycolmap

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from handloom.estimators.sfm.matches import Matches, joined
from handloom.estimators.sfm.optical_tracks import enlargement
from handloom.estimators.sfm.sparse_model import (
    COLMAP_PIXEL_OFFSET,
    SparseModel,
    empty_model,
    from_reconstruction,
    observations_of,
)
from handloom.estimators.sfm.structure_from_motion import MIN_MODEL_FRAMES, SfmJob, judged
from handloom.runtime.images import read_grey

# SIFT features per frame, the largest first: mapping costs what they cost, and more make no pose better.
_MAX_FEATURES = 1500
# Lowe's ratio of the best match to the second best (IJCV 2004, section 7.1).
_MAX_RATIO = 0.8
_MAX_EPIPOLAR_ERROR_PX = 3.0
# A feature's descriptor sees this much beyond the mask.
_CROP_MARGIN_PX = 24
# A focal length that moved so far is worth mapping anew with.
_REMAP_SHARE = 0.15


def reconstruct(job: SfmJob) -> SparseModel:
    """The model whose largest right part has the most frames, adjusted.

    Quickly without tracks: features as they are, of a window of frames and some far apart, which close the chain of a
    view that comes back. Carefully with them: the object enlarged, the window alone, the tracks beside the features;
    with the other mapper too where the right part is smaller than it has to be.
    """
    pycolmap.logging.minloglevel = 2
    pycolmap.set_random_seed(job.seed)
    order = ["global", "incremental"] if job.settings.mapper == "global" else ["incremental", "global"]
    if job.tracks is None:
        return _refocused(job, *_matches(job, 1.0, job.write_pairs(far=True)), order[0])
    scale = enlargement([read_grey(job.mask_of(name)) > 0 for name in job.names])
    matches, features = _matches(job, scale, job.write_pairs(far=False))
    matches = joined(matches, Matches.load(job.tracks)).without_still()
    best = empty_model(features)
    for mapper in order:
        best = max(best, _refocused(job, matches, features, mapper), key=job.used_frames)
        if job.used_frames(best) >= job.settings.min_registered * job.used.sum():
            break
    return best


def _refocused(job: SfmJob, matches: Matches, features: Int[np.ndarray, " frames"], mapper: str) -> SparseModel:
    """The model of one mapper, made anew where the focal length came out far from what it was made with."""
    found = _mapped(job, matches, features, mapper, job.camera())
    moved = abs(found.intrinsics[0, 0] / job.camera()[0] - 1)
    if job.camera_params is None and found.registered.any() and moved > _REMAP_SHARE:
        camera = (float(found.intrinsics[0, 0]), *job.camera()[1:])
        found = max(found, _mapped(job, matches, features, mapper, camera), key=job.used_frames)
    return found


def _matches(job: SfmJob, scale: float, pairs: Path) -> tuple[Matches, Int[np.ndarray, " frames"]]:
    """Matched features of the object, looked at `scale` times as large, and how many features each frame has."""
    database = job.work_folder / "features.db"
    with _new_database(job, database, job.camera()) as opened:
        id_of = {image.name: image.image_id for image in opened.read_all_images()}
        pixels = []
        for name, (keypoints, descriptors) in zip(job.names, _features(job, scale), strict=True):
            opened.write_keypoints(id_of[name], keypoints)
            opened.write_descriptors(id_of[name], descriptors)
            pixels.append(keypoints[:, :2] - COLMAP_PIXEL_OFFSET)
    matching = pycolmap.FeatureMatchingOptions()
    matching.use_gpu = False
    matching.num_threads = job.threads
    matching.skip_geometric_verification = True
    matching.sift.max_ratio = _MAX_RATIO
    pairing = pycolmap.ImportedPairingOptions(match_list_path=pairs)
    pycolmap.match_image_pairs(database, matching_options=matching, pairing_options=pairing)
    row_of = {id_of[name]: row for row, name in enumerate(job.names)}
    matched = {}
    with pycolmap.Database.open(database) as opened:
        for pair, found in zip(*opened.read_all_matches(), strict=True):
            first, second = (row_of[each] for each in pycolmap.pair_id_to_image_pair(pair))
            matched[min(first, second), max(first, second)] = np.asarray(found, int)[:, :: 1 if first < second else -1]
    counts = np.array([len(each) for each in pixels], int)
    return Matches.of_frames(pixels, matched).without_still(), counts


def _new_database(job: SfmJob, path: Path, camera: Sequence[float]) -> "pycolmap.Database":
    path.unlink(missing_ok=True)
    with pycolmap.Database.open(path):
        pass  # opening it makes it
    options = pycolmap.ImageReaderOptions(camera_model=job.camera_model, camera_params=",".join(map(repr, camera)))
    pycolmap.import_images(
        path, job.frames_folder, pycolmap.CameraMode.SINGLE, image_names=list(job.names), options=options
    )
    return pycolmap.Database.open(path)


def _features(
    job: SfmJob, scale: float
) -> Iterator[tuple[Float[np.ndarray, "points 4"], "pycolmap.FeatureDescriptors"]]:
    """Features on the object of every frame."""
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.use_gpu = False
    extraction.num_threads = 1
    extraction.sift.max_num_features = _MAX_FEATURES
    extraction.sift.peak_threshold = job.settings.peak_threshold

    def features(name: str) -> tuple[Float[np.ndarray, "points 4"], "pycolmap.FeatureDescriptors"]:
        extractor = pycolmap.FeatureExtractor.create(extraction, pycolmap.Device.cpu)
        return object_features(extractor, read_grey(job.frames_folder / name), read_grey(job.mask_of(name)), scale)

    with ThreadPoolExecutor(job.threads) as threads:
        yield from threads.map(features, job.names)


def object_features(
    extractor: "pycolmap.FeatureExtractor",
    image: UInt8[np.ndarray, "height width"],
    mask: UInt8[np.ndarray, "h w"],
    scale: float = 1.0,
) -> tuple[Float[np.ndarray, "points 4"], "pycolmap.FeatureDescriptors"]:
    """Key points (x, y, scale, orientation; COLMAP's pixels) on the mask, with descriptors.

    Only the mask's surroundings are looked at, `scale` times as large: SIFT's cost is that of the area, and COLMAP
    drops what a mask excludes only after describing it.
    """
    kind = pycolmap.FeatureExtractorType.SIFT
    x, y, width, height = cv2.boundingRect(mask)
    if width == 0:
        return np.zeros((0, 4), np.float32), pycolmap.FeatureDescriptors(kind, np.zeros((0, 128), np.uint8))
    top, left = max(y - _CROP_MARGIN_PX, 0), max(x - _CROP_MARGIN_PX, 0)
    crop = image[top : y + height + _CROP_MARGIN_PX, left : x + width + _CROP_MARGIN_PX]
    size = (round(scale * crop.shape[1]), round(scale * crop.shape[0]))
    across, down = size[0] / crop.shape[1], size[1] / crop.shape[0]
    if scale != 1:
        crop = cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    found, described = extractor.extract(pycolmap.Bitmap.from_array(np.ascontiguousarray(crop)))
    keypoints = np.asarray(pycolmap.keypoints_to_matrix(found), np.float32).reshape(-1, 4)
    keypoints[:, :3] /= np.array([across, down, scale], np.float32)
    keypoints[:, :2] += np.array([left, top], np.float32)
    column, row = np.floor(keypoints[:, :2]).astype(int).T
    kept = mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(column, 0, mask.shape[1] - 1)] > 0
    return keypoints[kept], pycolmap.FeatureDescriptors(kind, np.ascontiguousarray(described.data[kept]))


def _mapped(
    job: SfmJob, matches: Matches, features: Int[np.ndarray, " frames"], mapper: str, camera: Sequence[float]
) -> SparseModel:
    """The model of one mapper whose largest right part has the most frames; empty where it makes none."""
    folder = job.work_folder / mapper
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "database.db"
    _verify(job, matches, database, camera)
    everywhere = mapper == "global"
    options: Any = pycolmap.GlobalPipelineOptions() if everywhere else pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1
    options.random_seed = job.seed
    options.min_num_matches = job.settings.min_matches
    options.min_model_size = MIN_MODEL_FRAMES
    if everywhere:
        adjustment = options.mapper.bundle_adjustment
        adjustment.refine_focal_length = adjustment.refine_extra_params = adjustment.refine_principal_point = False
    else:
        options.extract_colors = False
        options.ba_refine_focal_length = options.ba_refine_extra_params = options.ba_refine_principal_point = False
        options.mapper.abs_pose_min_num_inliers = job.settings.min_matches
        options.mapper.init_min_num_inliers = 2 * job.settings.min_matches
    mapping: Any = pycolmap.global_mapping if everywhere else pycolmap.incremental_mapping
    best = empty_model(features, mapper)
    for model in mapping(database, job.frames_folder, folder, options=options).values():
        whole = from_reconstruction(model, job.names, features, mapper)
        found = judged(replace(whole, observations=observations_of(model, job.names)), matches, job)
        if job.used_frames(found) > job.used_frames(best):
            best = _adjusted(job, model, found)
    return best


def _verify(job: SfmJob, matches: Matches, database: Path, camera: Sequence[float]) -> None:
    """Write the database of spots, matches and the two-view geometries that they agree on."""
    names, start = job.names, np.searchsorted(matches.frame, np.arange(len(job.names) + 1))
    pairs = database.with_name("pairs.txt")
    with _new_database(job, database, camera) as opened:
        id_of = {image.name: image.image_id for image in opened.read_all_images()}
        for row, name in enumerate(names):
            pixels = matches.pixel[start[row] : start[row + 1]] + COLMAP_PIXEL_OFFSET
            opened.write_keypoints(id_of[name], np.ascontiguousarray(pixels, np.float32))
        lines = []
        for (first, second), rows in matches.of_pairs().items():
            if len(rows) >= job.settings.min_matches:
                opened.write_matches(id_of[names[first]], id_of[names[second]], rows.astype(np.uint32))
                lines.append(f"{names[first]} {names[second]}\n")
    pairs.write_text("".join(lines), encoding="utf-8")
    verification = pycolmap.TwoViewGeometryOptions()
    verification.min_num_inliers = job.settings.min_matches
    verification.ransac.max_error = _MAX_EPIPOLAR_ERROR_PX
    verification.ransac.random_seed = job.seed
    pycolmap.verify_matches(database, pairs, options=verification)


def _adjusted(job: SfmJob, model: "pycolmap.Reconstruction", found: SparseModel) -> SparseModel:
    """The right part alone, after one bundle adjustment; of an unknown camera the focal length takes part.

    A focal length that leaves the bounds is not taken: few frames of a flat face do not tell it.
    """
    part = pycolmap.Reconstruction(model)
    row_of = {name: row for row, name in enumerate(job.names)}
    for image in [part.images[image_id] for image_id in part.reg_image_ids()]:
        if not found.registered[row_of[image.name]]:
            part.deregister_frame(image.frame_id)
    options = pycolmap.BundleAdjustmentOptions()
    options.ceres.solver_options.num_threads = 1
    options.refine_principal_point = False
    for free in (True, False) if job.camera_params is None else (False,):
        adjusted = pycolmap.Reconstruction(part)
        options.refine_focal_length = free
        options.refine_extra_params = free and job.camera_model == "SIMPLE_RADIAL"
        pycolmap.bundle_adjustment(adjusted, options)
        result = from_reconstruction(adjusted, job.names, found.features, found.mapper)
        low, high = job.focal_bounds_px
        if not free or low <= result.intrinsics[0, 0] <= high:
            break
    return replace(
        result,
        registered=result.registered & found.registered,
        observations=observations_of(adjusted, job.names),
        link_share=found.link_share,
        cuts=found.cuts,
    )
