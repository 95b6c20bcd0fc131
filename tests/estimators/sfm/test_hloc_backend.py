"""The sequence of calls to hloc, against a stand-in for the package that records them."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handloom.estimators.sfm.hloc_backend import reconstruct
from handloom.estimators.sfm.structure_from_motion import SfmJob
from handloom.runtime.config.hold_stages import HlocSettings, SfmSettings
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_rgb

NAMES = ["0000.png", "0001.png", "0002.png"]


class Dataset:
    """As much of an h5py data set as is read here."""

    def __init__(self, values: np.ndarray, attributes: dict[str, float] | None = None) -> None:
        self.values, self.attrs = values, dict(attributes or {})

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype)


class Group(dict):
    """As much of an h5py group."""

    def create_dataset(self, key: str, data: np.ndarray) -> Dataset:
        self[key] = Dataset(data)
        return self[key]


class H5File:
    """A context that hands out the same groups whoever opens it."""

    def __init__(self, groups: dict[str, Group]) -> None:
        self.groups = groups

    def __enter__(self) -> dict[str, Group]:
        return self.groups

    def __exit__(self, *_: object) -> None:
        return


@pytest.fixture
def job(tmp_path: Path) -> SfmJob:
    """Three grey frames whose object is the left half."""
    for folder in ("frames", "masks"):
        (tmp_path / folder).mkdir()
    mask = np.zeros((40, 60), np.uint8)
    mask[:, :30] = 255
    for name in NAMES:
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(tmp_path / "frames" / name)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    return SfmJob(
        frames_folder=tmp_path / "frames",
        masks_folder=tmp_path / "masks",
        work_folder=tmp_path / "work",
        names=tuple(NAMES),
        camera_model="PINHOLE",
        camera_params=(80.0, 81.0, 30.0, 20.0),
        settings=SfmSettings(backend="hloc"),
        seed=3,
        threads=1,
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Puts stand-ins for hloc, h5py and pycolmap into sys.modules; returns the list of recorded calls."""
    recorded: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    groups = {
        name: Group(
            keypoints=Dataset(np.array([[5.0, 5.0], [45.0, 5.0], [29.4, 39.0]]), {"uncertainty": 1.0}),
            descriptors=Dataset(np.arange(12.0).reshape(4, 3)),
            scores=Dataset(np.array([0.1, 0.2, 0.3])),
        )
        for name in NAMES
    }

    def module(name: str, **attributes: Any) -> None:
        made = ModuleType(name)
        vars(made).update(attributes)
        monkeypatch.setitem(sys.modules, name, made)

    def main(name: str, result: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            recorded.append((name, arguments, options))
            return result(options) if callable(result) else result

        return call

    module("hloc")
    extract = main("extract", lambda options: options["feature_path"])
    module("hloc.extract_features", confs={"sift": {"output": "feats-sift"}}, main=extract)
    match = main("match", lambda options: options["matches"])
    module("hloc.match_features", confs={"NN-ratio": {"output": "matches-NN"}}, main=match)
    module("hloc.reconstruction", main=main("reconstruct", None))
    module("h5py", File=lambda path, mode: H5File(groups), groups=groups)
    module("pycolmap", set_random_seed=main("seed", None), CameraMode=SimpleNamespace(SINGLE="single"))
    return recorded


def test_hloc_is_called_as_its_interface_says(job: SfmJob, calls: list) -> None:
    model = reconstruct(job)
    assert [name for name, _, _ in calls] == ["seed", "extract", "match", "reconstruct"]
    work = job.work_folder
    images = work / "images_object"
    _, arguments, options = calls[1]
    assert arguments == ({"output": "feats-sift"}, images)
    assert options == {"image_list": NAMES, "feature_path": work / "features.h5"}
    _, arguments, options = calls[2]
    assert arguments == ({"output": "matches-NN"}, work / "pairs.txt", work / "features.h5")
    assert options == {"matches": work / "matches.h5"}
    _, arguments, options = calls[3]
    assert arguments == (work / "sfm", images, work / "pairs.txt", work / "features.h5", work / "matches.h5")
    assert options["camera_mode"] == "single"
    assert options["image_options"]["camera_params"] == "80.0,81.0,30.0,20.0"
    assert options["mapper_options"]["ba_refine_focal_length"] is False
    assert (work / "pairs.txt").read_text().splitlines() == [
        "0000.png 0001.png",
        "0000.png 0002.png",
        "0001.png 0002.png",
    ]
    assert model.registered.tolist() == [False] * 3


def test_hloc_sees_the_object_on_white_and_loses_features_beside_it(job: SfmJob, calls: list) -> None:
    model = reconstruct(job)
    image = read_rgb(job.work_folder / "images_object" / "0001.png")
    assert (image[:, :30] == 90).all()
    assert (image[:, 30:] == 255).all()
    assert model.features.tolist() == [2, 2, 2]
    group = sys.modules["h5py"].groups["0002.png"]
    np.testing.assert_array_equal(group["descriptors"].values, np.arange(12.0).reshape(4, 3)[:, [0, 2]])
    np.testing.assert_array_equal(group["scores"].values, [0.1, 0.3])
    assert group["keypoints"].attrs == {"uncertainty": 1.0}


def test_missing_hloc_says_how_to_install_it(job: SfmJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hloc", None)
    with pytest.raises(InputError, match=r"hloc needs the module hloc\.extract_features.*pip install --no-deps"):
        reconstruct(job)


def test_unknown_configuration_lists_the_known(job: SfmJob, calls: list) -> None:
    settings = job.settings.model_copy(update={"hloc": HlocSettings(features="superpoint_aachen")})
    with pytest.raises(InputError, match=r"sfm\.hloc\.features: 'superpoint_aachen'.*\['sift'\]"):
        reconstruct(job.model_copy(update={"settings": settings}))
