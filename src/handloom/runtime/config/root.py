"""The whole configuration of a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from handloom.datasets import LABELLED
from handloom.estimators.hands.registry import NETWORKS
from handloom.runtime.config.adaptation import AdaptationSettings, PlusSettings
from handloom.runtime.config.base import MOST_SEED, Faults, Settings
from handloom.runtime.config.footage import FootageSettings
from handloom.runtime.config.hold import HoldSettings
from handloom.runtime.config.methods import MethodsSettings
from handloom.runtime.config.sources import (
    DatasetsSettings,
    DemoSettings,
    DetNetSettings,
    Headset,
    Pair,
    PretrainingSettings,
    SourcesSettings,
)

DEMO_ROOT = Path("resources/demo")
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]


class RunSettings(Settings):
    """Everything a run reads besides files."""

    preset: str = Field(min_length=1, max_length=100, description="Name of the preset, written into tables.")
    fidelity: Literal["faithful", "fixed"] = Field(
        "fixed", description="faithful: the released code number for number; fixed: with its known errors repaired."
    )
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N.")
    seeds: tuple[Seed, ...] = Field(
        (1,), min_length=1, description="One adaptation per seed; tables give their mean and spread."
    )
    checkpoint_seconds: int = Field(
        20,
        ge=0,
        le=86_400,
        description="Source trainings and adaptations are saved every so many seconds (HOLD's phases have settings of "
        "their own); nothing runs again for it.",
    )
    pretrain: bool = Field(False, description="Train the source networks here even where a checkpoint is given.")
    headsets: tuple[Headset, ...] = Field(("headset1", "headset2"), min_length=1, description="Headsets in the tables.")
    pairs: tuple[Pair, ...] = Field(
        ("1-2", "1-3", "1-4", "2-3", "2-4", "3-4"), min_length=1, description="Camera pairs in the tables."
    )
    datasets: DatasetsSettings
    demo: DemoSettings | None = Field(
        None, description="Sizes of the rendered demo data; null when real data are used."
    )
    mano: str | None = Field(
        None, description="Folder with MANO_RIGHT.pkl and MANO_LEFT.pkl; null uses the embedded hand."
    )
    detnet: DetNetSettings = DetNetSettings(input_px=96, map_cells=8, width=16, blocks=(1, 2, 4), head_width=64)
    sources: SourcesSettings
    pretraining: PretrainingSettings = PretrainingSettings(
        epochs=70, batch_size=64, learning_rate=2e-3, schedule="cosine", grey_probability=0.5, precision="auto"
    )
    adaptation: AdaptationSettings = AdaptationSettings(
        pairs=160,
        batch_size=8,
        epochs=4,
        spread_pairs=True,
        learning_rate=1e-3,
        learning_rate_decay="cosine",
        warm_up_steps=20,
        merge="soft",
        attention_sharpness=5.0,
        teacher_momentum=0.995,
        teacher_warm_up=False,
        rotation_momentum=0.9,
        precision="auto",
        evaluate="student",
        diagnostic_pairs=32,
    )
    methods: MethodsSettings = MethodsSettings()
    hold: HoldSettings = HoldSettings()
    footage: FootageSettings = FootageSettings()

    @model_validator(mode="after")
    def _everything_agrees(self) -> "RunSettings":
        Faults.require_none(
            [*self._repetitions(), *self._misplaced_data(), *self._unlike_the_paper(), *self._no_hand()]
        )
        return self

    def _repetitions(self) -> Iterator[tuple[str, str]]:
        for name in ("seeds", "headsets", "pairs"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                yield name, f"{list(values)} repeat; the mean and spread in the tables would be wrong"

    def _misplaced_data(self) -> Iterator[tuple[str, str]]:
        rendered = {name: row for name, row in LABELLED.items() if self.demo is not None and row.sheets}
        for name in LABELLED if self.demo is None else rendered:
            place = f"datasets.{name}.root"
            root = Path(getattr(self.datasets, name).root)
            within = root.is_relative_to(DEMO_ROOT) and ".." not in root.parts
            # Without a demo only what is read counts, with one the renderer would write into the user's own data.
            if self.demo is None and within and name in self.read_datasets:
                yield place, f"is {root}, where the demo is rendered, but demo is null; name the real data's folder"
            elif self.demo is not None and not within:
                yield place, f"is {root}, outside {DEMO_ROOT}, but demo is set; set demo to null"
        if self.demo is not None and self.datasets.assembly_hands.split != "val":
            yield "datasets.assembly_hands.split", "is test, but the demo renders train and val; set demo to null"

    @property
    def trained_sources(self) -> list[str]:
        """The settings of the paper whose source network is trained here."""
        sources = {"in": self.sources.in_, "cross": self.sources.cross}
        return [
            name
            for name, source in sources.items()
            if source.network == "detnet" and (self.pretrain or source.checkpoint is None)
        ]

    def plus_of(self, setting: str) -> PlusSettings | None:
        """What S2DHand+ is set to in a setting of the paper, `in` or `cross`; None where it has no row.

        It is DetNet's, and no part of the released code.
        """
        source = {"in": self.sources.in_, "cross": self.sources.cross}[setting]
        return source.plus if self.fidelity == "fixed" and source.network == "detnet" else None

    @property
    def read_datasets(self) -> set[str]:
        """The labelled data that the tables are adapted to, or a source network is trained on."""
        trained = {"in": self.sources.in_, "cross": self.sources.cross}
        return {"assembly_hands", *(name for key in self.trained_sources for name in trained[key].datasets)}

    def _unlike_the_paper(self) -> Iterator[tuple[str, str]]:
        for name, source in {"in": self.sources.in_, "cross": self.sources.cross}.items():
            if self.fidelity == "faithful" and source.ray_share > 0:
                yield (
                    f"sources.{name}.ray_share",
                    f"is {source.ray_share}, but fidelity is faithful, and the released code turns no pose by its "
                    "viewing ray; set it to 0, or fidelity to fixed",
                )
            learning = [known for known, row in NETWORKS.items() if row.learner is not None]
            if source.network not in learning:
                yield (
                    f"sources.{name}.network",
                    f"is {source.network}; expected a network that learns: {' or '.join(learning)}",
                )
        if "assembly_hands" in self.sources.cross.datasets:
            yield "sources.cross.datasets", "has assembly_hands; cross-dataset means not trained on the target"
        if "assembly_hands" not in self.sources.in_.datasets:
            yield "sources.in.datasets", "lacks assembly_hands; in-dataset means trained on the target's data set"

    def _no_hand(self) -> Iterator[tuple[str, str]]:
        backend = self.hold.hand.estimation.backend
        if NETWORKS[backend].needs_mano and self.mano is None:
            yield (
                "mano",
                f"is null, but hold.hand.estimation.backend is {backend}, which gives the mesh of the MANO hand; set "
                "it to the folder with MANO_RIGHT.pkl and MANO_LEFT.pkl, from https://mano.is.tue.mpg.de",
            )
