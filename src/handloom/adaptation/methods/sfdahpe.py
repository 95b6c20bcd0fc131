"""SFDAHPE (Peng, Zheng, Chen, ICCV 2023): three copies of the source network teach one another on target images alone.

Source model S (its trunk frozen), intermediate model I (its heads frozen) and target model T; with detached partners,

    S:  agree(S, I)
    I:  agree(I, S) + 0.7 residual(I, S)
    T:  agree(T, I) + 0.5 contrast(T, I) + 0.85 information(T)
    then  I <- m I + (1 - m) T,  and I is scored

    agree       = 0.5 mean (H_a - H_b)^2, and the same of delta and location maps where I's heat is
    residual    = KL of the heat maps' softmaxes without both models' peaks
    contrast    = -mean_j log( sim(j, j) / sum_k sim(j, k) ),  sim the mean cosine of row and of column marginals
    information = ( entropy of row + of column marginals - entropy of the batch's mean heat map ) / cells

The released code cannot run, and could not adapt if it did: this is its intent, repaired,
not a port. Marginals are softmaxes of the map's means along the other axis. Softmaxes are of the heat maps' logits: of
values between 0 and 1 they would be nearly flat.

The attachment to DetNet is nowhere described; this is a proposal: `squeeze` and the heads are S's trainable part, the
rest of the trunk I's; delta and location maps take part in `agree`, so that depth adapts too. The published selection
of the best target score is left out.
"""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.adaptation.adapt import adaptation_stage
from handloom.adaptation.map_learner import MapLearner
from handloom.adaptation.method import Surroundings, descend
from handloom.adaptation.methods.detnet_method import DetNetMethod, NetworkAnswer, answer, peak_cells
from handloom.adaptation.pairs import PairBatch
from handloom.adaptation.s2dhand import update_teacher
from handloom.estimators.detnet.network import DetNet
from handloom.runtime.config.methods import SfdahpeSettings

Maps = Float[Tensor, "batch 21 rows cols"]
"""Heat maps of all joints, or their logits."""
Scalar = Float[Tensor, ""]

BACKBONE_SHARE = 0.1
"""Learning rate of the intermediate trunk over the others', as published."""
RESIDUAL_WEIGHT = 0.7
"""Of what heat maps say beside their peaks, as published."""
CONTRAST_WEIGHT = 0.5
"""Of the contrast between joints, as published."""
INFORMATION_WEIGHT = 0.85
"""Of certain and varied heat maps, as published."""


def agreement(found: NetworkAnswer, taught: NetworkAnswer, heat: Maps) -> Scalar:
    """0.5 mean (H - H')^2 + 0.5 (heat-weighted mean of (D - D')^2 + the same of L)."""
    loss = 0.5 * (found.maps.heat - taught.maps.heat).square().mean()
    share = heat / heat.sum().clamp_min(torch.finfo(heat.dtype).tiny)
    for a, b in ((found.maps.delta, taught.maps.delta), (found.maps.location, taught.maps.location)):
        loss = loss + 0.5 * (share * (a - b).square().mean(2)).sum()
    return loss


def residual(logits: Maps, taught: Maps) -> Scalar:
    """Mean over joints of KL(softmax(taught), softmax(logits)) over all cells but the two maps' peaks."""
    left_out = (
        functional.one_hot(torch.stack([peak_cells(logits), peak_cells(taught)]), logits[0, 0].numel()).sum(0) > 0
    )
    log_q, log_p = (m.flatten(2).masked_fill(left_out, -torch.inf).log_softmax(-1) for m in (logits, taught))
    terms = torch.where(left_out, 0.0, log_p.exp() * (log_p - log_q).masked_fill(left_out, 0.0))
    return terms.sum(-1).mean()


def marginals(logits: Maps) -> tuple[Float[Tensor, "batch 21 rows"], Float[Tensor, "batch 21 cols"]]:
    """Softmaxes over rows and over columns of the map's mean along the other axis."""
    return logits.mean(3).softmax(-1), logits.mean(2).softmax(-1)


def contrast(logits: Maps, taught: Maps) -> Scalar:
    """-log of the share of a joint's similarity that is with the same joint of the other model; log 21 if all alike."""
    pairs = zip(marginals(logits), marginals(taught), strict=True)
    cosines = [functional.normalize(a, dim=-1) @ functional.normalize(b, dim=-1).transpose(1, 2) for a, b in pairs]
    similarity = torch.stack(cosines).mean(0)
    return -(similarity.diagonal(dim1=1, dim2=2) / similarity.sum(-1)).log().mean()


def information(logits: Maps) -> Scalar:
    """(mean entropy of row marginals + of column marginals - entropy of the batch's mean heat map) / cells."""
    rows, columns = marginals(logits)
    mean_map = logits.flatten(2).softmax(-1).mean(0)
    certain = _entropy(rows).mean() + _entropy(columns).mean()
    return (certain - _entropy(mean_map).mean()) / mean_map.shape[-1]


def _entropy(p: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    return -torch.special.xlogy(p, p).sum(-1)


class Sfdahpe(DetNetMethod):
    """The three networks, and an optimiser for the part of each that learns."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        network, settings = self.network, surroundings.options
        assert isinstance(settings, SfdahpeSettings)
        self._settings = settings
        self._momentum = settings.momentum if surroundings.budget == "standard" else settings.momentum_long
        self.source, self.intermediate, self.target = network, copy.deepcopy(network), copy.deepcopy(network)
        self.networks = {"source": self.source, "intermediate": self.intermediate, "target": self.target}
        rate = settings.learning_rate
        self.optimisers = {
            "source": torch.optim.Adam(_upper_parameters(self.source), lr=rate),
            "intermediate": torch.optim.Adam(_trunk_parameters(self.intermediate), lr=BACKBONE_SHARE * rate),
            "target": torch.optim.Adam(self.target.parameters(), lr=rate),
        }

    def step(self, batch: PairBatch, update: int) -> dict[str, Tensor]:
        """Source and intermediate model, then the target model, then the slow average."""
        images = self.images(batch)
        precision = self.precision
        s, i = (answer(network, images, precision) for network in (self.source, self.intermediate))
        heat = i.maps.heat.detach()
        s_constant, i_constant = s.mapped(Tensor.detach), i.mapped(Tensor.detach)
        source_loss = agreement(s, i_constant, heat)
        intermediate_loss = agreement(i, s_constant, heat)
        intermediate_loss = intermediate_loss + RESIDUAL_WEIGHT * residual(i.heat_logits, s_constant.heat_logits)
        descend(self.optimisers["source"], source_loss)
        descend(self.optimisers["intermediate"], intermediate_loss)
        with torch.no_grad():
            i = answer(self.intermediate, images, precision)
        t = answer(self.target, images, precision)
        contrasted, informed = contrast(t.heat_logits, i.heat_logits), information(t.heat_logits)
        target_loss = agreement(t, i, i.maps.heat) + CONTRAST_WEIGHT * contrasted + INFORMATION_WEIGHT * informed
        descend(self.optimisers["target"], target_loss)
        update_teacher(self.intermediate, self.target, self._momentum)
        return {
            "source": source_loss,
            "intermediate": intermediate_loss,
            "target": target_loss,
            "contrast": contrasted,
            "information": informed,
        }

    def adapted(self) -> DetNet:
        """The intermediate model."""
        return self.intermediate


def _upper_parameters(network: DetNet) -> list[nn.Parameter]:
    """The part of DetNet that stands for the published upsampling and head."""
    parts = (network.resnet50.squeeze, network.hmap_0, network.dmap_0, network.lmap_0)
    return [parameter for part in parts for parameter in part.parameters()]


def _trunk_parameters(network: DetNet) -> list[nn.Parameter]:
    """The trunk without `squeeze`."""
    return [p for name, p in network.resnet50.named_parameters() if not name.startswith("squeeze.")]


adapt = adaptation_stage(MapLearner, Sfdahpe, SfdahpeSettings)
