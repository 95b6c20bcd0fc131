"""RegDA (Jiang et al., CVPR 2021): a second heat-map head is wrong where the target is unlike the source, until
features leave it no chance.

Three updates an iteration, with trunk f, heads h and the second heat-map head h':

    A  (f, h, h')  L_sup(h(f(x_s)), y_s) + KL(y_s, h(f(x_s))) + m KL(true(h(f(x_s))), h'(f(x_s)))
    B  (h')        KL(false(h(f(x_t))), h'(f(x_t)))
    C  (f)         KL(true(h(f(x_t))), h'(f(x_t)))

KL is that of maps normalised to sum 1 against the softmax of a head's logits, mean over joints and images. true(.) is a
Gaussian at the main head's peak; false(.)_j the sum of the other joints' Gaussians, clipped to [0, 1]. h' sees f
through a layer that is the identity forward and multiplies gradients by +lambda backward,

    lambda = 2 a / (1 + exp(-i / r)) - a

with m = 4, a = 0.1, r = 1000 published. The released code (`tllib/alignment/regda.py` of
thuml/Transfer-Learning-Library) weighs target joints by their annotated visibility; here they all weigh the same.

The attachment to DetNet is nowhere described; this is a proposal: h is `hmap_0` before its sigmoid and h' starts as its
copy; delta and location heads learn from the source only and gain from the features. With r = 1000 an adaptation of 160
updates ends at lambda = 0.008, so r is a setting.
"""

import copy
import math
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from handloom.adaptation.adapt import adaptation_stage
from handloom.adaptation.map_learner import MapLearner
from handloom.adaptation.method import Surroundings, descend
from handloom.adaptation.methods.detnet_method import DetNetMethod, answer_from, head_input, peak_cells, supervised_loss
from handloom.adaptation.pairs import PairBatch
from handloom.estimators.detnet.targets import heat_map_target
from handloom.runtime.config.methods import RegdaSettings

Maps = Float[Tensor, "batch 21 rows cols"]
"""Heat maps of all joints, or their logits."""

EPSILON = 1e-7
"""Added to targets before they are normalised."""
MARGIN = 4.0
"""m: weight of the second head's loss on the source."""
LARGEST_LAMBDA = 0.1
"""a: share of the second head's gradient that features get in the end."""


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.factor * gradient, None


def scaled_gradient(features: Tensor, factor: float) -> Tensor:
    """The identity, whose gradient is multiplied by `factor`."""
    return _ScaledGradient.apply(features, factor)


def gradient_share(update: int, largest: float, ramp_updates: float) -> float:
    """lambda of the 0-based update i: 2 a / (1 + exp(-i / r)) - a, from 0 to a."""
    return 2 * largest / (1 + math.exp(-update / ramp_updates)) - largest


def heat_map_kl(target: Maps, logits: Maps) -> Float[Tensor, "batch 21"]:
    """KL(p, softmax(logits)) over the cells, p = (target + eps) / sum."""
    p = target.flatten(2) + EPSILON
    p = p / p.sum(-1, keepdim=True)
    return functional.kl_div(functional.log_softmax(logits.flatten(2), -1), p, reduction="none").sum(-1)


def true_maps(cells: Int64[Tensor, "batch 21"], map_cells: int) -> Maps:
    """A Gaussian of one cell's deviation at each joint's cell."""
    return heat_map_target(torch.stack([cells % map_cells, cells // map_cells], -1), map_cells)[0]


def false_maps(true: Maps) -> Maps:
    """Where each joint is not: the other joints' Gaussians, added and clipped to [0, 1]."""
    return (true.sum(1, keepdim=True) - true).clamp(0, 1)


class Regda(DetNetMethod):
    """The network and the second head; optimisers of the trunk, of the heads and of the second head."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        network, settings = self.network, surroundings.options
        assert isinstance(settings, RegdaSettings)
        self._settings = settings
        self._ramp = settings.ramp_updates if surroundings.budget == "standard" else settings.ramp_updates_long
        self.second_head = copy.deepcopy(network.hmap_0)
        self.networks = {"network": network, "second_head": self.second_head}
        heads = (network.hmap_0, network.dmap_0, network.lmap_0)
        self.optimisers = {
            "trunk": torch.optim.Adam(network.resnet50.parameters(), lr=settings.learning_rate),
            "heads": torch.optim.Adam([p for head in heads for p in head.parameters()], lr=settings.learning_rate),
            "second_head": torch.optim.Adam(self.second_head.parameters(), lr=settings.learning_rate),
        }

    def step(self, batch: PairBatch, update: int) -> dict[str, Tensor]:
        """The updates A, B and C."""
        images = self.images(batch)
        share = gradient_share(update, LARGEST_LAMBDA, self._ramp)
        source_loss, second_source_loss = self._update_a(len(images), update, share)
        with self._precision(images):
            features = self.network.resnet50(images)
            with torch.no_grad():
                seen_features = features.detach()
                logits = self.network.hmap_0(head_input(self.network, seen_features)).float()
        true = true_maps(peak_cells(logits), self.network.settings.map_cells)
        loss_b = heat_map_kl(false_maps(true), self._second(seen_features, share)).mean()
        descend(self.optimisers["second_head"], loss_b)
        loss_c = heat_map_kl(true, self._second(features, share)).mean()
        descend(self.optimisers["trunk"], loss_c)
        return {"source": source_loss, "second_source": second_source_loss, "false": loss_b, "true": loss_c}

    def _update_a(self, size: int, update: int, share: float) -> tuple[Tensor, Tensor]:
        source = self.surroundings.labelled_source().batch(size, "regda", update)
        with self._precision(source.images):
            features = self.network.resnet50(source.images)
            found = answer_from(self.network, features)
        calibration = (source.veil * heat_map_kl(source.heat, found.heat_logits)).mean()
        source_loss = supervised_loss(found.maps, source).total + calibration
        true = true_maps(peak_cells(found.heat_logits.detach()), self.network.settings.map_cells)
        second = (source.veil * heat_map_kl(true, self._second(features, share))).mean()
        loss = source_loss + MARGIN * second
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in self.optimisers.values():
            optimiser.step()
        return source_loss, second

    def _second(self, features: Tensor, share: float) -> Maps:
        """The second head's logits; what they ask of the features arrives there by the share lambda."""
        with self._precision(features):
            return self.second_head(head_input(self.network, scaled_gradient(features, share))).float()

    def _precision(self, tensor: Tensor) -> torch.autocast:
        return torch.autocast(tensor.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


adapt = adaptation_stage(MapLearner, Regda, RegdaSettings)
