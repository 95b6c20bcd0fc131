"""Fine-tune, the upper bound: DetNet's own training goes on with the target's labels.

    L = L_sup(f(x_t), y_t),   L_sup = 100 hm + dm + 10 lm   (`estimators/detnet/targets.py`)

on the same pairs and updates as every other method, once with batch norm statistics frozen as in S2DHand and once with
them trained. The paper does not tell its own recipe, nor whether it trained on these images or on another split.
"""

from functools import partial

import torch
from torch import Tensor

from handloom.adaptation.adapt import adaptation_stage
from handloom.adaptation.diagnostics import PairLabels
from handloom.adaptation.map_learner import MapLearner
from handloom.adaptation.method import Surroundings, descend
from handloom.adaptation.methods.detnet_method import DetNetMethod, TargetLabels, answer, supervised_loss
from handloom.adaptation.pairs import PairBatch
from handloom.estimators.detnet.targets import delta_target, key_point_heat_maps, location_target
from handloom.runtime.config.methods import FineTuneSettings
from handloom.runtime.config.sources import DetNetSettings


def target_labels(labels: PairLabels, detnet: DetNetSettings, root_joint: int) -> TargetLabels:
    """Labels of both views' images, the first view's before the second's, from their annotations."""
    heat, veil = key_point_heat_maps(labels.keypoints_256px.float().flatten(0, 1), detnet.input_px, detnet.map_cells)
    mirror = torch.where(labels.is_left[:, None, None], labels.joints_m.new_tensor([-1.0, 1.0, 1.0]), 1.0)
    joints = (labels.joints_m * mirror).float().flatten(0, 1)
    valid = labels.valid.float().flatten(0, 1)
    return TargetLabels(heat, veil * valid, delta_target(joints), location_target(joints, root_joint))


class FineTune(DetNetMethod):
    """One network and Adam on all its parameters."""

    def __init__(self, surroundings: Surroundings, labels: PairLabels, *, train_batch_norm: bool = False) -> None:
        super().__init__(surroundings)
        settings = surroundings.options
        assert isinstance(settings, FineTuneSettings)
        self._train_batch_norm = train_batch_norm
        self._labels = target_labels(labels, self.network.settings, self.learner.root_joint)
        self.networks = {"network": self.network}
        self.optimisers = {"network": torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)}

    def step(self, batch: PairBatch, update: int) -> dict[str, Tensor]:
        """DetNet's loss of the batch's labels."""
        both = torch.cat([batch.rows, batch.rows + len(self.surroundings.pairs)])
        labels = self._labels.at(both, self.surroundings.device)
        self.network.train(self._train_batch_norm)
        loss = supervised_loss(answer(self.network, self.images(batch), self.precision).maps, labels)
        descend(self.optimisers["network"], loss.total)
        self.network.eval()
        return dict(zip(("total", "heat", "delta", "location"), loss, strict=True))


adapt = adaptation_stage(MapLearner, options_type=FineTuneSettings, with_labels=FineTune)
adapt_batch_norm = adaptation_stage(
    MapLearner, options_type=FineTuneSettings, with_labels=partial(FineTune, train_batch_norm=True)
)
