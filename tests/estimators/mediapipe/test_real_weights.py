"""MediaPipe's own weights, where they are: against LiteRT, and on rendered hands whose joints are known.

They are looked for in the folder that HANDLOOM_MEDIAPIPE names, else in resources/mediapipe.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import roma
import torch

from handloom.demo.appearance import random_person
from handloom.demo.renderer import project
from handloom.demo.third_person import CAMERA_FROM_WORLD, photograph_hands, pose_hand
from handloom.estimators.mediapipe.hand_search import UprightHands, hands_in_boxes, hands_in_squares, refined
from handloom.estimators.mediapipe.landmark_network import LandmarkNetwork, network_input
from handloom.estimators.mediapipe.package_weights import LANDMARKS, PALMS, PackageFile
from handloom.estimators.mediapipe.palm_detector import PalmDetector
from handloom.estimators.mediapipe.upright_squares import UprightSquares, square_crops
from handloom.runtime.seeds import numpy_generator

ROOT = Path(__file__).parents[3]
SIZE, COUNT = 320, 12
INTRINSICS = np.array([[400.0, 0.0, 160.0], [0.0, 400.0, 160.0], [0.0, 0.0, 1.0]])


def weights(file: PackageFile) -> Path:
    """The file where it lies; the test is skipped where it does not."""
    folder = Path(os.environ.get("HANDLOOM_MEDIAPIPE") or ROOT / "resources/mediapipe")
    path = folder / Path(file.name).name
    if not path.is_file():
        pytest.skip(f"no {path}: `snakemake --cores 1 fetch_mediapipe` fetches it")
    return path


class Hands(NamedTuple):
    """Rendered pictures of one hand each, right and left in turn, and the truth about them."""

    pictures: list[np.ndarray]
    joints_m: np.ndarray
    keypoints_px: np.ndarray

    @property
    def extent_px(self) -> np.ndarray:
        return np.ptp(self.keypoints_px, axis=1).max(1)

    def chosen(self, rows: list[int]) -> "Hands":
        return Hands([self.pictures[row] for row in rows], self.joints_m[rows], self.keypoints_px[rows])

    def boxes(self) -> UprightSquares:
        """Squares of 1.6 times the hands' boxes, of unknown direction."""
        centre = (self.keypoints_px.min(1) + self.keypoints_px.max(1)) / 2
        side = torch.from_numpy(1.6 * self.extent_px)
        return UprightSquares(torch.from_numpy(centre), side, torch.zeros_like(side))

    def errors(self, found: UprightHands) -> np.ndarray:
        """Mean error of the key points as shares of the hand's extent."""
        distances = np.linalg.norm(found.keypoints_px.numpy() - self.keypoints_px, axis=-1)
        return np.asarray(distances.mean(1) / self.extent_px)


@pytest.fixture(scope="module")
def hands() -> Hands:
    rows = []
    for index in range(COUNT):
        generator = numpy_generator(7, "mediapipe", index)
        person = random_person(generator)
        place = [generator.uniform(120, 200), generator.uniform(120, 200), 1.0]
        palm = generator.uniform(0.35, 0.6) * (np.linalg.inv(INTRINSICS) @ np.array(place))
        hand = pose_hand(generator, person, seed=7, is_left=bool(index % 2), palm_m=palm, holds=False)
        picture, _ = photograph_hands(generator, [hand], INTRINSICS, SIZE)
        joints = hand.track.keypoints_m[0]
        rows.append((picture, joints, project(joints, CAMERA_FROM_WORLD, INTRINSICS)[0]))
    pictures, joints_m, pixels = zip(*rows, strict=True)
    return Hands(list(pictures), np.stack(joints_m), np.stack(pixels))


@pytest.mark.parametrize(("file", "size", "kind"), [(LANDMARKS, 224, LandmarkNetwork), (PALMS, 192, PalmDetector)])
def test_our_networks_answer_as_litert_does(hands: Hands, file: PackageFile, size: int, kind: type) -> None:
    """To a ten-thousandth of each number, or to 1e-5 of the largest one."""
    path = weights(file)
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    boxes = hands.boxes()
    crops = np.concatenate(
        [square_crops(picture, boxes.chosen(torch.tensor([row])), size) for row, picture in enumerate(hands.pictures)]
    )
    with torch.no_grad():
        ours = kind.of(path).graph(network_input(crops))
    for row, crop in enumerate(crops):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], crop[None].astype(np.float32) / 255)
        interpreter.invoke()
        for answer, detail in zip(ours, interpreter.get_output_details(), strict=True):
            theirs = interpreter.get_tensor(detail["index"])[0]
            largest = float(np.abs(theirs).max())
            np.testing.assert_allclose(answer[row], theirs, atol=1e-5 * max(largest, 1.0), rtol=1e-4)


def test_rendered_hands_are_found_in_boxes(hands: Hands) -> None:
    """Both sides, any direction: with random weights or a wrong order of joints nothing here holds."""
    found = hands_in_boxes(LandmarkNetwork.of(weights(LANDMARKS)), hands.pictures, hands.boxes())
    sure = (found.presence > 0.5).numpy()
    assert sure.mean() >= 0.75
    assert np.median(hands.errors(found)[sure]) < 0.12
    truth = torch.from_numpy(hands.joints_m)
    rotation, shift, scale = roma.rigid_points_registration(found.joints_m, truth, compute_scaling=True)
    aligned = scale[:, None, None] * found.joints_m @ rotation.mT + shift[:, None]
    errors_mm = 1000 * torch.linalg.vector_norm(aligned - truth, dim=-1).mean(1)
    assert errors_mm[torch.from_numpy(sure)].median() < 25.0
    # No alignment needed: a rotation about the camera's axis in the wrong sense would be large here.
    angles = [roma.rotmat_geodesic_distance(each, torch.eye(3).double()) for each in rotation[sure]]
    assert torch.stack(angles).median() < 0.5


def test_rendered_hands_are_found_by_palms(hands: Hands) -> None:
    network, palms = LandmarkNetwork.of(weights(LANDMARKS)), PalmDetector.of(weights(PALMS))
    seen = [palms.detect(picture) for picture in hands.pictures]
    rows = [row for row, palm in enumerate(seen) if len(palm.score)]
    first = [seen[row].squares().chosen(torch.tensor([0])) for row in rows]
    squares = UprightSquares(*(torch.cat(values) for values in zip(*first, strict=True)))
    shown = hands.chosen(rows)
    found = refined(network, shown.pictures, hands_in_squares(network, shown.pictures, squares), 1)
    sure = (found.presence > 0.5).numpy()
    assert sure.sum() >= 0.6 * len(hands.pictures)
    assert np.median(shown.errors(found)[sure]) < 0.12
    assert len(palms.detect(np.full((240, 320, 3), 90, np.uint8)).score) == 0


def test_the_real_network_has_the_known_weights() -> None:
    network = LandmarkNetwork.of(weights(LANDMARKS))
    assert sum(weight.numel() for weight in network.parameters()) == 2_715_680
    assert sum(weight.numel() for weight in PalmDetector.of(weights(PALMS)).parameters()) == 1_136_248
