"""What the files of a training do not hold: its data in words, the command that runs it, what the licence allows.

Plain Python, so that workflow rules can pass it on.
"""

from typing import Literal, NamedTuple

from handloom.datasets import LABELLED
from handloom.runtime.assets import PACKAGE_PREFIX, shipped_digest
from handloom.runtime.config.root import RunSettings

_SHIPPED = (
    "snakemake results/s2d/source/{in,cross}/card.md --configfile config/source.yaml --cores 2 "
    "--set-threads pretrain_source=1"
)


class Provenance(NamedTuple):
    """Where a source network comes from; one sentence of `data` per data set, in the order of the configuration."""

    data: list[str]
    command: str
    licence: str
    people: str = ""
    """Who and what is in rendered data; nothing of other data."""
    start: str = ""
    """What the training began as; nothing where it began at random."""


def source_provenance(run: RunSettings, setting: Literal["in", "cross"]) -> Provenance:
    """The data, the command and the licence of a setting's source network, trained with these settings."""
    names = {"in": run.sources.in_, "cross": run.sources.cross}[setting].datasets
    asked = f"snakemake results/s2d/source/{setting}/card.md (preset {run.preset})"
    return Provenance(
        data=[_data(run, name) for name in names],
        command=_SHIPPED if run.preset == "source" else asked,
        licence="MIT, like handloom; trained on renders of a CC0 hand"
        if run.demo is not None
        else "handloom is MIT; whether these weights may be passed on depends on the licences of the data above",
        people=_people(run, setting),
        start=_start(run, setting),
    )


def _people(run: RunSettings, setting: Literal["in", "cross"]) -> str:
    if run.demo is None:
        return ""
    turned = f"{100 * run.demo.turned_hands:g} % of the hands turned by chance"
    if setting == "cross":
        return f"a person, an object, a light and a camera of its own in every picture; {turned}"
    people = run.demo.assembly_hands_train_sequences * run.demo.assembly_hands_train_people
    return f"{people:,} people, each with objects, a room, a light and cameras' sensors of their own; {turned}"


def _start(run: RunSettings, setting: Literal["in", "cross"]) -> str:
    start = {"in": run.sources.in_, "cross": run.sources.cross}[setting].start
    if start is None or not start.startswith(PACKAGE_PREFIX):
        return start or ""
    return f"{start} (sha256 {shipped_digest(start.removeprefix(PACKAGE_PREFIX))[:16]})"


def _data(run: RunSettings, name: str) -> str:
    if run.demo is None or not LABELLED[name].sheets:
        return f"{LABELLED[name].split} in {getattr(run.datasets, name).root}"
    size = {
        "assembly_hands": f"{run.demo.assembly_hands_train_sequences} sequences x "
        f"{run.demo.assembly_hands_train_frames} frames",
        "rhd": f"{run.demo.rhd_training_images:,} images",
        "ganerated": f"{run.demo.ganerated_images:,} images",
    }[name]
    return f"{LABELLED[name].split} rendered by the demo: {size} (seed {run.demo.seed})"
