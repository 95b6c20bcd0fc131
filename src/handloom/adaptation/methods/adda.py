"""ADDA (Tzeng et al., CVPR 2017): a target encoder whose features no discriminator tells from the source's.

    D:   min  -E log D(f_s) - E log(1 - D(f_t))
    E_t: min  -E log D(f_t)                          (inverted labels, not a reversed gradient)

f_s are features of source images from the frozen source encoder E_s, f_t those of target images from E_t, which starts
as its copy (the paper's Sec. 4). The heads stay the source's: they never see a target label, nor a gradient.

The attachment to DetNet is nowhere described; this is a proposal: the encoder is DetNet's trunk, D (two hidden layers,
ReLU) sees the mean of the trunk's map (`pooled`) or every cell of it (`cells`, a discriminator of 1x1 convolutions).
"""

import copy
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.adaptation.adapt import adaptation_stage
from handloom.adaptation.map_learner import MapLearner
from handloom.adaptation.method import Surroundings, descend
from handloom.adaptation.methods.detnet_method import DetNetMethod, Features
from handloom.adaptation.pairs import PairBatch
from handloom.runtime.config.methods import AddaSettings
from handloom.runtime.seeds import torch_generator

HIDDEN = 500
"""Width of the discriminator's two hidden layers, as the paper's for digits (Sec. 5.1)."""
BETAS = (0.5, 0.999)
"""Adam's, as published."""


class Discriminator(nn.Module):
    """Features to the logit of "from the source": Linear, ReLU, Linear, ReLU, Linear."""

    def __init__(self, features: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Float[Tensor, "n features"]) -> Float[Tensor, " n"]:
        return self.layers(features)[:, 0]


def discriminator_loss(source_logits: Float[Tensor, " n"], target_logits: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """-mean log D(f_s) - mean log(1 - D(f_t)), D = sigmoid(logit); 2 log 2 where D knows nothing."""
    return functional.softplus(-source_logits).mean() + functional.softplus(target_logits).mean()


def encoder_loss(target_logits: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """-mean log D(f_t)."""
    return functional.softplus(-target_logits).mean()


def told_apart(features: Features, what: Literal["pooled", "cells"]) -> Float[Tensor, "n features"]:
    """What the discriminator sees: one mean feature an image, or one feature a cell."""
    return features.mean(dim=(2, 3)) if what == "pooled" else features.movedim(1, -1).flatten(0, 2)


class Adda(DetNetMethod):
    """The target network, of which only the trunk learns; the frozen source trunk; the discriminator."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        network, settings = self.network, surroundings.options
        assert isinstance(settings, AddaSettings)
        self._settings = settings
        self.source_encoder = copy.deepcopy(network.resnet50).requires_grad_(False)
        generator = torch_generator(surroundings.seed, "discriminator")
        device = network.cell_positions.device
        self.discriminator = Discriminator(network.settings.head_width, HIDDEN, generator).to(device)
        self.networks = {
            "network": network,
            "source_encoder": self.source_encoder,
            "discriminator": self.discriminator,
        }
        self.optimisers = {
            "encoder": torch.optim.Adam(network.resnet50.parameters(), lr=settings.learning_rate, betas=BETAS),
            "discriminator": torch.optim.Adam(
                self.discriminator.parameters(), lr=settings.discriminator_learning_rate, betas=BETAS
            ),
        }

    def step(self, batch: PairBatch, update: int) -> dict[str, Tensor]:
        """The discriminator on features of both domains, then the encoder against it."""
        images = self.images(batch)
        source_images = self.surroundings.labelled_source().batch(len(images), "adda", update).images
        with torch.no_grad():
            source_features = self._features(self.source_encoder, source_images)
        features = self._features(self.network.resnet50, images)
        loss_d = discriminator_loss(self.discriminator(source_features), self.discriminator(features.detach()))
        descend(self.optimisers["discriminator"], loss_d)
        loss_e = encoder_loss(self.discriminator(features))
        descend(self.optimisers["encoder"], loss_e)
        return {"discriminator": loss_d, "encoder": loss_e}

    def _features(self, encoder: nn.Module, images: Tensor) -> Float[Tensor, "n features"]:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            features = encoder(images)
        return told_apart(features.float(), self._settings.features)


adapt = adaptation_stage(MapLearner, Adda, AddaSettings)
