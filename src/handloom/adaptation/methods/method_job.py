"""A method at work on one camera pair: batches of target images, one step each, and the curves."""

import sys
from collections import defaultdict
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from handloom.adaptation.adaptation_files import predict_pairs
from handloom.adaptation.diagnostics import pair_errors, read_truth
from handloom.adaptation.methods.method import Method, TargetBatch
from handloom.adaptation.methods.target_labels import TargetLabels
from handloom.datasets.views import ViewSamples
from handloom.estimators.detnet.prediction import network_input
from handloom.runtime.errors import InputError


class MethodJob:
    """The state between epochs; a step gets images, and labels only where they are given. Truth is for the curves."""

    def __init__(
        self,
        method: Method,
        views: tuple[ViewSamples, ViewSamples],
        rows: tuple[Tensor, Tensor],
        *,
        batch_size: int,
        diagnostic_pairs: int,
        rotation_12: Tensor,
        root_joint: int,
        generator: torch.Generator,
        labels: tuple[TargetLabels, TargetLabels] | None,
        device: str,
    ) -> None:
        self.method, self.epoch, self._batch_size, self._device = method, 0, batch_size, device
        self._generator, self._labels = generator, labels
        self._images: tuple[UInt8[Tensor, "pairs px px"], ...] = tuple(
            torch.from_numpy(view.image_u8)[index] for view, index in zip(views, rows, strict=True)
        )
        shown = torch.linspace(0, len(rows[0]) - 1, min(diagnostic_pairs, len(rows[0]))).round().long()
        self._views, self._shown, self._root_joint = views, (rows[0][shown], rows[1][shown]), root_joint
        self._truth, self._rotation_12 = read_truth(*views, *self._shown), rotation_12
        self.history: list[dict[str, float]] = [{"epoch": 0.0, **self._scores()}]

    def run_epoch(self) -> None:
        """One pass over all pairs, in S2DHand's order."""
        self.method.start_epoch(self.epoch)
        count = len(self._images[0])
        batches = torch.randperm(count, generator=self._generator).split(self._batch_size)
        losses: dict[str, list[Tensor]] = defaultdict(list)
        for number, rows in enumerate(batches):
            for name, value in self.method.step(self._batch(rows), self.epoch * len(batches) + number).items():
                losses[name].append(value.detach().double().cpu())
        self.epoch += 1
        means = {f"{name}_loss": float(torch.stack(values).mean()) for name, values in losses.items()}
        if not torch.tensor(list(means.values())).isfinite().all():
            raise InputError(f"epoch {self.epoch}: losses {means} are not finite; lower the method's learning rate")
        self.history.append({"epoch": float(self.epoch), **self._scores(), **means})
        told = ", ".join(f"{name} {value:.4g}" for name, value in self.history[-1].items())
        print(told, file=sys.stderr, flush=True)

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        return {
            "epoch": self.epoch,
            "method": self.method.state(),
            "generator": self._generator.get_state(),
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self.epoch, self.history = state["epoch"], state["history"]
        self.method.restore(state["method"])
        self._generator.set_state(state["generator"])

    def _batch(self, rows: Tensor) -> TargetBatch:
        images = torch.cat([network_input(images[rows].to(self._device)) for images in self._images])
        if self._labels is None:
            return TargetBatch(images, None)
        of_views = [labels.at(rows, self._device) for labels in self._labels]
        return TargetBatch(images, TargetLabels(*(torch.cat(parts) for parts in zip(*of_views, strict=True))))

    def _scores(self) -> dict[str, float]:
        """Diagnostics of some pairs, for the curves only; views merged by the first rotation."""
        if len(self._shown[0]) == 0:
            return {}
        found = predict_pairs(self.method.adapted(), self._views, self._shown, device=self._device)
        poses = torch.stack([view.joints for view in found], 1)
        errors = pair_errors(poses, self._truth, self._rotation_12, self._root_joint)
        return {"mono_mm": errors.mono_mm, "dual_mm": errors.dual_mm}
