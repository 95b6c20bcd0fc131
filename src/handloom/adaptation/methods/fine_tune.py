"""Fine-tune, the upper bound: DetNet's own training goes on with the target's labels (facts/comparisons.md 1.2).

    L = L_sup(f(x_t), y_t),   L_sup = 100 hm + dm + 10 lm   (`estimators/detnet/loss.py`)

on the same pairs and updates as every other method, once with batch norm statistics frozen as in S2DHand and once with
them trained. The paper does not tell its own recipe, nor whether it trained on these images or on another split.
"""

import torch
from torch import Tensor

from handloom.adaptation.methods.method import Method, Surroundings, TargetBatch, descend
from handloom.adaptation.methods.network_answer import answer
from handloom.estimators.detnet.loss import detnet_loss
from handloom.estimators.detnet.network import DetNet
from handloom.runtime.config.methods import Budget, FineTuneSettings, MethodName, MethodsSettings


class FineTune(Method):
    """One network and Adam on all its parameters."""

    def __init__(
        self, network: DetNet, settings: FineTuneSettings, surroundings: Surroundings, *, train_batch_norm: bool
    ) -> None:
        self._surroundings, self._train_batch_norm = surroundings, train_batch_norm
        self.network = network
        self.networks = {"network": network}
        self.optimisers = {"network": torch.optim.Adam(network.parameters(), lr=settings.learning_rate)}

    def step(self, batch: TargetBatch, update: int) -> dict[str, Tensor]:
        """Raises ValueError for a batch without labels."""
        if batch.labels is None:
            raise ValueError("fine-tuning needs the target's labels, but the batch has none")
        labels = batch.labels
        self.network.train(self._train_batch_norm)
        maps = answer(self.network, batch.images, self._surroundings.precision).maps
        flag_3d = batch.images.new_ones(len(batch.images))
        loss = detnet_loss(maps, labels.heat, labels.delta, labels.location, flag_3d=flag_3d, veil=labels.veil)
        descend(self.optimisers["network"], loss.total)
        self.network.eval()
        return dict(zip(("total", "heat", "delta", "location"), loss, strict=True))

    def adapted(self) -> DetNet:
        """The network itself."""
        return self.network


def make(
    name: MethodName, network: DetNet, settings: MethodsSettings, surroundings: Surroundings, budget: Budget
) -> FineTune:
    """The method around a source network, as the stage asks for it."""
    return FineTune(network, settings.fine_tune, surroundings, train_batch_norm=name == "fine_tune_bn")
