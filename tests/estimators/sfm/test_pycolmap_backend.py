"""Features on the object's mask: where they are, and that the crop they are taken from changes nothing."""

import numpy as np

from handloom.estimators.sfm.pycolmap_backend import object_features, pycolmap


def blobs(*centres: tuple[float, float]) -> np.ndarray:
    row, column = np.mgrid[0:120, 0:160]
    image = sum(np.exp(-((column - x) ** 2 + (row - y) ** 2) / 18) for x, y in centres)
    return (40 + 180 * np.clip(image, 0, 1)).astype(np.uint8)


def found(mask: np.ndarray, *centres: tuple[float, float]) -> np.ndarray:
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu = False
    extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)
    keypoints, descriptors = object_features(extractor, blobs(*centres), mask)
    assert descriptors.data.shape == (len(keypoints), 128)
    return keypoints


def test_features_lie_on_the_mask_in_colmaps_pixels() -> None:
    """A blob at pixel (100, 70) of handloom is at (100.5, 70.5) in COLMAP, wherever the crop begins."""
    mask = np.zeros((120, 160), np.uint8)
    mask[55:90, 80:120] = 255
    keypoints = found(mask, (100, 70), (30, 30))
    assert len(keypoints) >= 1
    np.testing.assert_allclose(keypoints[:, :2], [[100.5, 70.5]] * len(keypoints), atol=0.15)
    everywhere = found(np.full_like(mask, 255), (100, 70), (30, 30))
    assert np.abs(everywhere[:, :2] - [30.5, 30.5]).max(1).min() < 0.15


def test_an_empty_mask_gives_no_features() -> None:
    assert len(found(np.zeros((120, 160), np.uint8), (100, 70))) == 0
