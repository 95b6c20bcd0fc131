"""S2DHand against numbers of the released code: rotations (c5), pseudo-labels (c6), whole iterations (c9).

Every seed, root joint and size comes from the files.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.adaptation.merging import merge_poses, merge_weights
from handloom.adaptation.pseudo_labels import label_rotation, make_pseudo_labels, mirror_left
from handloom.adaptation.refinement import objective_and_gradient, refine_least_norm, rotation_objective
from handloom.adaptation.step import GroundTruthLeak, PairBatch, adapt_once
from handloom.adaptation.teacher import make_teacher, momentum_at
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.prediction import network_input
from handloom.estimators.detnet.targets import delta_target, location_target
from handloom.geometry.rotations import (
    matrix_from_quaternion,
    mean_rotation_chordal,
    mean_rotation_unsigned,
    momentum_rotation,
    quaternion_from_matrix,
    rotation_between,
)
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.detnet import DetNetSettings

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


def batches(c6: Arrays) -> list[str]:
    """Prefixes of the file's batches of pairs, the tie case left out."""
    found = sorted(name.removesuffix("e1") for name in c6 if name.endswith("_e1"))
    assert found
    return found


class TestPseudoLabels:
    MODES = (("max", "max"), ("soft", "weight"), ("average", "avg"))

    @pytest.mark.parametrize(("mode", "reference_name"), MODES)
    def test_merging(self, c6: Arrays, mode: str, reference_name: str) -> None:
        for k in batches(c6):
            weights = merge_weights(
                *(c6[k + "vis1"] > 0, c6[k + "vis2"] > 0, c6[k + "vmax1"][..., 0], c6[k + "vmax2"][..., 0], mode),
                ties="add",
            )
            w1, w2 = (weight.double() for weight in weights)
            merged = merge_poses(c6[k + "q1"].double(), c6[k + "q2"].double(), c6[k + "R12"], w1, w2)
            close(merged.view_1, c6[f"{k}c1_{reference_name}"], atol=2e-6)
            close(merged.view_2, c6[f"{k}c2_{reference_name}"], atol=2e-6)

    @pytest.mark.parametrize(("ties", "suffix"), [("add", "upstream"), ("average", "fixed")])
    def test_ties_are_added_as_released_or_averaged(self, c6: Arrays, ties: str, suffix: str) -> None:
        seen_1, seen_2 = c6["tie_vis1"] > 0, c6["tie_vis2"] > 0
        weights = merge_weights(seen_1, seen_2, c6["tie_vmax1"][..., 0], c6["tie_vmax2"][..., 0], "max", ties=ties)
        w1, w2 = (weight.double() for weight in weights)
        merged = merge_poses(c6["tie_q1"].double(), c6["tie_q2"].double(), c6["tie_R12"], w1, w2)
        close(merged.view_1, c6[f"tie_c1_max_{suffix}"], atol=2e-6)
        close(merged.view_2, c6[f"tie_c2_max_{suffix}"], atol=2e-6)

    @pytest.mark.parametrize(("analytic_gradient", "atol"), [(False, 3e-5), (True, 5e-4)])
    def test_faithful_labels_follow_the_reference_from_poses_to_targets(
        self, c6: Arrays, analytic_gradient: bool, atol: float
    ) -> None:
        for k in batches(c6):
            root = int(c6[k + "root_idx"])
            labels = make_pseudo_labels(
                *(c6[k + "e1"], c6[k + "e2"], c6[k + "vmax1"][..., 0], c6[k + "vmax2"][..., 0]),
                *(c6[k + "vis1"] > 0, c6[k + "vis2"] > 0, c6[k + "R12"]),
                root_joint=root,
                consensus_weight=0.7,
                fidelity="faithful",
                analytic_gradient=analytic_gradient,
            )
            close(labels.aligned.view_1, c6[k + "q1"], atol=2e-6)
            close(labels.aligned.view_2, c6[k + "q2"], atol=2e-6)
            close(labels.aligned.scale_2, c6[k + "scale2"], atol=2e-6)
            close(labels.refined.view_1, c6[k + "r1"], atol=atol)
            close(labels.refined.view_2, c6[k + "r2"], atol=atol)
            close(labels.view_1, c6[k + "y1"], atol=atol)
            close(labels.view_2, c6[k + "y2"], atol=atol)
            if not analytic_gradient:
                rotation = label_rotation(labels)
                close(rotation, c6[k + "R_prime"], atol=1e-6)
                moved = momentum_rotation(c6[k + "R12"], rotation, 0.999, align_signs=False)
                close(moved, c6[k + "R12_new"], atol=1e-6)
            is_left = c6[k + "left"] > 0
            for view, label in (("1", labels.view_1), ("2", labels.view_2)):
                stored = c6[f"{k}y{view}_net"]
                close(mirror_left(label, is_left), stored, atol=atol)
                close(location_target(stored, root), c6[f"{k}loc{view}"], atol=1e-9)
                close(delta_target(stored), c6[f"{k}delta{view}"], atol=1e-9)
                if not analytic_gradient:
                    close(location_target(mirror_left(label, is_left), root), c6[f"{k}loc{view}"], atol=1e-4)
                    close(delta_target(mirror_left(label, is_left)), c6[f"{k}delta{view}"], atol=1e-4)

    def test_closed_form_refinement_is_the_least_norm_solution(self, c6: Arrays) -> None:
        for k in batches(c6):
            common = (c6[k + "vis1"] > 0) & (c6[k + "vis2"] > 0)
            refined = refine_least_norm(c6[k + "q1"].double(), c6[k + "q2"].double(), common, c6[k + "R12"])
            close(refined.view_1, c6[k + "r1_least_norm_fixed"], atol=1e-9)
            close(refined.view_2, c6[k + "r2_least_norm_fixed"], atol=1e-9)
            f = rotation_objective(refined.view_1, refined.view_2, c6[k + "R12"], common.double())
            assert bool((f <= c6[k + "rgr_f_end"].clamp_min(1e-12)).all())

    def test_analytic_gradient_of_the_refinement_objective(self, c6: Arrays) -> None:
        for k in batches(c6):
            common = (c6[k + "vis1"] > 0) & (c6[k + "vis2"] > 0)
            for sample, joints in enumerate(common):
                q1, q2 = (c6[k + q][sample, joints].double().numpy() for q in ("q1", "q2"))
                f, gradient_1, gradient_2 = objective_and_gradient(q1, q2, c6[k + "R12"].numpy())
                close(torch.tensor(f, dtype=torch.float64), c6[k + "rgr_f_start"][sample], atol=1e-6)
                close(torch.as_tensor(gradient_1), c6[k + "rgr_grad1"][sample, joints], atol=1e-6)
                close(torch.as_tensor(gradient_2), c6[k + "rgr_grad2"][sample, joints], atol=1e-6)

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

    @pytest.mark.slow
    @pytest.mark.parametrize("scenario", ["s", "t"])
    def test_whole_iterations(self, c9: Arrays, golden_folder: Path, scenario: str) -> None:
        weights = recipe_weights(golden_folder, int(c9["weight_seed_a"]))
        student = DetNet(DetNetSettings()).eval()
        student.load_state_dict(weights)
        teacher = make_teacher(student)
        if scenario == "t":
            other = recipe_weights(golden_folder, int(c9["weight_seed_b"]))
            counters = {name for name in weights if name.endswith("num_batches_tracked")}
            mixed = {n: w if n in counters else w + np.float32(0.1) * (other[n] - w) for n, w in weights.items()}
            teacher.load_state_dict(mixed)
        optimiser = torch.optim.Adam(student.parameters(), lr=self.SETTINGS.learning_rate)
        rotation = c9[f"{scenario}_R12"]
        for iteration in range(len(c9[f"{scenario}_image_u8"])):
            k = f"{scenario}_it{iteration}_"
            momentum = momentum_at(iteration, 0.99, warm_up=True, warm_up_start=self.BATCHES_PER_EPOCH)
            assert momentum == pytest.approx(float(c9[k + "ema_alpha"]), abs=1e-12)
            result = adapt_once(
                *(student, teacher, optimiser, self.batch(c9, scenario, iteration), rotation, self.SETTINGS),
                root_joint=int(c9[f"{scenario}_root_idx"]),
                fidelity="faithful",
                momentum=momentum,
            )
            first = iteration == 0
            self.compare_labels(c9, k, result, atol=2e-5 if first else 4e-4)
            self.compare_losses(c9, k, result, rtol=2e-5 if first else 5e-4)
            self.compare_networks(c9, k, student, teacher, first)
            estimate = label_rotation(result.labels)
            close(estimate, c9[k + "R_prime"], atol=2e-5 if first else 4e-4)
            rotation = momentum_rotation(rotation, estimate, 0.999, align_signs=False)
            close(rotation, c9[k + "R12_new"], atol=1e-6)
            if scenario == "s" and first:
                # The student still is its teacher, so its heat maps are their own target.
                assert float((result.loss_1.heat + result.loss_2.heat).detach()) < 1e-9

    @staticmethod
    def batch(c9: Arrays, scenario: str, iteration: int) -> PairBatch:
        images, vis, veil, left = (
            c9[f"{scenario}_{name}"][iteration] for name in ("image_u8", "vis", "hm_veil", "left")
        )
        return PairBatch(
            network_input(images[0]),
            network_input(images[1]),
            left > 0,
            GroundTruthLeak(vis[0] > 0, vis[1] > 0, veil[0], veil[1]),
        )

    @staticmethod
    def compare_labels(c9: Arrays, k: str, result, atol: float) -> None:
        close(result.teacher.poses_1, c9[k + "e1"], atol=atol)
        close(result.teacher.poses_2, c9[k + "e2"], atol=atol)
        close(result.teacher.confidence_1, c9[k + "vmax1"][..., 0], atol=atol)
        close(result.teacher.confidence_2, c9[k + "vmax2"][..., 0], atol=atol)
        labels = result.labels
        close(labels.merged.view_1, c9[k + "c1"], atol=atol)
        close(labels.merged.view_2, c9[k + "c2"], atol=atol)
        close(labels.refined.view_1, c9[k + "r1"], atol=atol)
        close(labels.refined.view_2, c9[k + "r2"], atol=atol)
        close(labels.view_1, c9[k + "y1"], atol=atol)
        close(labels.view_2, c9[k + "y2"], atol=atol)

    @staticmethod
    def compare_losses(c9: Arrays, k: str, result, rtol: float) -> None:
        for view, loss in enumerate((result.loss_1, result.loss_2)):
            close(
                torch.stack([term.detach().double() for term in loss]), c9[k + "loss_view"][view], rtol=rtol, atol=1e-9
            )
        close((result.loss_1.total + result.loss_2.total).double(), c9[k + "loss_total"], rtol=rtol)

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
