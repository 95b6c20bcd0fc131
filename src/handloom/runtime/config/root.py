"""The whole configuration of a run."""

from typing import Literal

from pydantic import Field, model_validator

from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Settings
from handloom.runtime.config.datasets import DatasetsSettings, DemoSettings, Headset, Pair
from handloom.runtime.config.detnet import DetNetSettings, PretrainingSettings, SourceSettings


class SourcesSettings(Settings):
    """The source networks of the two settings of the paper."""

    in_: SourceSettings = Field(alias="in")
    cross: SourceSettings


class RunSettings(Settings):
    """Everything a run reads besides files."""

    preset: str = Field(description="Name of the preset, written into tables.")
    fidelity: Literal["faithful", "fixed"] = "fixed"
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    seeds: tuple[int, ...] = Field((1,), min_length=1)
    pretrain: bool = Field(False, description="Train the source networks here even where a checkpoint is given.")
    headsets: tuple[Headset, ...] = ("headset1", "headset2")
    pairs: tuple[Pair, ...] = ("1-2", "1-3", "1-4", "2-3", "2-4", "3-4")
    datasets: DatasetsSettings
    demo: DemoSettings | None = None
    mano: str | None = Field(
        None, description="Folder with MANO_RIGHT.pkl and MANO_LEFT.pkl; null uses the embedded hand."
    )
    detnet: DetNetSettings = DetNetSettings()
    sources: SourcesSettings
    pretraining: PretrainingSettings = PretrainingSettings()
    adaptation: AdaptationSettings = AdaptationSettings()

    @model_validator(mode="after")
    def _seeds_differ(self) -> "RunSettings":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat; the spread over seeds would be wrong")
        return self
