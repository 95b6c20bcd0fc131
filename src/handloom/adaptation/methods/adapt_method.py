"""The stage of the methods that S2DHand is compared with: one method, one camera pair, one budget of updates."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.adaptation.adaptation_files import predict_pairs, write_history, write_pair_predictions
from handloom.adaptation.loop import run_epochs
from handloom.adaptation.methods.method import Method, Surroundings
from handloom.adaptation.methods.method_job import MethodJob
from handloom.adaptation.methods.names import WITH_TARGET_LABELS, method_module, method_part
from handloom.adaptation.methods.source_samples import SourceSamples
from handloom.adaptation.methods.target_labels import target_labels
from handloom.adaptation.pseudo_labels import Fidelity
from handloom.adaptation.rotation_start import estimate_rotation, read_rotation
from handloom.adaptation.view_turns import crop_rays, view_turns
from handloom.datasets.views import ViewSamples, load_views, pair_samples
from handloom.estimators.detnet.checkpoint import load_checkpoint, save_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.prediction import Predictions
from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Settings
from handloom.runtime.config.detnet import DetNetSettings
from handloom.runtime.config.methods import Budget, MethodName, MethodsSettings
from handloom.runtime.devices import chosen_precision
from handloom.runtime.seeds import torch_generator

SETTINGS = {"methods": MethodsSettings, "adaptation": AdaptationSettings, "detnet": DetNetSettings}
"""The sections of the configuration that the stage takes, in its order."""


@dataclass(frozen=True)
class MethodInputs:
    """The files that an adaptation reads; `samples` are empty for a method that needs no source data."""

    views_1: Path
    views_2: Path
    source: Path
    rotations: Path
    samples: Sequence[Path] = ()


@dataclass(frozen=True)
class MethodOutputs:
    """The files that it writes: weights, poses of all pairs, curves."""

    weights: Path
    predictions: Path
    history: Path


def settings_of(settings: MethodsSettings, method: MethodName) -> Settings:
    """The settings that one method depends on."""
    chosen: Settings = getattr(settings, method_part(method))
    return chosen


def epochs_of(settings: MethodsSettings, adaptation: AdaptationSettings, budget: Budget) -> int:
    """Passes over the pairs: S2DHand's, or those of the long budget."""
    return adaptation.epochs if budget == "standard" else settings.long_epochs


def make_method(
    name: MethodName, network: DetNet, settings: MethodsSettings, surroundings: Surroundings, budget: Budget
) -> Method:
    """The method of this name around a source network.

    Its module is imported by name, so that the digest of this stage's code has no other method's in it.
    """
    module = importlib.import_module(method_module(name))
    made: Method = module.make(name, network, settings, surroundings, budget)
    return made


def adapt_method(
    name: MethodName,
    budget: Budget,
    pair: str,
    settings: MethodsSettings,
    adaptation: AdaptationSettings,
    detnet: DetNetSettings,
    inputs: MethodInputs,
    outputs: MethodOutputs,
    *,
    work: Path,
    root_joint: int,
    fidelity: Fidelity,
    seed: int,
    ray_share: float = 0.0,
    device: str = "cpu",
    threads: int | None = None,
    code: str = "",
) -> None:
    """Stage: adapt the source network by one method; write its weights, its predictions of all pairs and the curves.

    Pairs, their order, batch size, precision and the number of epochs of the standard budget are S2DHand's
    (`adaptation`); nothing is selected by any score. The views are merged by R(0), as the source
    network's are; the rotation that the adapted network's own poses show is written beside it. Goes on from the newest
    checkpoint under `work` and then ends bit-equal on the CPU. Raises InputError for files that do not fit and for
    losses that are not finite.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    adaptation = adaptation.model_copy(update={"precision": chosen_precision(adaptation.precision, device)})
    views = load_views(inputs.views_1), load_views(inputs.views_2)
    index_1, index_2 = (torch.from_numpy(index) for index in pair_samples(*views))
    start = read_rotation(inputs.rotations, pair, "single")
    used = adaptation.model_dump(mode="json", include={"pairs", "batch_size", "precision", "rotation_pairs"})
    identity = (name, budget, pair, settings_of(settings, name), settings.source_grey_probability, used, detnet)
    run = (root_joint, fidelity, seed, code, start.tolist(), ray_share, epochs_of(settings, adaptation, budget))
    files = (inputs.views_1, inputs.views_2, inputs.source, *inputs.samples)
    folder = CheckpointFolder(work, fingerprint(*identity, *run, *files))
    network = load_checkpoint(inputs.source, detnet, root_joint)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
    source = None
    if inputs.samples:
        source = SourceSamples(
            inputs.samples,
            detnet,
            root_joint=root_joint,
            grey_probability=settings.source_grey_probability,
            seed=seed,
            device=device,
        )
    rows = index_1[: adaptation.pairs], index_2[: adaptation.pairs]
    labels = None
    if name in WITH_TARGET_LABELS:
        of_1, of_2 = (target_labels(view, r, detnet, root_joint) for view, r in zip(views, rows, strict=True))
        labels = of_1, of_2
    job = MethodJob(
        make_method(name, network, settings, Surroundings(seed, adaptation.precision, source), budget),
        views,
        rows,
        batch_size=adaptation.batch_size,
        diagnostic_pairs=adaptation.diagnostic_pairs,
        rotation_12=start,
        root_joint=root_joint,
        generator=torch_generator(seed, "s2dhand", pair),  # the order of S2DHand's pairs
        labels=labels,
        device=device,
    )
    run_epochs(
        job,
        folder,
        epochs=epochs_of(settings, adaptation, budget),
        checkpoint_seconds=adaptation.checkpoint_seconds,
        label=f"adapt {pair} {name}",
    )
    adapted = job.method.adapted()
    save_checkpoint(outputs.weights, adapted, root_joint, seed=seed, code=code)
    found = predict_pairs(adapted, views, (index_1, index_2), device=device)
    own = own_rotation(found, views, (index_1, index_2), adaptation, root_joint, ray_share)
    notes = {"root_joint": str(root_joint), "fidelity": fidelity, "pair": pair, "variant": f"{name}/{budget}"}
    write_pair_predictions(
        outputs.predictions, found, (index_1, index_2), start, notes, seed=seed, code=code, own_rotation_12=own
    )
    write_history(outputs.history, job.history)
    folder.remove()


def own_rotation(
    found: Sequence[Predictions],
    views: tuple[ViewSamples, ViewSamples],
    rows: tuple[Tensor, Tensor],
    adaptation: AdaptationSettings,
    root_joint: int,
    ray_share: float,
) -> Float[Tensor, "3 3"]:
    """R between two views as R(0) is estimated, from the poses that this network itself predicts."""
    count = adaptation.rotation_pairs
    rays = [
        crop_rays(view.crop_offset_half_widths, adaptation.field_of_view_deg)[index[:count]]
        for view, index in zip(views, rows, strict=True)
    ]
    first_1, first_2 = (Predictions(*(values[:count] for values in view)) for view in found)
    return estimate_rotation(
        first_1,
        first_2,
        root_joint=root_joint,
        fidelity="fixed",
        confidence_threshold=adaptation.confidence_threshold,
        turns=view_turns(rays[0], rays[1], ray_share),
    ).rotation_12
