"""What adaptation to a camera pair is between two epochs: both networks, the cameras' rotation, and the curves."""

import math
from typing import Any, Generic, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class TeacherStudent(Generic[Network]):
    """The part of a job that a checkpoint holds, and the schedule of its learning rate."""

    student: Network
    teacher: Network
    optimiser: torch.optim.Optimizer
    rotation_12: Float[Tensor, "3 3"]
    generator: torch.Generator
    epoch: int
    history: list[dict[str, float]]

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        return {
            "epoch": self.epoch,
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rotation_12": self.rotation_12,
            "generator": self.generator.get_state(),
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self.epoch, self.rotation_12, self.history = state["epoch"], state["rotation_12"], state["history"]
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])

    def set_learning_rate(
        self, first: float, decay: Literal["none", "cosine"], step: int, steps: int, *, warm_up_steps: int = 0
    ) -> None:
        """The rate of step number `step` of `steps`, from 0: `first`, or, cosine, first (1 + cos(pi step / steps)) / 2.

        During a warm-up of w steps it is multiplied by (step + 1) / (w + 1).
        """
        factor = 0.5 * (1 + math.cos(math.pi * (step / steps))) if decay == "cosine" else 1.0
        rise = min(1.0, (step + 1) / (warm_up_steps + 1))
        for group in self.optimiser.param_groups:
            group["lr"] = first * factor * rise
