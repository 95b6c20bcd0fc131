"""Where a preset's results lie: in `results/` those of the one that ran first, others' in their own folders.

So a try at toy sizes cannot replace what took hours. Data that do not depend on the preset are shared.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

PRESET_RECORD = Path("results/preset.txt")
"""Tells whose results are in `results/`."""
OWN_FOLDERS = ("results/", "logs/", "benchmarks/", "resources/demo/")
"""What each preset has of its own."""


def preset_of_results(folder: Path) -> str | None:
    """The preset whose results are in a project's `results/`; None where nothing has run yet."""
    record = folder / PRESET_RECORD
    return record.read_text(encoding="utf-8").strip() if record.is_file() else None


def place_of(preset: str, folder: Path) -> str:
    """What comes before every path of a preset's own: nothing, or `presets/{name}/` where `results/` is another's."""
    if preset_of_results(folder) in (None, preset):
        return ""
    name = quote(preset, safe="")
    return f"presets/{name if name.strip('.') else name.replace('.', '%2E')}/"


def placed(path: str, place: str) -> str:
    """A path of the preset that lies at `place`; one that is shared, or there already, stays."""
    return place + path if path.startswith(OWN_FOLDERS) else path


def placed_workflow(workflow: type, place: str) -> type:
    """Snakemake's class of workflows whose typed targets are `placed`; it is told them after the rules were read."""

    def placed_settings(self: Any, settings: Any) -> None:
        for name in ("targets", "forcerun", "until", "omit_from"):
            typed = getattr(settings, name)
            setattr(settings, name, type(typed)(placed(path, place) for path in typed))
        self.placed_settings = settings

    dag_settings = property(lambda self: getattr(self, "placed_settings", None), placed_settings)
    return type("PlacedWorkflow", (workflow,), {"dag_settings": dag_settings})
