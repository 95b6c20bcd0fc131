"""Bad input of the trained phases (issue 3, section 6): named errors or counted degradation, no mesh without a word."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handloom.reconstruction.compact.hand_template import KIND as TEMPLATE
from handloom.reconstruction.compact.hand_template import template_of_build
from handloom.reconstruction.compact.object_mesh import KIND as MESH
from handloom.reconstruction.compact.object_mesh import read_object_mesh
from handloom.reconstruction.compact.observations import Observations
from handloom.reconstruction.compact.phases import PhaseOutputs, refine_poses, train_phase
from handloom.reconstruction.compact.predictions import write_predictions
from handloom.reconstruction.compact.scene_input import POSES, write_poses
from handloom.reconstruction.compact.training import object_hull
from handloom.runtime.artifacts import read_arrays, write_arrays
from handloom.runtime.config.refinement import RefinementSettings
from handloom.runtime.errors import InputError

from .scene import FRAMES, MODEL, held_box, small_settings, small_training

STEPS = 9
SETTINGS = small_settings(STEPS).model_copy(update={"checkpoint_seconds": 0.0})
REFINEMENT = RefinementSettings(steps=2, long_side_px=40)
ROOT = Path(__file__).parents[3]


def outputs_in(folder: Path) -> PhaseOutputs:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("network.safetensors", "poses.npz", "object.npz", "history.csv", "previews")
    return PhaseOutputs(*(folder / name for name in names))


def train(build: Path, template: Path, folder: Path, poses: Path | None = None) -> PhaseOutputs:
    outputs = outputs_in(folder)
    phase = "phase1" if poses is None else "phase3"
    train_phase(
        SETTINGS, phase, MODEL, build, template, poses, outputs=outputs, work=folder / "work", seed=1, threads=1
    )
    return outputs


def nothing_written(folder: Path) -> bool:
    return not any(path.is_file() for path in folder.rglob("*")) if folder.exists() else True


def edited(source: Path, kind: str, path: Path, edit: Callable[[dict[str, np.ndarray]], Any]) -> Path:
    """A copy of an artifact with other arrays."""
    arrays, header = read_arrays(source, kind)
    edit(arrays)
    write_arrays(path, arrays, header)
    return path


def nan_in(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    def edit(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = np.array(arrays[name], np.float64)
        arrays[name].reshape(-1)[-1] = np.nan

    return edit


@pytest.fixture
def own(build: Path, tmp_path: Path) -> Path:
    """A build folder of the test's own."""
    return Path(shutil.copytree(build, tmp_path / "build"))


@pytest.fixture(scope="module")
def phase1(build: Path, template: Path, tmp_path_factory: pytest.TempPathFactory) -> PhaseOutputs:
    """A phase 1 that nothing interrupted."""
    return train(build, template, tmp_path_factory.mktemp("phase1"))


def relabel(build: Path, label: int, frames: range) -> None:
    """Take a label out of the masks of some frames."""
    for path in [sorted((build / "mask").glob("*.png"))[frame] for frame in frames]:
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        mask[mask == label] = 0
        cv2.imwrite(str(path), mask)


def change_data(build: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = np.load(build / "data.npy", allow_pickle=True).item()
    edit(content)
    np.save(build / "data.npy", content, allow_pickle=True)


@pytest.mark.parametrize(("label", "what"), [(50, "object"), (150, "hand")])
def test_masks_empty_everywhere_are_refused(own: Path, template: Path, tmp_path: Path, label: int, what: str) -> None:
    """Protects against a mesh of nothing: the error names masks and entity, and no output appears."""
    relabel(own, label, range(FRAMES))
    with pytest.raises(InputError, match=rf"no pixel of any of the {FRAMES} frames is labelled {what}"):
        train(own, template, tmp_path / "out")
    assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize(("label", "what"), [(50, "object"), (150, "hand")])
def test_masks_empty_in_some_frames_are_counted(
    own: Path, template: Path, tmp_path: Path, label: int, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects sequences that lose hand or object for a moment: they are reconstructed, the frames are told."""
    relabel(own, label, range(2, 4))
    outputs = train(own, template, tmp_path / "out")
    assert f"no {what} in 2 of {FRAMES} frames: 0002.jpg, 0003.jpg" in capsys.readouterr().err
    extent = np.ptp(read_object_mesh(outputs.mesh).vertices, axis=0)
    assert (extent > 0.05).all()


def test_a_frame_without_object_carves_nothing_from_the_hull() -> None:
    """Protects the first shape: a lost mask is not background seen through the object."""
    held = held_box()
    settings = small_settings(STEPS)
    lost = held.class_u8.clone()
    lost[2][lost[2] == 1] = 0
    training = small_training(settings)
    whole, part = (
        object_hull(Observations.of(held.image_u8, labels, held.intrinsics), training.scene.poses, training.scene.hands)
        for labels in (held.class_u8, lost)
    )
    assert (part < 0).float().sum() > 0.4 * (whole < 0).float().sum()


def test_pictures_of_mixed_sizes_are_refused(own: Path, template: Path, tmp_path: Path) -> None:
    """Protects rays from another picture's pixels."""
    path = sorted((own / "image").glob("*.png"))[3]
    cv2.imwrite(str(path), np.zeros((40, 80, 3), np.uint8))
    with pytest.raises(InputError, match=r"image/0003\.png: is 80x40 pixels, but 0000\.png is 80x60"):
        train(own, template, tmp_path / "out")
    assert nothing_written(tmp_path / "out")


def test_one_frame_is_no_sequence(own: Path, template: Path, tmp_path: Path) -> None:
    """Protects users of a build folder, which no extraction has counted: one view has no shape."""
    for kind in ("image", "mask"):
        for path in sorted((own / kind).glob("*.png"))[1:]:
            path.unlink()
    (own / "corres.txt").write_text("0000.jpg\n")

    def shorten(content: dict[str, Any]) -> None:
        content["cameras"] = {key: value for key, value in content["cameras"].items() if key.endswith("_0")}
        hand, thing = content["entities"]["right"], content["entities"]["object"]
        hand.update(hand_poses=hand["hand_poses"][:1], hand_trans=hand["hand_trans"][:1])
        thing.update(object_poses=thing["object_poses"][:1])

    change_data(own, shorten)
    with pytest.raises(InputError, match=r"build: has 1 frame; a shape needs at least two"):
        train(own, template, tmp_path / "out")
    assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("cameras"), r"data\.npy: lacks \['cameras'\]"),
        (lambda d: d["entities"]["object"].pop("obj_scale"), r"lacks \['entities\.object\.obj_scale'\]"),
        (lambda d: d["entities"].update(cup={}), r"entities are \['cup', 'object', 'right'\]"),
        (lambda d: d["entities"]["object"].update(obj_scale=np.nan), "obj_scale holds NaN"),
        (lambda d: d["entities"]["right"]["hand_poses"].__setitem__((3, 5), np.nan), r"hand_poses holds NaN .*\[3\]"),
    ],
)
def test_a_broken_build_folder_stops_both_stages(
    own: Path, template: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    """Protects the user's own build folder: template and training say which key is wrong, and write nothing."""
    change_data(own, edit)
    with pytest.raises(InputError, match=message):
        template_of_build(MODEL, own, tmp_path / "out" / "template.npz", cells=8)
    with pytest.raises(InputError, match=message):
        train(own, template, tmp_path / "out")
    assert nothing_written(tmp_path / "out")


def test_foreign_keys_are_told_and_change_nothing(
    own: Path, template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects folders of other versions of HOLD: they are used, and what was left alone is listed."""
    change_data(own, lambda d: (d.update(note="x"), d["entities"]["object"].update(colour=1)))
    template_of_build(MODEL, own, tmp_path / "template.npz", cells=12)
    assert "foreign keys ['note', 'entities.object.colour'] are left alone" in capsys.readouterr().err
    assert (tmp_path / "template.npz").read_bytes() == template.read_bytes()


@pytest.mark.parametrize("name", ["distance_m", "centre_m", "radius_m"])
def test_nan_in_the_template_is_named(build: Path, template: Path, tmp_path: Path, name: str) -> None:
    """Protects the hand's field from its prior."""
    bad = edited(template, TEMPLATE, tmp_path / "bad.npz", nan_in(name))
    with pytest.raises(InputError, match=rf"bad\.npz: {name} holds NaN"):
        train(build, bad, tmp_path / "out")


STAGES_OF_POSES: dict[str, Callable[[Path, Path, Path, Path, Path], Any]] = {
    "phase 3": lambda build, template, poses, mesh, out: train(build, template, out, poses),
    "phase 2": lambda build, template, poses, mesh, out: refine_poses(
        REFINEMENT, SETTINGS.cube_margin, MODEL, build, poses, mesh, out / "poses.npz", out / "history.csv"
    ),
    "predictions": lambda build, template, poses, mesh, out: write_predictions(
        MODEL, build, poses, mesh, out / "predictions.npz"
    ),
}


@pytest.mark.parametrize("stage", STAGES_OF_POSES)
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (nan_in("object_rotvec"), "object_rotvec holds NaN"),
        (nan_in("object_scale"), "object_scale holds NaN"),
        (lambda arrays: arrays.pop("hand_shape"), r"lacks \['hand_shape'\]"),
        (
            lambda arrays: arrays.update({k: np.repeat(v, 2, 0) for k, v in arrays.items() if len(v.shape) > 1}),
            rf"hand_rotvec \(16, 16, 3\) instead of \({FRAMES}, 16, 3\).*another video",
        ),
        (lambda arrays: arrays.update(hand_shape=np.zeros(3, np.float32)), r"hand_shape \(3,\) instead of"),
    ],
)
def test_bad_poses_stop_whoever_reads_them(
    stage: str,
    build: Path,
    template: Path,
    phase1: PhaseOutputs,
    tmp_path: Path,
    edit: Callable[[dict[str, np.ndarray]], Any],
    message: str,
) -> None:
    """Protects the chain of phases: poses with NaN, of another video or another hand are named, nothing is written."""
    bad = edited(phase1.poses, POSES, tmp_path / "bad.npz", edit)
    with pytest.raises(InputError, match=rf"bad\.npz: .*{message}"):
        STAGES_OF_POSES[stage](build, template, bad, phase1.mesh, tmp_path / "out")
    assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize("stage", ["phase 2", "predictions"])
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (nan_in("vertices"), "vertices holds NaN"),
        (lambda arrays: arrays.pop("faces"), r"lacks \['faces'\]"),
        (lambda arrays: arrays.update(faces=arrays["faces"][:0]), "its 0 faces do not fit"),
        (lambda arrays: arrays.update(vertices=arrays["vertices"][:9]), "do not fit its 9 vertices"),
    ],
)
def test_a_bad_mesh_stops_whoever_reads_it(
    stage: str,
    build: Path,
    template: Path,
    phase1: PhaseOutputs,
    tmp_path: Path,
    edit: Callable[[dict[str, np.ndarray]], Any],
    message: str,
) -> None:
    """Protects predictions, which are scored and shown: no mesh with NaN in it is handed on."""
    bad = edited(phase1.mesh, MESH, tmp_path / "bad.npz", edit)
    with pytest.raises(InputError, match=rf"bad\.npz: .*{message}"):
        STAGES_OF_POSES[stage](build, template, phase1.poses, bad, tmp_path / "out")
    assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize("name", ["hand_fingers", "object_place_m"])
def test_poses_that_diverge_between_losses_are_named(name: str) -> None:
    """Protects the search for neighbours, which takes no NaN: the step before a new snapshot of the hands is seen."""
    training = small_training(small_settings(60))
    training.step = 25
    with torch.no_grad():
        getattr(training.scene.poses, name)[0] = torch.nan
    with pytest.raises(InputError, match=rf"{name} hold NaN at step 25: .*lower hold\.compact"):
        training.run_step()
    assert training.step == 25


def test_an_object_that_no_pose_explains_is_refused(build: Path, template: Path, tmp_path: Path) -> None:
    """Protects from a mesh of wrong poses: the object aside of its masks has no hull, and the error names both."""
    poses = held_box().poses
    write_poses(tmp_path / "poses.npz", poses._replace(object_translation_m=poses.object_translation_m + 0.1))
    with pytest.raises(InputError, match=r"visual hull: only \d+ of \d+ points .* do not fit each other"):
        train(build, template, tmp_path / "out", tmp_path / "poses.npz")


KILLED = """
import sys, time
from pathlib import Path
from handloom.reconstruction.compact.training import CompactTraining
from tests.reconstruction.compact.test_bad_input import train
run_step = CompactTraining.run_step
def slow_at_six(training):
    time.sleep(600 if training.step == 6 else 0)  # so that the kill always finds it at work
    return run_step(training)
CompactTraining.run_step = slow_at_six
train(*map(Path, sys.argv[1:]))
"""


def test_a_phase_killed_with_sigkill_goes_on_and_ends_bit_equal(
    build: Path, template: Path, phase1: PhaseOutputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects from the out-of-memory killer: a real process, SIGKILL after its sixth step, equal bytes."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(build), str(template), str(out)]
    process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ, TQDM_DISABLE="1"), stderr=subprocess.PIPE)

    def steps() -> list[int]:
        return sorted(int(path.name.split("-")[1]) for path in out.glob("work/*/step-*.pt"))

    try:
        deadline = time.monotonic() + 300
        while max(steps(), default=0) < 6:
            assert process.poll() is None, process.communicate()[1].decode()
            assert time.monotonic() < deadline, "no checkpoint appeared"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert steps()[-1] == 6
    assert not (out / "object.npz").exists()
    again = train(build, template, out)
    assert "going on at step 6" in capsys.readouterr().err
    for name in ("network", "poses", "mesh", "history"):
        assert getattr(again, name).read_bytes() == getattr(phase1, name).read_bytes(), name
    previews = sorted(path.name for path in phase1.previews.iterdir())
    assert [path.name for path in sorted(again.previews.iterdir())] == previews
    assert not any((out / "work").iterdir())
