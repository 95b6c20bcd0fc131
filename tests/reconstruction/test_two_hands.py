"""Two hands on one object: each as if it were alone, one object for both, and neither inside the other."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from handloom.datasets.hand_and_object import HoldPredictions, HoldTruth
from handloom.evaluation.hold_scores import score_hold
from handloom.evaluation.two_hands_table import write_two_hands_table
from handloom.figures.hold_export import ExportedPoses, export_hold
from handloom.hand.joints import MIRROR, Side
from handloom.hand.models import configured_hands, open_hand, write_open_hand
from handloom.reconstruction.alignment import align_hand_object
from handloom.reconstruction.build_folder import read_build, write_build
from handloom.reconstruction.build_scene import build_scene
from handloom.reconstruction.compact.hand_template import HandTemplate, template_of_build
from handloom.reconstruction.compact.posed_hands import PosedHands
from handloom.reconstruction.contact import hand_penetration
from handloom.reconstruction.object_mesh import read_object_mesh
from handloom.reconstruction.object_size import HAND_DEVIATION, agreed_size
from handloom.reconstruction.observations import CLASS_OF_SIDE, read_scene
from handloom.reconstruction.predictions import write_predictions
from handloom.reconstruction.refinement import Refinement, refine_poses
from handloom.reconstruction.registration import register_hands
from handloom.reconstruction.scene_poses import PosesByHand
from handloom.reconstruction.shape.object_shape import ObjectShape, shape_of_build
from handloom.reconstruction.tracks import HandPoses, SequencePoses
from handloom.runtime.artifacts import read_weights
from handloom.runtime.config.hold_stages import AlignmentSettings, HandRegistrationSettings, RefinementSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json

from .compact.scene import PhaseFiles, small_settings, train_small
from .held_box import FRAMES, arrays, held_box, in_mirror
from .held_hand import held_hand

SIDES: tuple[Side, ...] = ("right", "left")


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of both hand models, in a sequence's order."""
    folder = tmp_path_factory.mktemp("hands")
    for side in SIDES:
        write_open_hand(folder / f"{side}.npz", side=side)
    return [folder / f"{side}.npz" for side in SIDES]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory, hands: list[Path]) -> Path:
    """The held box, and as a left hand the right one in the camera's mirror, where nothing else is seen."""
    folder, held = tmp_path_factory.mktemp("both"), held_box()
    frames, masks = held.write_pictures(folder)
    for picture, mask in zip(sorted(frames.iterdir()), sorted(masks.iterdir()), strict=True):
        image, labels = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (picture, mask))
        left = (labels[:, ::-1] == 150) & (labels == 0)
        image[left], labels[left] = image[:, ::-1][left], 250
        cv2.imwrite(str(picture), image)
        cv2.imwrite(str(mask), labels)
    other = in_mirror(held.poses)
    left_poses = replace(
        held.poses, hand_rotvec=other.hand_rotvec, hand_translation_m=other.hand_translation_m, side="left"
    )
    models = configured_hands(hands)
    scene = build_scene(
        {"right": held.poses, "left": left_poses},
        torch.from_numpy(held.vertices_sfm),
        held.intrinsics,
        models,
        sequence="box",
        names=[f"{number:04d}.jpg" for number in range(FRAMES)],
        image_paths=sorted(frames.iterdir()),
        mask_paths=sorted(masks.iterdir()),
    )
    write_build(folder / "build", scene, models)
    return folder / "build"


def test_a_build_folder_of_two_hands_comes_back(build: Path, hands: list[Path]) -> None:
    models = configured_hands(hands)
    assert list(models) == ["right", "left"]
    scene = read_build(build, models)
    right, left = (scene.poses_cam(models[side]) for side in SIDES)
    torch.testing.assert_close(right.hand_translation_m, held_box().poses.hand_translation_m, atol=2e-5, rtol=0)
    mirrored = in_mirror(right)
    for name in ("hand_rotvec", "hand_translation_m"):
        found, wanted = (arrays(each)[name].sin() for each in (left, mirrored))  # a turn of pi has two vectors
        torch.testing.assert_close(found, wanted, atol=3e-5, rtol=0)
    assert torch.equal(left.object_translation_m, right.object_translation_m)
    seen = read_scene(build, models).observations
    assert set(torch.unique(seen.class_u8).tolist()) == {0, 1, 2, 3}
    assert list(seen.seen) == ["object", "right hand", "left hand"]
    kinds = torch.bincount(seen.draw(4000, 0.2, 0.6, torch.Generator().manual_seed(0)).kind, minlength=4)
    assert kinds[CLASS_OF_SIDE["left"]] > 300
    with pytest.raises(InputError, match="holds a right and a left hand, but no left hand model was given"):
        read_build(build, {"right": models["right"]})


def test_two_hands_are_registered_and_aligned_as_if_alone(
    tmp_path: Path, hands: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The other hand has no part in a hand's poses where the object's size is known, and halves it where it is not."""
    scene = held_hand(frames=9)
    files = {name: tmp_path / f"{name}.npz" for name in ("estimates", "object_poses", "hand_poses", "aligned")}
    scene.object_poses.save(files["object_poses"])
    # A second right hand, of another size, under the left hand's name: each must be what it is alone.
    estimates = {"right": scene.estimates, "left": replace(scene.estimates, side="left")}
    (tmp_path / "masks").mkdir()
    for frame in range(9):
        cv2.imwrite(str(tmp_path / f"masks/{frame:04d}.png"), np.zeros((36, 48), np.uint8))

    def run(chosen: tuple[Side, ...], scale: float | None) -> tuple[dict[Side, HandPoses], dict[Side, SequencePoses]]:
        type(scene.estimates).save_each(files["estimates"], {side: estimates[side] for side in chosen})
        given = [path for side, path in zip(SIDES, hands, strict=True) if side in chosen]
        register_hands(
            *(files[name] for name in ("estimates", "object_poses", "hand_poses")),
            registration=HandRegistrationSettings(iterations=4),
            seed=0,
            hand=given,
        )
        align_hand_object(
            *(files[name] for name in ("hand_poses", "object_poses", "estimates")),
            *(tmp_path / "masks", files["aligned"], tmp_path / "history.csv"),
            alignment=AlignmentSettings(iterations=3, object_scale=scale),
            seed=0,
            hand=given,
        )
        return HandPoses.load_each(files["hand_poses"]), SequencePoses.load_each(files["aligned"])

    together = run(SIDES, 0.1)
    assert set(pd.read_csv(tmp_path / "history.csv")["hand"]) == set(SIDES)
    for side in SIDES:
        alone = run((side,), 0.1)
        for both, one in zip(together, alone, strict=True):
            torch.testing.assert_close(arrays(both[side]), arrays(one[side]), atol=0, rtol=0)
    found = run(SIDES, None)[1]
    assert "metres per SfM unit by each hand: right" in capsys.readouterr().err
    assert found["right"].object_scale == found["left"].object_scale
    assert found["right"].size_deviation == found["left"].size_deviation
    type(scene.estimates).save_each(files["estimates"], estimates)
    with pytest.raises(
        InputError, match=r"estimates\.npz: is of a right and a left hand, but the hand model is a right"
    ):
        register_hands(
            *(files[name] for name in ("estimates", "object_poses", "hand_poses")),
            registration=HandRegistrationSettings(),
            seed=0,
        )


def test_hands_agree_on_a_size_by_what_is_unsure_of_each() -> None:
    unsure = (0.02**2 + HAND_DEVIATION**2) ** 0.5
    scale, deviation = agreed_size([0.1, 0.1], [unsure, unsure])
    assert scale == pytest.approx(0.1)
    assert deviation == pytest.approx((HAND_DEVIATION**2 + 0.02**2 / 2) ** 0.5)
    surer, _ = agreed_size([0.1, 0.2], [unsure, 0.5])
    assert surer == pytest.approx(0.1, rel=0.01)
    assert agreed_size([0.1, 0.2], [unsure, unsure])[1] > 0.3, "hands that disagree are unsure"


@pytest.fixture(scope="module")
def phase1(build: Path, hands: list[Path], tmp_path_factory: pytest.TempPathFactory) -> PhaseFiles:
    folder = tmp_path_factory.mktemp("phase1")
    template = folder / "template.npz"
    template_of_build(build, template, cells=12, hand=hands)
    hull = folder / "hull.npz", folder / "hull_poses.npz"
    shape_of_build(build, folder / "shape.npz", *hull, cells=16, points_reach=None, hand=hands)
    return train_small(build, template, folder / "out", small_settings(3), hand=hands)


def test_a_left_template_is_the_right_one_mirrored(phase1: PhaseFiles) -> None:
    found = HandTemplate.load_each(phase1.folder.parent / "template.npz")
    torch.testing.assert_close(found["left"].distance_m, found["right"].distance_m.flip(1), atol=0, rtol=0)
    assert ObjectShape.load(phase1.folder.parent / "shape.npz").rule in ("labelled", "shared")


def test_both_hands_go_through_all_phases_to_scores_and_exports(
    phase1: PhaseFiles, build: Path, hands: list[Path], tmp_path: Path
) -> None:
    weights, _ = read_weights(phase1.outputs["network"], "compact_fields")
    assert {name.partition(".")[0] for name in weights} == {"object", "right", "left"}
    first = SequencePoses.load_each(phase1.poses)
    refined, history = tmp_path / "refined.npz", tmp_path / "history.csv"
    settings = RefinementSettings(steps=2, long_side_px=60)
    refine_poses(build, phase1.poses, phase1.mesh, refined, history, refinement=settings, hand=hands)
    assert "hand_in_hand" in pd.read_csv(history)
    after = SequencePoses.load_each(refined)
    for side in SIDES:
        moved = [n for n, value in arrays(after[side]).items() if not torch.equal(value, arrays(first[side])[n])]
        assert set(moved) == set(arrays(first[side])), side
    assert torch.equal(after["left"].object_rotvec, after["right"].object_rotvec)
    predictions, truth = tmp_path / "predictions.npz", tmp_path / "truth.npz"
    write_predictions(build, refined, phase1.mesh, predictions, hand=hands)
    found = HoldPredictions.load_each(predictions)
    for side in SIDES:
        np.testing.assert_array_equal(found[side].hand_faces, open_hand(side).faces.numpy())
    shared = {
        name: value for name, value in vars(found["right"]).items() if name not in ("intrinsics", "hand_vertices_cam_m")
    }
    valid = np.ones(FRAMES, bool)
    true = {
        side: HoldTruth(
            **{**shared, **{n: vars(found[side])[n] for n in ("hand_joints_cam_m", "side", "hand_faces")}},
            hand_vertices_cam_m=found[side].hand_vertices_cam_m,
            valid=valid,
        )
        for side in SIDES
    }
    # The left hand is a centimetre off in its fingers' joints, but not in its wrist.
    joints = true["left"].hand_joints_cam_m.copy()
    joints[:, 1:, 0] += 0.01
    true["left"] = replace(true["left"], hand_joints_cam_m=joints)
    HoldTruth.save_each(truth, true)
    scores, table = tmp_path / "scores.json", tmp_path / "scores.csv"
    score_hold(
        predictions, truth, scores, table, sequence="box", phase="phase3", protocol="faithful", seed=0, restarts=2
    )
    told = read_json(scores)
    assert told["hands"]["right"]["mpjpe_mm"] == pytest.approx(0, abs=1e-3)
    assert told["hands"]["left"]["mpjpe_mm"] == pytest.approx(10 * 20 / 21, abs=1e-3)
    assert told["reference_names"]["mpjpe_ra_l"] == told["hands"]["left"]["mpjpe_mm"]
    assert set(pd.read_csv(table)["hand"]) == set(SIDES)
    outputs = [tmp_path / f"two_hands.{kind}" for kind in ("csv", "md", "html")]
    write_two_hands_table([scores], *outputs, benchmarks={"box": []})
    row = pd.read_csv(outputs[0]).iloc[0]
    assert row["mpjpe_ra_h"] == pytest.approx((row["mpjpe_ra_r"] + row["mpjpe_ra_l"]) / 2)
    assert row["cd_icp"] == pytest.approx(0, abs=1e-3)
    scores.write_text(json.dumps({**told, "hands": {}}))
    with pytest.raises(InputError, match="no scores of a right and a left hand"):
        write_two_hands_table([scores], *outputs, benchmarks={"box": []})


def test_a_hand_inside_another_is_pushed_out() -> None:
    """Nothing of hands apart; of one in the other the depth, whose slope leads out."""
    held, model = held_box(), open_hand()
    vertices = held.poses.hand.skinned(model).vertices_m
    snapshot = PosedHands(model, vertices)
    assert float(hand_penetration(vertices + torch.tensor([0.3, 0.0, 0.0]), vertices, snapshot)) == 0
    shifted = (vertices + torch.tensor([0.004, 0.0, 0.0])).requires_grad_()
    depth = hand_penetration(shifted, vertices, snapshot)
    depth.backward()
    assert 1e-7 < float(depth.detach()) < 1e-4
    with torch.no_grad():
        assert hand_penetration(shifted - 100 * shifted.grad, vertices, snapshot) < depth
    mirror = torch.tensor(MIRROR)
    left = open_hand("left")
    mirrored = hand_penetration(shifted.detach() * mirror, vertices * mirror, PosedHands(left, vertices * mirror))
    assert float(mirrored) == pytest.approx(float(depth.detach()), rel=1e-5)


def test_the_released_losses_of_two_hands_do_not_act(phase1: PhaseFiles, build: Path, hands: list[Path]) -> None:
    """`faithful`: at the start nothing draws the hands, however far they are; only beyond the camera's distance."""
    models = configured_hands(hands)
    scene, mesh = read_scene(build, models), read_object_mesh(phase1.mesh).in_cube(read_scene(build, models).cube)
    for away_m, acts in ((0.0, False), (0.1, False), (1.5, True)):
        poses = {
            side: replace(each, hand_translation_m=each.hand_translation_m + torch.tensor([0.0, 0.0, away_m]))
            for side, each in scene.poses.items()
        }
        learnt = PosesByHand(models, poses, scene.cube)
        settings = RefinementSettings(fidelity="faithful", long_side_px=60)
        terms = Refinement(learnt, mesh, scene.observations, settings).terms()
        assert "penetration" not in terms
        assert "hand_in_hand" not in terms
        assert float(terms["hand_mask"].detach()) == 0
        assert (float(terms["contact"].detach()) > 0) == acts
    fixed = Refinement(PosesByHand(models, scene.poses, scene.cube), mesh, scene.observations, RefinementSettings())
    assert min(float(fixed.terms()[name].detach()) for name in ("hand_mask", "contact")) > 0


def test_a_page_and_meshes_show_both_hands(phase1: PhaseFiles, build: Path, hands: list[Path], tmp_path: Path) -> None:
    from handloom.datasets.frames import Frames

    predictions, listed = tmp_path / "predictions.npz", tmp_path / "frames.json"
    write_predictions(build, phase1.poses, phase1.mesh, predictions, hand=hands)
    scene = read_build(build, configured_hands(hands))
    height, width = cv2.imread(str(scene.image_paths[0])).shape[:2]
    folder = scene.image_paths[0].parent
    Frames(folder, scene.names, tuple(np.arange(FRAMES) / 30), "file", width, height, "box", None).write_list(listed)
    names = ("object.glb", "object.ply", "hand.glb", "hand.ply", "scene.glb", "poses.npz", "poses.json", "scene.html")
    export_hold(predictions, folder, listed, *(tmp_path / name for name in names), sequence="box")
    glb = (tmp_path / "hand.glb").read_bytes()
    document = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    assert [mesh["name"] for mesh in document["meshes"]] == ["right-hand", "left-hand"]
    assert list(ExportedPoses.load_each(tmp_path / "poses.npz")) == list(SIDES)
    told = read_json(tmp_path / "poses.json")
    assert told["hand"] == "right and left"
    assert set(told["frames"][0]["hand_joints_cam_m"]) == set(SIDES)
    page = (tmp_path / "scene.html").read_text()
    assert 'id="show-right-hand"' in page
    assert 'id="show-left-hand"' in page
