"""S2DHand+ on the tiny rig: it learns its labels, leaves the lower blocks alone, and a killed job ends bit-equal."""

from pathlib import Path
from typing import Any

import pytest
import roma
import torch

from handloom.adaptation.adapt import Job
from handloom.adaptation.drawn_answers import DrawnPairs, predict_draws
from handloom.adaptation.methods.detnet_s2dhand_plus import adapt, merged, triangulated, with_unit_bones
from handloom.adaptation.pair_predictions import PairPredictions
from handloom.geometry.rotations import angle_deg
from handloom.runtime.artifacts import read_weights
from handloom.runtime.config.adaptation import PlusSettings
from handloom.runtime.errors import InputError

from ..rig import SETTINGS, Rig, adapted

OPTIONS = PlusSettings(draws=2, labels="triangulated", epochs=4)


def of_plus(rig: Rig, name: str, **changes: Any) -> Any:
    answers = rig.folder / "answers.npz"
    predict_draws(rig.crops, rig.source, answers, ray_share=0.5, plus_share=0.25, draws=2, draw_turn_deg=40.0)
    chosen = {
        "variant": "s2dhand_plus",
        "answers": answers,
        "options": OPTIONS,
        "ray_share": 0.25,
        "turned_poses": True,
    }
    return adapted(rig, adapt, name, SETTINGS.model_copy(update={"learning_rate": 3e-3}), **chosen, **changes)


def test_the_student_learns_its_labels_above_block2(rig: Rig) -> None:
    found = of_plus(rig, "plus")
    before, after = (read_weights(path, "detnet")[0] for path in (rig.source, found.network))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not [name for name in moved if name.startswith(("resnet50.conv1", "resnet50.block1", "resnet50.block2"))]
    curves = found.curves
    assert curves[-1]["location_loss"] < 0.9 * curves[1]["location_loss"]
    assert curves[0]["label_error_mm"] == curves[-1]["label_error_mm"]
    assert PairPredictions.load(found.predictions).variant == "s2dhand_plus"


def test_merged_labels_are_the_surer_views_pose() -> None:
    generator = torch.Generator().manual_seed(0)
    poses = with_unit_bones(torch.randn(2, 4, 21, 3, generator=generator, dtype=torch.float64), 0)
    confidence = torch.stack([torch.ones(4, 21), torch.zeros(4, 21)]).double()
    found = merged(DrawnPairs(poses, poses, poses[..., :2], confidence), torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(found, poses[0])


def test_rays_mend_the_rotation_and_the_poses_that_labels_are_made_of() -> None:
    """Hands before two still cameras, poses that lean alike in both views and a start that is six degrees off."""
    generator = torch.Generator().manual_seed(0)
    hand = 0.6 * torch.randn(1, 21, 3, generator=generator, dtype=torch.float64)
    turns = roma.rotvec_to_rotmat(torch.randn(40, 3, generator=generator, dtype=torch.float64))
    pose = with_unit_bones((hand @ turns).expand(2, -1, -1, -1), 0)[0]
    middle = torch.tensor([0.0, 0.0, 5.0], dtype=torch.float64)
    at = middle + 0.7 * torch.randn(40, 1, 3, generator=generator, dtype=torch.float64)
    rotation, off, lean = (
        roma.rotvec_to_rotmat(torch.tensor(v, dtype=torch.float64))
        for v in ([0.2, -0.9, 0.1], [0.06, 0.08, -0.03], [0.0, 0.3, 0.0])
    )
    other = (pose + at - middle) @ rotation + middle
    slopes = torch.stack([each[..., :2] / each[..., 2:] for each in (pose + at, other)])
    poses = torch.stack([pose @ lean, pose @ lean @ rotation])
    drawn = DrawnPairs(poses, poses, slopes, torch.ones(2, 40, 21).double())
    found_12, found = triangulated(drawn, rotation @ off, 0)
    assert float(angle_deg(found_12, rotation)) < 0.5
    assert (found - pose).norm(dim=-1).mean() < 0.3 * (poses[0] - pose).norm(dim=-1).mean()


def test_a_job_killed_in_its_second_seed_keeps_the_first_and_ends_bit_equal(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_of(folder: Path) -> list[bytes]:
        return [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]

    def run(name: str) -> list[bytes]:
        answers, folder = rig.folder / "answers.npz", rig.folder / name
        predict_draws(rig.crops, rig.source, answers, ray_share=0.5, plus_share=0.25, draws=1, draw_turn_deg=40.0)
        files = [[folder / f"{seed}{end}" for seed in (1, 2)] for end in (".safetensors", ".npz", ".csv")]
        adapt(
            *(rig.crops, rig.source, rig.rotations, *files),
            **{"pair": "1-2", "variant": "s2dhand_plus", "seeds": [1, 2], "work": rig.folder / "work"},
            **{"adaptation": SETTINGS, "fidelity": "fixed", "ray_share": 0.25, "turned_poses": True},
            answers=answers, options=OPTIONS, labels=rig.labels, checkpoint_seconds=0,
        )  # fmt: skip
        return all_of(folder)

    whole = run("whole")
    ran: list[tuple[int, int]] = []
    kill_at: tuple[int, int] | None = (2, 2)
    once = Job.run_epoch

    def run_epoch(job: Job) -> None:
        at = (job.method.surroundings.seed, job.epoch)
        if at == kill_at:
            raise KeyboardInterrupt
        ran.append(at)
        once(job)

    monkeypatch.setattr(Job, "run_epoch", run_epoch)
    with pytest.raises(KeyboardInterrupt):
        run("resumed")
    first = list(ran)
    kill_at = None
    assert run("resumed") == whole
    assert first == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)]
    assert ran[len(first) :] == [(2, 2), (2, 3)]


def test_without_answers_to_draws_it_says_so(rig: Rig) -> None:
    with pytest.raises(InputError, match="no answers to draws of the crops"):
        adapted(rig, adapt, "none", SETTINGS, variant="s2dhand_plus", options=OPTIONS)
