"""The rendered HOLD sequences: a hand that really holds an object, in HO3D-v3's layout, seen nearly all around."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from handloom.datasets.ho3d import read_object_model, read_sequence
from handloom.demo import hold_sequences
from handloom.demo.held_objects import distance_m, render_held_object, unknown_object
from handloom.demo.hold_performance import PERFORMANCES, HoldGrasp, _inner_vertices, optimised_grasp, perform
from handloom.demo.hold_sequences import render_hold_sequence
from handloom.demo.people import SHAPES, pose_right_hand, random_person
from handloom.demo.plan import HELD_OBJECTS
from handloom.demo.renderer import Topology
from handloom.hand.anatomy import LOWER_RAD, UPPER_RAD
from handloom.hand.joints import MIRROR, SNAP_FROM_MANO21
from handloom.hand.models import open_hand, open_hand_anatomy
from handloom.runtime.config.sequences import DemoSequencesSettings
from handloom.runtime.images import read_rgb
from handloom.runtime.pickles import load_pickle

KINDS = {sequence: kind for sequence, (_, kind) in HELD_OBJECTS.items()}
SMALL = DemoSequencesSettings(seed=3, frames=2, width_px=160, height_px=120)


@pytest.fixture(scope="module")
def grasps() -> dict[str, HoldGrasp]:
    return {
        sequence: optimised_grasp(KINDS[sequence], performance, np.zeros(SHAPES))
        for sequence, performance in PERFORMANCES.items()
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny sequence below a data set's root."""
    root = tmp_path_factory.mktemp("HO3D_v3")
    render_hold_sequence(SMALL, "jug1", root / "train" / "jug1")
    render_held_object(SMALL, "jug1", root / "models" / "jug1")
    return root


@pytest.mark.parametrize("kind", KINDS.values())
def test_the_mesh_is_the_closed_outward_surface_of_its_signed_distance(kind: str) -> None:
    thing = unknown_object(np.random.default_rng(0), kind)
    assert distance_m(kind, torch.from_numpy(thing.vertices_m)).abs().max() < 0.0008
    faces = thing.topology.faces
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    a, b, c = (thing.vertices_m[faces[:, corner]] for corner in range(3))
    assert 100e-6 < (a * np.cross(b, c)).sum() / 6 < 600e-6
    longest = np.ptp(thing.vertices_m, axis=0).max()
    assert 0.08 < longest < (0.18 if kind == "parcel" else 0.15)


def test_the_jug_is_not_convex_and_unlike_the_carton() -> None:
    """A straight line from the handle to the body leaves the jug; none between two points leaves the carton."""
    through_the_handle = torch.tensor([[0.062, 0.0, 0.0], [0.045, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert (distance_m("jug", through_the_handle) < 0).tolist() == [True, False, True]
    vertices = torch.from_numpy(unknown_object(np.random.default_rng(0), "carton").vertices_m)
    pairs = torch.randint(len(vertices), (2, 4000), generator=torch.Generator().manual_seed(0))
    assert distance_m("carton", vertices[pairs].mean(0)).max() < 1e-4


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_triangle_has_its_own_place_in_a_detailed_texture(kind: str) -> None:
    """Charts that overlapped would paint two places alike, and structure from motion would confuse them."""
    thing = unknown_object(np.random.default_rng(0), kind)
    size = thing.texture.shape[0]
    centre = (thing.texture_uv.mean(1) * size).astype(int)
    assert len(np.unique(centre, axis=0)) > 0.93 * len(centre)
    assert (thing.texture_uv > 0).all()
    assert (thing.texture_uv < 1).all()
    brightness = thing.texture[centre[:, 1], centre[:, 0]].mean(1)
    assert brightness.std() > 0.08


@pytest.mark.parametrize("sequence", PERFORMANCES)
def test_fingers_touch_the_object_and_sink_in_little(sequence: str, grasps: dict[str, HoldGrasp]) -> None:
    grasp = grasps[sequence]
    fingers = open_hand_anatomy().pose_from_angles(torch.from_numpy(grasp.angles_rad).float()).numpy()
    vertices, _ = pose_right_hand(fingers[None], np.zeros(SHAPES))
    points = torch.from_numpy((vertices[0] - grasp.centre_m) @ grasp.wrist_from_object)
    distance = distance_m(KINDS[sequence], points)
    pads, _ = _inner_vertices()
    contact_m = np.abs([distance[pad].topk(12, largest=False).values.mean() for pad in pads])
    assert (np.sort(contact_m)[:4] < 0.002).all(), "at least four fingers touch"
    assert contact_m[0] < 0.002, "the thumb does"
    assert distance.min() > -0.0035
    assert (grasp.angles_rad >= LOWER_RAD.numpy() - 1e-5).all()
    assert (grasp.angles_rad <= UPPER_RAD.numpy() + 1e-5).all()
    np.testing.assert_allclose(grasp.wrist_from_object @ grasp.wrist_from_object.T, np.eye(3), atol=1e-5)


@pytest.mark.parametrize(
    ("sequence", "least_seen"), [("jug1", 0.85), ("carton1", 0.80), ("lamp1", 0.80), ("mug1", 0.75)]
)
def test_turning_shows_the_object_nearly_all_around_and_never_jumps(
    sequence: str, least_seen: float, grasps: dict[str, HoldGrasp]
) -> None:
    performance = PERFORMANCES[sequence]
    generator = np.random.default_rng(1)
    person = random_person(generator)
    motion = perform(generator, 60, performance, grasps[sequence], person)
    thing = unknown_object(generator, KINDS[sequence])
    seen = np.zeros(len(thing.vertices_m), int)
    for frame in range(0, 60, 2):
        vertices = thing.vertices_m @ motion.object_rotation[frame].T + motion.object_translation_m[frame]
        seen += _seen(vertices, thing.topology, motion.hand.vertices_m[frame])
    assert (seen >= 2).mean() > least_seen
    steps = Rotation.from_matrix(motion.object_rotation[1:] @ motion.object_rotation[:-1].transpose(0, 2, 1))
    assert np.degrees(steps.magnitude()).max() < 9.0
    assert np.linalg.norm(np.diff(motion.object_translation_m, axis=0), axis=1).max() < 0.006
    assert np.linalg.norm(np.diff(motion.hand.keypoints_m, axis=0), axis=-1).max() < 0.04


def _seen(vertices: np.ndarray, topology: Topology, hand: np.ndarray) -> np.ndarray:
    """Vertices that look at the camera in the origin, with neither object nor hand before them."""
    normals = topology.normals(vertices)
    to_camera = -vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    scene = EmbreeScene()
    TriangleMesh(scene, vertices.astype(np.float32), topology.faces)
    TriangleMesh(scene, hand[: len(open_hand().v_template)], open_hand().faces.numpy().astype(np.int32))
    origins = (vertices + 0.001 * normals).astype(np.float32)
    free = np.asarray(scene.run(origins, to_camera.astype(np.float32), query="OCCLUDED")) != 0
    return free & ((normals * to_camera).sum(1) > 0.15)


def test_files_and_annotation_keys_are_the_originals(root: Path) -> None:
    for frame in range(2):
        meta = load_pickle(root / "train" / "jug1" / "meta" / f"{frame:04d}.pkl")
        shapes = {key: np.shape(value) for key, value in meta.items() if isinstance(value, np.ndarray)}
        assert shapes == {
            "handPose": (48,),
            "handBeta": (10,),
            "handTrans": (3,),
            "handJoints3D": (21, 3),
            "objRot": (3, 1),
            "objTrans": (3,),
            "objCorners3D": (8, 3),
            "objCorners3DRest": (8, 3),
            "camMat": (3, 3),
        }
        assert meta["objName"] == "jug1"
        assert isinstance(meta["objLabel"], int)
        assert (meta["handJoints3D"][:, 2] < 0).all(), "OpenGL: what is seen lies at negative z"
        assert read_rgb(root / "train" / "jug1" / "rgb" / f"{frame:04d}.jpg").shape == (120, 160, 3)
    assert (root / "models" / "jug1" / "texture_map.png").is_file()


def test_annotated_pose_object_and_mask_agree(root: Path) -> None:
    """The annotation, read by the reader of the real data set, lands on the pixels of the segmentation."""
    sequence = read_sequence(root / "train" / "jug1")
    hands = sequence.skinned_hands(open_hand())
    np.testing.assert_allclose(hands.keypoints_m.numpy(), sequence.hand_joints_cam_m, atol=2e-5)
    thing = sequence.object_model()
    assert sequence.intrinsics is not None
    for frame in range(2):
        seg = read_rgb(root / "train" / "jug1" / "seg" / f"{frame:04d}.png")
        assert {tuple(colour) for colour in seg.reshape(-1, 3)} == {(0, 0, 0), (0, 0, 255), (0, 255, 0)}
        # A pixel more: an edge covers less than half of some pixels that it touches.
        covered = cv2.dilate((seg > 0).any(-1).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        pose = sequence.cam_from_object[frame]
        object_share = _share(thing.vertices_m @ pose[:3, :3].T + pose[:3, 3], sequence.intrinsics, covered)
        assert object_share > 0.995
        assert _share(hands.vertices_m[frame].double().numpy(), sequence.intrinsics, covered) > 0.995
        # What is green must be object: its pixels lie near projected vertices of it.
        pixels = _pixels(thing.vertices_m @ pose[:3, :3].T + pose[:3, 3], sequence.intrinsics)
        row, column = np.nonzero(seg[..., 1] > 0)
        nearest = np.abs(pixels[None] - np.stack([column, row], 1)[:, None]).max(-1).min(1)
        assert nearest.max() < 2.5


def _pixels(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    pixels = points @ intrinsics.T
    return pixels[:, :2] / pixels[:, 2:]


def _share(points: np.ndarray, intrinsics: np.ndarray, covered: np.ndarray) -> float:
    column, row = np.rint(_pixels(points, intrinsics)).astype(int).T
    inside = (row >= 0) & (column >= 0) & (row < covered.shape[0]) & (column < covered.shape[1])
    return float(covered[row[inside], column[inside]].mean())


def test_frames_in_any_order_have_the_same_bytes(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Protects any number of workers, of whom one takes this frame and another that; the pool is tested with RHD."""

    def backwards(render: Callable[[int], None], frames: Sequence[int], **_: object) -> None:
        for frame in reversed(frames):
            render(frame)

    monkeypatch.setattr(hold_sequences, "render_all", backwards)
    render_hold_sequence(SMALL, "jug1", tmp_path / "train" / "jug1")
    files = sorted(path.relative_to(root) for path in (root / "train").rglob("*.*"))
    assert len(files) == 3 * 2
    assert all((root / path).read_bytes() == (tmp_path / path).read_bytes() for path in files)


def test_the_model_has_the_texture_of_its_corners(root: Path) -> None:
    model = read_object_model(root / "models", "jug1")
    rows = (root / "models" / "jug1" / "textured_simple.obj").read_text().splitlines()
    assert sum(row.startswith("vt ") for row in rows) == 3 * len(model.faces)
    assert "map_Kd texture_map.png" in (root / "models" / "jug1" / "textured_simple.obj.mtl").read_text()


def test_joints_are_in_manos_order_with_the_tips_last(root: Path) -> None:
    meta = load_pickle(root / "train" / "jug1" / "meta" / "0000.pkl")
    snap = meta["handJoints3D"][list(SNAP_FROM_MANO21)]
    bones = np.linalg.norm(np.diff(snap[1:].reshape(5, 4, 3), axis=1), axis=-1)
    assert (bones < 0.06).all()
    assert (bones > 0.010).all()


def test_a_left_hand_holds_the_object_as_a_right_one_in_a_mirror(root: Path, tmp_path: Path) -> None:
    """The object itself is no mirror image; HO3D's reader finds the left hand where its joints are annotated."""
    folder = tmp_path / "HO3D_v3/train/jug1"
    render_hold_sequence(SMALL, "jug1", folder, hands=("left",))
    right, left = read_sequence(root / "train/jug1"), read_sequence(folder)
    flip = np.array(MIRROR)
    np.testing.assert_allclose(left.hand_joints_cam_m, right.hand_joints_cam_m * flip, atol=1e-6)
    posed = left.skinned_hands(open_hand("left")).keypoints_m.numpy()
    np.testing.assert_allclose(posed, left.hand_joints_cam_m, atol=1e-4)
    turn, shift = left.cam_from_object[:, :3, :3], left.cam_from_object[:, :3, 3]
    assert np.linalg.det(turn) == pytest.approx(1.0)
    vertices = read_object_model(root / "models", "jug1").vertices_m
    mirrored_m = (
        vertices @ right.cam_from_object[:, :3, :3].swapaxes(1, 2) + right.cam_from_object[:, None, :3, 3]
    ) * flip
    placed_m = vertices @ turn.swapaxes(1, 2) + shift[:, None]
    for placed, mirrored in zip(placed_m, mirrored_m, strict=True):
        assert cKDTree(placed).query(mirrored)[0].max() < 0.003, "one surface, of vertices 2.5 mm apart"


def test_two_hands_hold_an_object_at_its_ends(grasps: dict[str, HoldGrasp], tmp_path: Path) -> None:
    """Both touch it and not each other, and HO3D's reader finds each of them by H2O-3D's names."""
    person = random_person(np.random.default_rng(1))
    motion = perform(np.random.default_rng(1), 60, PERFORMANCES["parcel1"], grasps["parcel1"], person)
    right, left = motion.hands
    assert (right.hand.is_left, left.hand.is_left) == (False, True)
    np.testing.assert_allclose(left.object_rotation, right.object_rotation, atol=1e-12)
    count = len(open_hand("right").v_template)  # the forearm's come after them
    for frame in range(0, 60, 12):
        ends = []
        for each in motion.hands:
            hand = each.hand.vertices_m[frame, :count] - motion.object_translation_m[frame]
            local = torch.from_numpy(hand @ motion.object_rotation[frame])
            depth = distance_m("parcel", local)
            assert -0.004 < depth.min() < 0.002
            assert (depth < 0.003).sum() > 15
            ends.append(float(local[:, 2].mean()))
        assert ends[0] < -0.04 < 0.04 < ends[1]
        apart = cKDTree(right.hand.vertices_m[frame, :count]).query(left.hand.vertices_m[frame, :count])[0]
        assert apart.min() > 0.03
    folder = tmp_path / "HO3D_v3/train/parcel1"
    render_hold_sequence(SMALL, "parcel1", folder, hands=("right", "left"))
    for side in ("right", "left"):
        found = read_sequence(folder, side)
        posed = found.skinned_hands(open_hand(side)).keypoints_m.numpy()
        np.testing.assert_allclose(posed, found.hand_joints_cam_m, atol=1e-4)
    colours = {tuple(pixel) for pixel in read_rgb(folder / "seg/0000.png").reshape(-1, 3).tolist()}
    assert colours == {(0, 0, 0), (0, 0, 255), (255, 0, 0), (0, 255, 0)}
