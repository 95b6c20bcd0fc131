"""DAGEN (Guo et al., ACCV 2020, for gaze): a target embedding is what source embeddings say its prediction should have.

    w   = (G + l I)^-1 1,  divided by its sum;  G_ij = (y_t - y_i) . (y_t - y_j)    (locally linear in output space)
    L   = L_sup(source) + mean over kept samples of |z_t - sum_i w_i z_i|_1 / dim

y_i are the labels of k source samples near the prediction y_t, z their embeddings; a prediction with fewer than k
source labels within the radius is skipped, with more, k of them are drawn, as two unofficial
implementations have it; whether w takes gradients is unknown: here it takes none.

The attachment to DetNet is nowhere described; this is a proposal. `joint`: y is one joint's position in bone lengths,
z the trunk's feature in the cell where the joint is seen, and k = 4 or 5 spans three dimensions as in the paper.
`hand`: y is all 63 coordinates, z the mean feature, and the k nearest are taken whatever their distance. NearSamples
come from a bank of source samples, embedded anew every epoch.
"""

from operator import itemgetter
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from handloom.adaptation.adapt import adaptation_stage
from handloom.adaptation.map_learner import MapLearner
from handloom.adaptation.method import Surroundings, descend
from handloom.adaptation.methods.detnet_method import (
    DetNetMethod,
    NetworkAnswer,
    answer,
    at_cells,
    peak_cells,
    supervised_loss,
)
from handloom.adaptation.pairs import PairBatch
from handloom.estimators.detnet.network import read_out
from handloom.runtime.config.methods import DagenSettings
from handloom.runtime.seeds import torch_generator

BANK_BATCH = 64
"""Source samples embedded at a time."""
RIDGE = 1e-3
"""lambda of the combination's ridge regression, which keeps it solvable where neighbours lie in a plane."""


class Embedded(NamedTuple):
    """Poses and embeddings; `parts` is 21 joints, or 1 for the whole hand."""

    poses: Float[Tensor, "parts n dimensions"]
    embeddings: Float[Tensor, "parts n features"]


class NearSamples(NamedTuple):
    """k bank entries for each query, and which queries have so many."""

    entries: Int64[Tensor, "parts queries k"]
    kept: Bool[Tensor, "parts queries"]


def draw_within(
    queries: Float[Tensor, "parts queries dimensions"],
    bank: Float[Tensor, "parts n dimensions"],
    count: int,
    radius: float,
    generator: torch.Generator,
) -> NearSamples:
    """`count` random entries whose coordinates all differ by at most `radius`; queries with fewer are not kept."""
    near = torch.cdist(queries, bank, p=float("inf")) <= radius
    order = torch.rand(near.shape, generator=generator).to(queries.device)
    index = torch.where(near, order, -1.0).topk(count, dim=-1).indices
    return NearSamples(index, near.sum(-1) >= count)


def nearest(
    queries: Float[Tensor, "parts queries dimensions"], bank: Float[Tensor, "parts n dimensions"], count: int
) -> NearSamples:
    """The `count` entries of least Euclidean distance."""
    distance = torch.cdist(queries, bank)
    index = distance.topk(count, dim=-1, largest=False).indices
    return NearSamples(index, torch.ones_like(index[..., 0], dtype=torch.bool))


def combination_weights(
    queries: Float[Tensor, "*batch dimensions"], neighbours: Float[Tensor, "*batch k dimensions"], ridge: float
) -> Float[Tensor, "*batch k"]:
    """w = (G + ridge I)^-1 1 over its sum, G the Gram matrix of the differences query - neighbour."""
    difference = queries[..., None, :] - neighbours
    gram = difference @ difference.transpose(-1, -2)
    system = gram + ridge * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(system, torch.ones_like(system[..., :1]))[..., 0]
    return weights / weights.sum(-1, keepdim=True)


def embedding_loss(target: Embedded, bank: Embedded, neighbours: NearSamples) -> Float[Tensor, ""]:
    """Mean over kept queries and dimensions of |z_t - sum_i w_i z_i|, w constants; zero when none is kept."""
    part = torch.arange(len(bank.poses), device=bank.poses.device)[:, None, None]
    weights = combination_weights(target.poses.detach(), bank.poses[part, neighbours.entries], RIDGE)
    expected = (weights[..., None] * bank.embeddings[part, neighbours.entries]).sum(-2)
    error = (target.embeddings - expected).abs().mean(-1)
    kept = neighbours.kept.to(error)
    return (kept * error).sum() / kept.sum().clamp_min(1)


class Dagen(DetNetMethod):
    """One network, and the bank of the running epoch."""

    bank: Embedded

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        network, settings = self.network, surroundings.options
        assert isinstance(settings, DagenSettings)
        self._settings = settings
        self.networks = {"network": network}
        self.optimisers = {"network": torch.optim.Adam(network.parameters(), lr=settings.learning_rate)}

    def start_epoch(self, epoch: int) -> None:
        """Embed a new bank of source samples with the network as it is."""
        parts = []
        for number in range(0, self._settings.bank, BANK_BATCH):
            size = min(BANK_BATCH, self._settings.bank - number)
            source = self.surroundings.labelled_source().batch(size, f"bank {epoch}", number)
            with torch.no_grad():
                found = answer(self.network, source.images, self.precision)
            parts.append(self._embedded(found, source.location))
        self.bank = Embedded(*(torch.cat(each, 1) for each in zip(*parts, strict=True)))

    def step(self, batch: PairBatch, update: int) -> dict[str, Tensor]:
        """DetNet's loss on source samples plus the embedding loss of the target images."""
        images = self.images(batch)
        size, precision = len(images), self.precision
        source = self.surroundings.labelled_source().batch(size, "dagen", update)
        found = answer(self.network, torch.cat([source.images, images]), precision)
        of_source, of_target = (found.mapped(itemgetter(rows)) for rows in (slice(size), slice(size, None)))
        supervised = supervised_loss(of_source.maps, source).total
        target = self._embedded(of_target, read_out(of_target.maps).joints)
        neighbours = self._neighbours(target.poses.detach(), update)
        embedding = embedding_loss(target, self.bank, neighbours)
        descend(self.optimisers["network"], supervised + embedding)
        return {"source": supervised, "embedding": embedding, "kept": neighbours.kept.float().mean()}

    def _embedded(self, found: NetworkAnswer, poses: Float[Tensor, "batch 21 3"]) -> Embedded:
        if self._settings.form == "hand":
            return Embedded(poses.flatten(1)[None], found.features.mean(dim=(2, 3))[None])
        embeddings = at_cells(found.features, peak_cells(found.maps.heat))
        return Embedded(poses.transpose(0, 1), embeddings.transpose(0, 1))

    def _neighbours(self, poses: Tensor, update: int) -> NearSamples:
        count = self._settings.neighbours
        if self._settings.form == "hand":
            return nearest(poses, self.bank.poses, count)
        generator = torch_generator(self.surroundings.seed, "neighbours", update)
        return draw_within(poses, self.bank.poses, count, self._settings.radius, generator)


adapt = adaptation_stage(MapLearner, Dagen, DagenSettings)
