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
from PIL import Image

from handloom.datasets.video import extract_frames
from handloom.demo.people import random_person
from handloom.demo.renderer import project_from_world
from handloom.demo.third_person import CAMERA_FROM_WORLD, holding_hand, photograph_hands
from handloom.estimators.hands import HandSearchSettings
from handloom.estimators.hands.found import Answer, FoundHands
from handloom.estimators.hands.search import HandFrame
from handloom.estimators.hands.squares import Squares, box_squares, crops_of
from handloom.estimators.mediapipe import MediapipeSettings
from handloom.estimators.mediapipe.hands import MediaPipeHands, find_hands
from handloom.estimators.mediapipe.landmark_network import LandmarkNetwork
from handloom.estimators.mediapipe.package_weights import LANDMARKS, PALMS
from handloom.estimators.mediapipe.palm_detector import PalmDetector
from handloom.estimators.mediapipe.tflite_network import network_input
from handloom.runtime.config.sequences import FrameSettings
from handloom.runtime.seeds import numpy_generator
from rendered_pair import Filming, film

ROOT = Path(__file__).parents[3]
SIZE, COUNT = 320, 12
INTRINSICS = np.array([[400.0, 0.0, 160.0], [0.0, 400.0, 160.0], [0.0, 0.0, 1.0]])


def weights(file: str) -> Path:
    """The file where it lies; the test is skipped where it does not."""
    folder = Path(os.environ.get("HANDLOOM_MEDIAPIPE") or ROOT / "resources/mediapipe")
    path = folder / Path(file).name
    if not path.is_file():
        pytest.skip(f"no {path}: `snakemake --cores 1 fetch_mediapipe` fetches it")
    return path


class Hands(NamedTuple):
    """Rendered pictures of one hand each, right and left in turn, and the truth about them."""

    frames: list[HandFrame]
    joints_m: np.ndarray
    keypoints_px: np.ndarray

    @property
    def boxes_px(self) -> np.ndarray:
        return np.concatenate([self.keypoints_px.min(1), self.keypoints_px.max(1)], 1)

    def squares(self) -> Squares:
        """About the hands' boxes, of unknown direction."""
        return box_squares(self.boxes_px, MediaPipeHands.field_of_box)

    def errors(self, found: Answer, rows: np.ndarray) -> np.ndarray:
        """Mean error of the key points of some pictures as shares of the hand's extent."""
        distances = np.linalg.norm(found.keypoints_px - self.keypoints_px[rows], axis=-1).mean(1)
        return np.asarray(distances / np.ptp(self.keypoints_px[rows], axis=1).max(1))


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Hands:
    folder, rows = tmp_path_factory.mktemp("hands"), []
    for index in range(COUNT):
        generator = numpy_generator(7, "mediapipe", index)
        person = random_person(generator)
        place = [generator.uniform(120, 200), generator.uniform(120, 200), 1.0]
        palm = generator.uniform(0.35, 0.6) * (np.linalg.inv(INTRINSICS) @ np.array(place))
        hand = holding_hand(generator, person, seed=7, is_left=bool(index % 2), palm_m=palm, holds=False)
        picture, _ = photograph_hands(generator, [hand], INTRINSICS, SIZE)
        joints, path = hand.track.keypoints_m[0], folder / f"{index}.png"
        Image.fromarray(picture).save(path)
        rows.append((HandFrame(path), joints, project_from_world(joints, CAMERA_FROM_WORLD, INTRINSICS)[0]))
    frames, joints_m, pixels = zip(*rows, strict=True)
    return Hands(list(frames), np.stack(joints_m), np.stack(pixels))


@pytest.mark.parametrize(("file", "size", "kind"), [(LANDMARKS, 224, LandmarkNetwork), (PALMS, 192, PalmDetector)])
def test_our_networks_answer_as_litert_does(hands: Hands, file: str, size: int, kind: type) -> None:
    """To a ten-thousandth of each number, or to 1e-5 of the largest one."""
    path = weights(file)
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    squares = hands.squares()
    crops = np.concatenate(
        [crops_of(frame.picture(), squares.at(np.array([row])), size) for row, frame in enumerate(hands.frames)]
    )
    with torch.no_grad():
        ours = kind.of(path).graph(network_input(torch.from_numpy(crops)))
    for row, crop in enumerate(crops):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], crop[None].astype(np.float32) / 255)
        interpreter.invoke()
        for answer, detail in zip(ours, interpreter.get_output_details(), strict=True):
            theirs = interpreter.get_tensor(detail["index"])[0]
            largest = float(np.abs(theirs).max())
            np.testing.assert_allclose(answer[row], theirs, atol=1e-5 * max(largest, 1.0), rtol=1e-4)


def real_networks() -> MediaPipeHands:
    return MediaPipeHands(LandmarkNetwork.of(weights(LANDMARKS)), PalmDetector.of(weights(PALMS)))


def test_rendered_hands_are_found_in_boxes(hands: Hands) -> None:
    """Both sides, any direction: with random weights or a wrong order of joints nothing here holds."""
    found = real_networks().answer(hands.frames, hands.squares(), "right")
    sure = found.presence > 0.5
    assert sure.mean() >= 0.75
    assert np.median(hands.errors(found, np.arange(COUNT))[sure]) < 0.12
    truth, joints = torch.from_numpy(hands.joints_m), torch.from_numpy(found.joints)
    rotation, shift, scale = roma.rigid_points_registration(joints, truth, compute_scaling=True)
    aligned = scale[:, None, None] * joints @ rotation.mT + shift[:, None]
    errors_mm = 1000 * torch.linalg.vector_norm(aligned - truth, dim=-1).mean(1)
    assert errors_mm[torch.from_numpy(sure)].median() < 25.0
    # No alignment needed: a rotation about the camera's axis in the wrong sense would be large here.
    angles = [roma.rotmat_geodesic_distance(each, torch.eye(3).double()) for each in rotation[sure]]
    assert torch.stack(angles).median() < 0.5


def test_rendered_hands_are_found_by_palms(hands: Hands) -> None:
    """One picture at a time, since these are no video."""
    network = real_networks()
    looked = [network.search([frame], "right" if row % 2 == 0 else "left") for row, frame in enumerate(hands.frames)]
    rows = np.array([row for row, (found, _) in enumerate(looked) if len(found)])
    assert len(rows) >= 0.6 * COUNT
    errors = [hands.errors(looked[row][1], np.array([row]))[0] for row in rows.tolist()]
    assert np.median(errors) < 0.12
    assert network.palms is not None
    assert len(network.palms.detect(np.full((240, 320, 3), 90, np.uint8)).score) == 0


@pytest.mark.slow
@pytest.mark.parametrize("boxed", [False, True])
def test_the_hand_of_a_rendered_video_is_found(tmp_path: Path, boxed: bool) -> None:
    filmed = film(Filming(seconds=0.4, left_fps=20.0, right_fps=20.0, width_px=320, height_px=240), tmp_path, seed=11)
    keypoints, joints, boxes = filmed.keypoints_left_px, filmed.joints_left_m, None
    if boxed:
        boxes = tmp_path / "boxes.csv"
        rows = np.concatenate([np.arange(len(keypoints))[:, None], keypoints.min(1), keypoints.max(1) + 1], 1)
        boxes.write_text(
            "\n".join(["frame,x0,y0,x1,y1", *(f"{row[0]:.0f},{','.join(map(str, row[1:]))}" for row in rows)])
        )
    frames = tmp_path / "frames", tmp_path / "frames.json"
    extract_frames(tmp_path / "left.mp4", FrameSettings(kind="video"), *frames)
    find_hands(
        *(*frames, weights(LANDMARKS), tmp_path / "hands.npz"),
        **{"network": MediapipeSettings(), "search": HandSearchSettings(least_hands=0.9), "side": "right"},
        **{"where": "left", "detector": weights(PALMS), "boxes": boxes, "field_of_view_deg": 65.0},
    )
    found = FoundHands.load(tmp_path / "hands.npz")
    assert found.found.all()
    size = np.ptp(keypoints, axis=1).max(1).mean()
    assert np.linalg.norm(found.keypoints_px - keypoints, axis=-1).mean() < 0.15 * size
    assert np.linalg.norm(found.joints_cam - (joints - joints[:, :1]), axis=-1).mean() < 0.045


def test_the_real_network_has_the_known_weights() -> None:
    network = LandmarkNetwork.of(weights(LANDMARKS))
    assert sum(weight.numel() for weight in network.parameters()) == 2_715_680
    assert sum(weight.numel() for weight in PalmDetector.of(weights(PALMS)).parameters()) == 1_136_248
