"""S2DHand against numbers of the released code: rotations, pseudo-labels, whole iterations.

Every seed, root joint and size comes from the files.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.adaptation import map_learner
from handloom.adaptation.map_learner import MapLearner
from handloom.adaptation.method import Surroundings
from handloom.adaptation.pairs import PairCrops
from handloom.adaptation.pseudo_labels import label_rotation, make_pseudo_labels, merge_poses, merge_weights
from handloom.adaptation.rotation_guided_refinement import refine_least_norm
from handloom.adaptation.s2dhand import GroundTruthLeak, S2DHand, momentum_at
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.targets import DetNetLoss, delta_target, detnet_loss, location_target
from handloom.geometry.rotations import (
    matrix_from_quaternion,
    mean_rotation_chordal,
    mean_rotation_unsigned,
    momentum_rotation,
    quaternion_from_matrix,
    rotation_between,
)
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Settings
from handloom.runtime.config.sources import DetNetSettings

from .rotation_objective import rotation_objective
from .weight_recipe import recipe_weights

Arrays = dict[str, Tensor]


def tensors(arrays: dict[str, np.ndarray]) -> Arrays:
    return {name: torch.as_tensor(array) for name, array in arrays.items()}


def close(actual: Tensor, expected: Tensor, *, atol: float = 0.0, rtol: float = 0.0) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected.numpy(), atol=atol, rtol=rtol)


@pytest.fixture(scope="module")
def c5(golden: Callable) -> Arrays:
    return tensors(golden("c5_rotation"))


@pytest.fixture(scope="module")
def c6(golden: Callable) -> Arrays:
    return tensors(golden("c6_pseudolabel"))


@pytest.fixture(scope="module")
def c9(golden: Callable) -> Arrays:
    return tensors(golden("c9_adapt_step"))


class TestRotations:
    def test_rotation_between_is_the_reference_and_its_proper_version(self, c5: Arrays) -> None:
        upstream = rotation_between(c5["pose1"], c5["pose2"], c5["valid"], proper=False)
        close(upstream, c5["rot_upstream"], atol=1e-9)
        close(torch.linalg.det(upstream), c5["rot_det"], atol=1e-9)
        close(rotation_between(c5["pose1"], c5["pose2"], c5["valid"]), c5["rot_fixed"], atol=1e-9)

    def test_quaternions_follow_the_reference_branches(self, c5: Arrays) -> None:
        close(quaternion_from_matrix(c5["q_matrix"]), c5["q_quat_wxyz"], atol=1e-9)
        close(quaternion_from_matrix(c5["q_reflection_matrix"]), c5["q_reflection_quat"], atol=1e-9)
        close(matrix_from_quaternion(c5["m_quat_wxyz"]), c5["m_matrix"], atol=1e-9)

    def test_means_of_a_batch(self, c5: Arrays) -> None:
        batches = sorted(key.removesuffix("_R_each") for key in c5 if key.endswith("_R_each"))
        assert batches
        for k in batches:
            common = ((c5[f"{k}_valid1"] * c5[f"{k}_valid2"]) > 0).double()
            each = rotation_between(c5[f"{k}_pose1"], c5[f"{k}_pose2"], common, proper=False)
            close(each, c5[f"{k}_R_each"], atol=1e-9)
            close(quaternion_from_matrix(each), c5[f"{k}_quat_each"], atol=1e-9)
            close(mean_rotation_unsigned(each), c5[f"{k}_R_upstream"], atol=1e-7)
            fixed = rotation_between(c5[f"{k}_pose1"], c5[f"{k}_pose2"], common)
            close(fixed, c5[f"{k}_R_each_fixed"], atol=1e-9)
            close(mean_rotation_chordal(fixed), c5[f"{k}_R_chordal_fixed"], atol=1e-9)

    def test_momentum_update(self, c5: Arrays) -> None:
        updated = momentum_rotation(c5["upd_R0"], c5["upd_R1"], c5["upd_momentum"], align_signs=False)
        close(updated, c5["upd_result"], atol=1e-9)


def mirrors(is_left: Tensor) -> Tensor:
    """From crops' axes to the picture's: left hands are shown mirrored."""
    return torch.eye(3, dtype=torch.float64) * torch.where(is_left[:, None, None], torch.tensor([-1.0, 1, 1]), 1.0)


def batches(c6: Arrays) -> list[str]:
    """Prefixes of the file's batches of pairs, the tie case left out."""
    found = sorted(name.removesuffix("e1") for name in c6 if name.endswith("_e1"))
    assert found
    return found


def both(arrays: Arrays, name: str) -> Tensor:
    """What the file holds of each of two views."""
    return torch.stack([arrays[f"{name}{view}"] for view in (1, 2)])


class TestPseudoLabels:
    MODES = (("max", "max"), ("soft", "weight"), ("average", "avg"))

    @pytest.mark.parametrize(("mode", "reference_name"), MODES)
    def test_merging(self, c6: Arrays, mode: str, reference_name: str) -> None:
        for k in batches(c6):
            weights = merge_weights(both(c6, k + "vis") > 0, both(c6, k + "vmax")[..., 0], mode, ties="add").double()
            merged = merge_poses(c6[k + "q1"].double(), c6[k + "q2"].double(), c6[k + "R12"], weights)
            close(merged.view_1, c6[f"{k}c1_{reference_name}"], atol=2e-6)
            close(merged.view_2, c6[f"{k}c2_{reference_name}"], atol=2e-6)

    @pytest.mark.parametrize(("ties", "suffix"), [("add", "upstream"), ("average", "fixed")])
    def test_ties_are_added_as_released_or_averaged(self, c6: Arrays, ties: str, suffix: str) -> None:
        weights = merge_weights(both(c6, "tie_vis") > 0, both(c6, "tie_vmax")[..., 0], "max", ties=ties).double()
        merged = merge_poses(c6["tie_q1"].double(), c6["tie_q2"].double(), c6["tie_R12"], weights)
        close(merged.view_1, c6[f"tie_c1_max_{suffix}"], atol=2e-6)
        close(merged.view_2, c6[f"tie_c2_max_{suffix}"], atol=2e-6)

    def test_faithful_labels_follow_the_reference_from_poses_to_targets(self, c6: Arrays) -> None:
        for k in batches(c6):
            root = int(c6[k + "root_idx"])
            labels = make_pseudo_labels(
                *(both(c6, k + "e"), both(c6, k + "vmax")[..., 0], both(c6, k + "vis") > 0, c6[k + "R12"]),
                root_joint=root,
                consensus_weight=0.7,
                fidelity="faithful",
            )
            close(labels.aligned.view_1, c6[k + "q1"], atol=2e-6)
            close(labels.aligned.view_2, c6[k + "q2"], atol=2e-6)
            close(labels.aligned.scale_2, c6[k + "scale2"], atol=2e-6)
            close(labels.refined.view_1, c6[k + "r1"], atol=3e-5)
            close(labels.refined.view_2, c6[k + "r2"], atol=3e-5)
            close(labels.view_1, c6[k + "y1"], atol=3e-5)
            close(labels.view_2, c6[k + "y2"], atol=3e-5)
            rotation = label_rotation(labels)
            close(rotation, c6[k + "R_prime"], atol=1e-6)
            moved = momentum_rotation(c6[k + "R12"], rotation, 0.999, align_signs=False)
            close(moved, c6[k + "R12_new"], atol=1e-6)
            axes = mirrors(c6[k + "left"] > 0)
            for view, label in (("1", labels.view_1), ("2", labels.view_2)):
                stored, in_crop = c6[f"{k}y{view}_net"], label @ axes
                close(in_crop, stored, atol=3e-5)
                close(location_target(stored, root), c6[f"{k}loc{view}"], atol=1e-9)
                close(delta_target(stored), c6[f"{k}delta{view}"], atol=1e-9)
                close(location_target(in_crop, root), c6[f"{k}loc{view}"], atol=1e-4)
                close(delta_target(in_crop), c6[f"{k}delta{view}"], atol=1e-4)

    def test_closed_form_refinement_is_the_least_norm_solution(self, c6: Arrays) -> None:
        for k in batches(c6):
            common = (c6[k + "vis1"] > 0) & (c6[k + "vis2"] > 0)
            refined = refine_least_norm(c6[k + "q1"].double(), c6[k + "q2"].double(), common, c6[k + "R12"])
            close(refined.view_1, c6[k + "r1_least_norm_fixed"], atol=1e-9)
            close(refined.view_2, c6[k + "r2_least_norm_fixed"], atol=1e-9)
            f = rotation_objective(refined.view_1, refined.view_2, c6[k + "R12"], common.double())
            assert bool((f <= c6[k + "rgr_f_end"].clamp_min(1e-12)).all())

    def test_what_is_minimised_is_the_released_objective(self, c6: Arrays) -> None:
        """The oracle of the closed form, and its slope."""
        for k in batches(c6):
            common = (c6[k + "vis1"] > 0) & (c6[k + "vis2"] > 0)
            poses = [c6[k + name].double().requires_grad_() for name in ("q1", "q2")]
            f = rotation_objective(*poses, c6[k + "R12"], common.double())
            close(f, c6[k + "rgr_f_start"], atol=1e-6)
            for view, slope in enumerate(torch.autograd.grad(f.sum(), poses), start=1):
                close(slope[common], c6[f"{k}rgr_grad{view}"][common], atol=1e-6)

    def test_rotation_of_the_teacher_poses(self, c6: Arrays) -> None:
        for k in batches(c6):
            common = (c6[k + "vis1"] * c6[k + "vis2"] > 0).double()
            each = rotation_between(c6[k + "q1"].double(), c6[k + "q2"].double(), common)
            close(mean_rotation_chordal(each), c6[k + "R_teacher_chordal_fixed"], atol=1e-6)


class TestAdaptationStep:
    """Scenario s: student = teacher, two iterations; t: the teacher lies a tenth of the way to other weights."""

    SETTINGS = AdaptationSettings(teacher_momentum=0.99, consensus_weight=0.7, learning_rate=5e-4, merge="max")
    BATCHES_PER_EPOCH = 16

    @pytest.fixture(autouse=True)
    def two_threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(min(2, before))
        yield
        torch.set_num_threads(before)

    @pytest.fixture
    def losses(self, monkeypatch: pytest.MonkeyPatch) -> list[DetNetLoss]:
        """The loss of each view, which the method adds."""
        found: list[DetNetLoss] = []

        def noted(*arguments: Any, **options: Any) -> DetNetLoss:
            found.append(detnet_loss(*arguments, **options))
            return found[-1]

        monkeypatch.setattr(map_learner, "detnet_loss", noted)
        return found

    @pytest.mark.slow
    @pytest.mark.parametrize("scenario", ["s", "t"])
    def test_whole_iterations(self, c9: Arrays, golden_folder: Path, losses: list[DetNetLoss], scenario: str) -> None:
        weights = recipe_weights(golden_folder, int(c9["weight_seed_a"]))
        student = DetNet(DetNetSettings(), int(c9[f"{scenario}_root_idx"])).eval()
        student.load_state_dict(weights)
        method = self.method(c9, scenario, student)
        if scenario == "t":
            other = recipe_weights(golden_folder, int(c9["weight_seed_b"]))
            counters = {name for name in weights if name.endswith("num_batches_tracked")}
            mixed = {n: w if n in counters else w + np.float32(0.1) * (other[n] - w) for n, w in weights.items()}
            method.teacher.load_state_dict(mixed)
        method.start_epoch(0)
        iterations, _, count = c9[f"{scenario}_image_u8"].shape[:3]
        for iteration in range(iterations):
            k, first = f"{scenario}_it{iteration}_", iteration == 0
            momentum = momentum_at(self.SETTINGS, iteration, self.BATCHES_PER_EPOCH)
            assert momentum == pytest.approx(float(c9[k + "ema_alpha"]), abs=1e-12)
            batch = method.surroundings.pairs.batch(torch.arange(count) + count * iteration, "cpu")
            total = method.step(batch, iteration)["total"]
            self.compare_labels(c9, k, method, atol=2e-5 if first else 4e-4)
            for found, expected in zip(losses[-2:], c9[k + "loss_view"], strict=True):
                terms = torch.stack([term.detach().double() for term in found])
                close(terms, expected, rtol=2e-5 if first else 5e-4, atol=1e-9)
            close(total.double(), c9[k + "loss_total"], rtol=2e-5 if first else 5e-4)
            self.compare_networks(c9, k, student, method.teacher, first)
            close(label_rotation(method._epoch.labels[-1]), c9[k + "R_prime"], atol=2e-5 if first else 4e-4)
            close(method.rotation_12, c9[k + "R12_new"], atol=1e-6)
            if scenario == "s" and first:
                # The student still is its teacher, so its heat maps are their own target.
                assert float((losses[0].heat + losses[1].heat).detach()) < 1e-9

    def method(self, c9: Arrays, scenario: str, student: DetNet) -> S2DHand:
        """The method as released, on the pairs of all iterations one after the other."""
        images, valid, veil, left = (c9[f"{scenario}_{name}"] for name in ("image_u8", "vis", "hm_veil", "left"))
        images, valid, veil = (each.transpose(0, 1).flatten(1, 2) for each in (images, valid, veil))
        axes = mirrors(left.flatten() > 0).expand(2, -1, -1, -1)
        pairs = PairCrops(images[..., None], axes, torch.eye(3).double().expand_as(axes), turned=False)
        learner = MapLearner(self.SETTINGS, "faithful")
        assert student.root_joint is not None
        learner.root_joint = student.root_joint
        surroundings = Surroundings(
            *(student, learner, pairs, c9[f"{scenario}_R12"], self.SETTINGS, Settings(), self.BATCHES_PER_EPOCH),
            *("faithful", "standard", 1, torch.Generator(), "cpu"),
        )
        return S2DHand(surroundings, GroundTruthLeak(valid > 0, veil))

    @staticmethod
    def compare_labels(c9: Arrays, k: str, method: S2DHand, atol: float) -> None:
        epoch, labels = method._epoch, method._epoch.labels[-1]
        for view in range(2):
            close(epoch.answers[-1][:, view], c9[f"{k}e{view + 1}"], atol=atol)
            close(epoch.confidence[-1][:, view], c9[f"{k}vmax{view + 1}"][..., 0], atol=atol)
        close(labels.merged.view_1, c9[k + "c1"], atol=atol)
        close(labels.merged.view_2, c9[k + "c2"], atol=atol)
        close(labels.refined.view_1, c9[k + "r1"], atol=atol)
        close(labels.refined.view_2, c9[k + "r2"], atol=atol)
        close(labels.view_1, c9[k + "y1"], atol=atol)
        close(labels.view_2, c9[k + "y2"], atol=atol)

    @staticmethod
    def compare_networks(c9: Arrays, k: str, student: DetNet, teacher: DetNet, first: bool) -> None:
        names = sorted(name for name, _ in student.named_parameters())
        for network, kind in ((student, "param"), (teacher, "ema")):
            parameters = dict(network.named_parameters())
            flat = [parameters[name].detach().double().flatten() for name in names]
            probes = torch.stack([values[i] for values, i in zip(flat, c9[k + "probe_idx"], strict=True)])
            close(probes, c9[f"{k}probe_{kind}"], atol=1e-6 if first else 2e-5)
            close(torch.stack([values.sum() for values in flat]), c9[f"{k}{kind}_sum"], atol=1.0)
            close(torch.stack([values.norm() for values in flat]), c9[f"{k}{kind}_l2"], rtol=1e-4)
            everything = torch.cat(flat)
            close(everything.sum(), c9[f"{k}{kind}_total_sum"], atol=1.0)
            close(everything.norm(), c9[f"{k}{kind}_total_l2"], rtol=1e-6)
        gradients = dict(student.named_parameters())
        flat = [gradients[name].grad.double().flatten() for name in names]
        close(torch.stack([g.norm() for g in flat]), c9[k + "grad_l2"], rtol=5e-4 if first else 5e-3)
        probes = torch.stack([g[i] for g, i in zip(flat, c9[k + "probe_idx"], strict=True)])
        close(probes, c9[k + "probe_grad"], rtol=5e-4 if first else 1e-2)
