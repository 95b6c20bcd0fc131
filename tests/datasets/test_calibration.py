"""Calibrations as tools write them become one pinhole camera; what is none is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from handloom.datasets.calibration import read_calibration
from handloom.runtime.errors import InputError

K = [[900.0, 0.0, 641.5], [0.0, 905.0, 350.0], [0.0, 0.0, 1.0]]
LENS = [-0.3, 0.1, 0.001, -0.002, 0.0]
OPENCV = """%YAML:1.0
---
image_width: 1280
image_height: 720
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 900., 0., 6.415e+02, 0., 905.,
       350., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -0.3, 0.1, 0.001, -0.002, 0. ]
"""
ROS = """image_width: 1280
image_height: 720
camera_name: left
camera_matrix: {rows: 3, cols: 3, data: [900, 0, 641.5, 0, 905, 350, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.3, 0.1, 0.001, -0.002, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
"""
KALIBR = """cam0:
  camera_model: pinhole
  intrinsics: [900, 905, 641.5, 350]
  distortion_model: radtan
  distortion_coeffs: [-0.3, 0.1, 0.001, -0.002]
  resolution: [1280, 720]
"""
PLAIN = json.dumps({"fx": 900, "fy": 905, "cx": 641.5, "cy": 350, "width": 1280, "height": 720, "dist": LENS})
NESTED = json.dumps({"calibration": {"K": K, "distCoeffs": [LENS], "image_size": [1280, 720]}})


def written(folder: Path, text: str) -> Path:
    path = folder / "camera.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", [OPENCV, ROS, KALIBR, PLAIN, NESTED])
def test_each_tools_file_is_read(tmp_path: Path, text: str) -> None:
    found = read_calibration(written(tmp_path, text))
    np.testing.assert_allclose(found.intrinsics, K)
    assert found.size_px == (1280, 720)
    assert found.distortion is not None
    np.testing.assert_allclose(found.distortion[:4], LENS[:4])


def test_the_camera_of_smaller_pictures_is_scaled_and_a_lens_of_zeros_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"K": K, "dist": [0] * 5, "image_width": 1280, "image_height": 720}))
    matrix, lens = read_calibration(path).of_pictures(640, 360)
    np.testing.assert_allclose(matrix, [[450, 0, 320.5], [0, 452.5, 174.75], [0, 0, 1]])
    assert lens is None
    with pytest.raises(InputError, match="1280 x 720 pixels, but the frames have 640 x 640, another shape"):
        read_calibration(path).of_pictures(640, 640)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "holds 0 cameras"),
        (json.dumps({"cam0": json.loads(PLAIN), "cam1": json.loads(PLAIN)}), "holds 2 cameras"),
        (json.dumps({"K": K}), "does not tell the size"),
        (json.dumps({"K": np.zeros((3, 3)).tolist(), "resolution": [1280, 720]}), "which is none"),
        (json.dumps({"K": [[9, 0, 6], [0, 9, 3], [0, 0, 1]], "resolution": [1280, 720]}), "which is none"),
        (json.dumps({"K": [[900, 0, "nan"], [0, 900, 3], [0, 0, 1]], "resolution": [1280, 720]}), "which is none"),
        (KALIBR.replace("radtan", "equidistant"), "lens model equidistant"),
        (PLAIN.replace(", 0.0]", "]").replace("-0.002", "-0.002, 0, 0"), "6 coefficients"),
        ("a: [1, 2", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("a: &x [1]\nb: [*x, *x]", "anchors or aliases"),
    ],
)
def test_what_is_no_camera_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_calibration(written(tmp_path, text))


def test_a_calibration_is_a_small_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_calibration(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="has 300,000 bytes, but at most 200,000 bytes were expected of a calibration"):
        read_calibration(written(tmp_path, " " * 300_000))
