"""The optional backend hloc, with HOLD's chain of steps: extract, pair, match, reconstruct.

Written for cvg/Hierarchical-Localization c13273b; its package is not on PyPI. The object's mask reaches hloc as HOLD's
does, by painting everything else white; features that fire on the white cut-out's edge are dropped from its file
afterwards, which HOLD does not do. Its mapping is incremental. HOLD's chain is colmap_pose_est of its
generator/src/colmap/colmap_utils.py.
"""

import zlib  # noqa: F401, I001 (must precede pycolmap, which hloc imports)

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from handloom.estimators.sfm.sparse_model import SparseModel, empty_model, from_reconstruction
from handloom.estimators.sfm.structure_from_motion import MIN_MODEL_FRAMES, SfmJob
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey, read_rgb

_INSTALL = (
    "pip install --no-deps git+https://github.com/cvg/Hierarchical-Localization, then pip install h5py tqdm plotly "
    "kornia; or set sfm.backend to pycolmap"
)
_WHITE = 255


def reconstruct(job: SfmJob) -> SparseModel:
    """The model that hloc's reconstruction keeps, its largest.

    Raises InputError when hloc is not installed or has no configuration of the given name.
    """
    extract, match, reconstruction, pycolmap = (
        _module(name) for name in ("hloc.extract_features", "hloc.match_features", "hloc.reconstruction", "pycolmap")
    )
    feature_conf = _configuration(extract.confs, "features", job.settings.hloc.features)
    match_conf = _configuration(match.confs, "matcher", job.settings.hloc.matcher)
    pycolmap.set_random_seed(job.seed)
    estimated = job.camera_params is None
    images = job.work_folder / "images_object"
    write_white_background(job, images)
    features = extract.main(
        feature_conf, images, image_list=list(job.names), feature_path=job.work_folder / "features.h5"
    )
    counts = keep_features_on_masks(features, job)
    pairs = job.write_pairs()
    matches = match.main(match_conf, pairs, features, matches=job.work_folder / "matches.h5")
    model = reconstruction.main(
        job.work_folder / "sfm",
        images,
        pairs,
        features,
        matches,
        camera_mode=pycolmap.CameraMode.SINGLE,
        image_list=list(job.names),
        image_options=job.camera_options(),
        mapper_options={
            "num_threads": 1,
            "min_num_matches": job.settings.min_matches,
            "min_model_size": MIN_MODEL_FRAMES,
            "ba_refine_focal_length": estimated,
            "ba_refine_extra_params": estimated,
            "random_seed": job.seed,
        },
    )
    if model is None:
        return empty_model(counts, "hloc")
    return from_reconstruction(model, job.names, counts, "hloc")


def write_white_background(job: SfmJob, folder: Path) -> None:
    """Frames with every pixel white that is not the object's."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in job.names:
        image = read_rgb(job.frames_folder / name).copy()
        image[read_grey(job.mask_of(name)) == 0] = _WHITE
        Image.fromarray(image).save(folder / name)


def keep_features_on_masks(features: Path, job: SfmJob) -> "np.ndarray":
    """Drop from hloc's feature file the keypoints outside the (shrunk) masks; returns how many are left per frame."""
    h5py = _module("h5py")
    counts = []
    with h5py.File(str(features), "r+") as file:
        for name in job.names:
            group = file[name]
            keypoints = np.asarray(group["keypoints"], np.float64)
            mask = read_grey(job.mask_of(name)) > 0
            column = np.clip(np.rint(keypoints[:, 0]).astype(int), 0, mask.shape[1] - 1)
            row = np.clip(np.rint(keypoints[:, 1]).astype(int), 0, mask.shape[0] - 1)
            kept = mask[row, column]
            for key in ("keypoints", "scores", "scales", "oris"):
                if key in group:
                    _replace(group, key, np.asarray(group[key])[kept])
            _replace(group, "descriptors", np.asarray(group["descriptors"])[:, kept])
            counts.append(int(kept.sum()))
    return np.array(counts, int)


def _replace(group: Any, key: str, values: np.ndarray) -> None:
    attributes = dict(group[key].attrs)
    del group[key]
    group.create_dataset(key, data=values).attrs.update(attributes)


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"sfm.backend: hloc needs the module {name}, which cannot be imported ({error}); {_INSTALL}"
        ) from error


def _configuration(configurations: Mapping[str, Any], setting: str, name: str) -> Any:
    if name not in configurations:
        raise InputError(
            f"sfm.hloc.{setting}: '{name}' is no configuration of hloc, expected one of {sorted(configurations)}"
        )
    return configurations[name]
