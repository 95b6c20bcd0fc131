"""The stage that adapts a network to a pair of cameras, by any method, and its resumable loop.

A method's module has `adapt = adaptation_stage(make, ...)`; the rule names that, so that the digest of its code holds
this method and no other.
"""

import csv
import io
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handloom.adaptation.camera_rotation import ROTATION_PAIRS, chosen_pairs, estimate_rotation
from handloom.adaptation.diagnostics import Curves, PairLabels
from handloom.adaptation.drawn_answers import DrawnPairs
from handloom.adaptation.learner import Learner, Poses
from handloom.adaptation.method import Method, SourceSamples, Surroundings
from handloom.adaptation.pair_predictions import PairPredictions, first_rotation
from handloom.adaptation.pairs import PairCrops
from handloom.datasets.views import HandCrops, pair_rows
from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Fidelity, Settings
from handloom.runtime.devices import chosen_precision, computing_on
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_text
from handloom.runtime.finished import taken_from_place, write_record
from handloom.runtime.progress import progress
from handloom.runtime.seeds import torch_generator

Make = Callable[[Surroundings], Method]
MakeWithLabels = Callable[[Surroundings, PairLabels], Method]


def adaptation_stage(
    make_learner: type[Learner],
    make: Make | None = None,
    options_type: type[Settings] = Settings,
    *,
    with_labels: MakeWithLabels | None = None,
) -> Callable[..., None]:
    """The stage `adapt` of a method that `make` makes of a source network and unlabelled pairs.

    `with_labels` makes it of labelled ones: always where there is no `make`, else in faithful mode, as released.
    """

    default_options = options_type()

    def adapt(
        crops: tuple[Path, Path],
        source: Path,
        rotations: Path,
        networks: Sequence[Path],
        predictions: Sequence[Path],
        histories: Sequence[Path],
        *,
        pair: str,
        variant: str,
        seeds: Sequence[int],
        work: Path,
        adaptation: AdaptationSettings,
        fidelity: Fidelity,
        ray_share: float,
        turned_poses: bool = False,
        start: str = "single",
        options: options_type = default_options,  # type: ignore[valid-type]  # known when a method is imported
        budget: str = "standard",
        labels: Sequence[Path] = (),
        samples: Sequence[Path] = (),
        records: Sequence[Path] = (),
        answers: Path | None = None,
        checkpoint_seconds: int = 20,
        device: str = "cpu",
        threads: int | None = None,
        code: str = "",
    ) -> None:
        """Stage: adapt the source network to a camera pair, once with every seed.

        Writes for each seed the network's weights, its poses of all pairs and the curves. Labels are for the curves
        only, unless the method says otherwise; nothing is selected by any score. Goes on from the newest checkpoint
        under `work`, if a job with the same settings, inputs and code was killed, and then ends bit-equal on the CPU;
        with `records`, seeds that are finished for these are kept.
        Raises InputError for views without a common hand, an unfit source, a missing rotation, and losses that are not
        finite.
        """
        adaptation = adaptation.model_copy(update={"precision": chosen_precision(adaptation.precision, device)})
        views = HandCrops.load(crops[0]), HandCrops.load(crops[1])
        rows = pair_rows(*views)
        chosen = chosen_pairs(len(rows[0]), adaptation)
        start_12 = torch.from_numpy(first_rotation(rotations, pair, start))
        every = PairCrops.of(views, rows, ray_share, turned=turned_poses)
        drawn = None if answers is None else DrawnPairs.of(answers, pair, rows)
        known = PairLabels.of(labels, (rows[0][chosen], rows[1][chosen])) if labels else None
        if known is not None and not bool((known.valid > 0).any()):
            known = None  # the labels are withheld
        # How many pairs the curves show changes nothing of what comes out.
        deciding = adaptation.model_dump(mode="json", exclude={"diagnostic_pairs"})
        identity = (deciding, options, budget, variant, fidelity, pair, code, start_12.tolist(), ray_share)
        read = [*crops, source, *samples, *([] if answers is None else [answers])]
        made_of = {seed: fingerprint(*identity, turned_poses, seed, *read) for seed in seeds}
        folders = {seed: CheckpointFolder(work, made_of[seed]) for seed in seeds}
        with computing_on(device, threads):
            for seed, *outputs in zip(seeds, networks, predictions, histories, strict=True):
                record, began = records[seeds.index(seed)] if records else None, time.monotonic()
                if record and taken_from_place(record, made_of[seed], outputs):
                    print(f"{pair} {variant} seed {seed}: finished before, and kept", file=sys.stderr)
                    continue
                learner = make_learner(adaptation, fidelity)
                loaded: Any = learner.load(source).to(device)
                surroundings = Surroundings(
                    network=loaded,
                    learner=learner,
                    pairs=every.at(torch.from_numpy(chosen)),
                    start_12=start_12,
                    settings=adaptation,
                    options=options,
                    updates_per_epoch=-(-len(chosen) // adaptation.batch_size),
                    fidelity=fidelity,
                    budget=budget,
                    seed=seed,
                    generator=torch_generator(seed, "s2dhand", pair),  # one order of pairs for all methods
                    device=device,
                    source=SourceSamples(
                        samples, loaded.settings, root_joint=learner.root_joint, seed=seed, device=device
                    )
                    if samples
                    else None,
                    drawn=drawn,
                    chosen=chosen,
                )
                curves = None
                if known is not None:
                    curves = Curves(known, learner.root_joint, adaptation.diagnostic_pairs, start_12)
                job = Job(_made(make, with_labels, surroundings, known), curves)
                run_epochs(job, folders[seed], checkpoint_seconds, f"adapt {pair} {variant} seed {seed}")
                if seed != seeds[-1]:
                    folders[seed].save(job.epoch, job.state())  # should a later seed's training be killed
                named = {"pair": pair, "variant": variant, "fidelity": fidelity, "rows": np.stack(rows, 1)}
                _write(outputs, job, every, named, code)
                if record:
                    write_record(record, made_of[seed], outputs, time.monotonic() - began)
        for folder in folders.values():
            folder.remove()

    return adapt


def _write(outputs: Sequence[Path], job: "Job", every: PairCrops, named: Mapping[str, Any], code: str) -> None:
    """Write an adapted network's weights, its poses of all pairs, and the curves."""
    network, predictions, history = outputs
    method, surroundings = job.method, job.method.surroundings
    learner, seed, adapted = surroundings.learner, surroundings.seed, job.method.adapted()
    learner.save(network, adapted, seed=seed, code=code)
    views = zip(every.image_u8, every.axes_from_crop, strict=True)
    found = [learner.poses(adapted, *view, surroundings.device) for view in views]
    rotation_12, own_12 = method.rotation_at_test(), None
    if rotation_12 is None:
        rotation_12 = surroundings.start_12
        own_12 = own_rotation(found, every, learner.root_joint).numpy()
    PairPredictions(
        **named,
        seed=seed,
        root_joint=learner.root_joint,
        metric=learner.metric,
        joints=torch.stack([each.joints for each in found], 1).numpy(),
        confidence=torch.stack([each.confidence for each in found], 1).numpy(),
        rotation_12=rotation_12.numpy(),
        own_rotation_12=own_12,
    ).save(predictions, seed=seed, code=code)
    write_history(history, job.history)


def _made(
    make: Make | None, with_labels: MakeWithLabels | None, surroundings: Surroundings, known: PairLabels | None
) -> Method:
    if with_labels is not None and (make is None or surroundings.fidelity == "faithful"):
        if known is None or not bool(known.joints_m.isfinite().all()):
            of_some = "" if known is None else " for some of its hands"
            raise InputError(
                "adaptation: this method, or fidelity: faithful, takes annotations, but the camera pair has "
                f"none{of_some}; "
                "choose another method, or fidelity: fixed"
            )
        print("annotations enter this adaptation, not only its curves", file=sys.stderr)
        return with_labels(surroundings, known)
    if make is None:
        raise ValueError("adaptation_stage: a method needs one of its two makers")
    return make(surroundings)


def own_rotation(found: Sequence[Poses], pairs: PairCrops, root_joint: int) -> Tensor:
    """R between two views as R(0) is estimated, from the poses that this network itself predicts."""
    first = slice(ROTATION_PAIRS)
    return estimate_rotation(
        found[0].at(first),
        found[1].at(first),
        root_joint=root_joint,
        fidelity="fixed",
        turns=None if pairs.turned else pairs.ray_turns[:, first],
    ).rotation_12


class Job:
    """A method at work on one camera pair, between epochs."""

    def __init__(self, method: Method, curves: Curves | None) -> None:
        self.method, self.curves, self.epoch = method, curves, 0
        self.history: list[dict[str, float]] = [{"epoch": 0.0, **self._figures()}]

    def run_epoch(self) -> None:
        """One pass over all pairs in a new order; raises InputError when losses are not finite any more."""
        method, surroundings = self.method, self.method.surroundings
        method.start_epoch(self.epoch)
        order = torch.randperm(len(surroundings.pairs), generator=surroundings.generator)
        batches = order.split(surroundings.settings.batch_size)
        losses: dict[str, list[Tensor]] = defaultdict(list)
        for number, rows in enumerate(batches):
            batch = surroundings.pairs.batch(rows, surroundings.device)
            for name, value in method.step(batch, self.epoch * len(batches) + number).items():
                losses[name].append(len(rows) * value.detach().double())
        figures = method.end_epoch()
        self.epoch += 1
        means = {f"{name}_loss": float(torch.stack(values).sum()) / len(order) for name, values in losses.items()}
        if not np.isfinite(list(means.values())).all():
            raise InputError(f"epoch {self.epoch}: losses {means} are not finite; lower the method's learning rate")
        self.history.append({"epoch": float(self.epoch), **self._figures(), **means, **figures})
        told = ", ".join(f"{name} {value:.4g}" for name, value in self.history[-1].items())
        print(told, file=sys.stderr, flush=True)

    def _figures(self) -> dict[str, float]:
        measured = {} if self.curves is None else self.curves.of(self.method)
        return {**measured, **self.method.distances()}

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        return {
            "epoch": self.epoch,
            "method": self.method.state(),
            "generator": self.method.surroundings.generator.get_state(),
            "history": self.history,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        self.epoch, self.history = state["epoch"], state["history"]
        self.method.restore(state["method"])
        self.method.surroundings.generator.set_state(state["generator"])


def run_epochs(job: Job, folder: CheckpointFolder, checkpoint_seconds: int, label: str) -> None:
    """Run a job to its last epoch, from its newest checkpoint if there is one; no epoch is chosen by any score."""
    epochs = job.method.surroundings.settings.epochs
    saved = folder.load()
    if saved is not None:
        job.restore(saved)
        print(f"going on at epoch {job.epoch}", file=sys.stderr)
    with folder.kept(checkpoint_seconds) as save:
        for _ in progress(range(job.epoch, epochs), label):
            job.run_epoch()
            if job.epoch < epochs:
                save(job.epoch, job.state)


def write_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write the curves as CSV, one row an epoch; the first row, before any training, lacks the losses."""
    columns = list(dict.fromkeys(name for row in reversed(history) for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in history)
    write_text(path, text.getvalue())
