"""The page of the documentation that explains `quality.csv`, made from its limits."""

from itertools import groupby

from handloom.evaluation.quality_limits import EXCHANGED, LIMITS, Limits
from handloom.runtime.config.documents import item

_TOP = """# Quality measures

<!-- Written by `python -m handloom schema --write` from `evaluation/quality_limits.py`; do not edit. -->

`snakemake --cores 2 results/hold/NAME/quality.csv` tells how well each stage of HOLD did on a video, without any
annotation. Every row has a value, limits, a verdict (good, fair, poor, or not known), the frames to look at, and
advice. A good value is no proof: below is what each measure cannot see. Of two hands, what is of a hand has a row for
each, its name followed by the side.
"""


def _measures() -> list[Limits]:
    """All of one hand, with that of two hands last of its stage."""
    last = max(row for row, each in enumerate(LIMITS) if each.stage == EXCHANGED.stage)
    return [*LIMITS[: last + 1], EXCHANGED, *LIMITS[last + 1 :]]


def quality_page() -> str:
    """The page as Markdown: a list for each stage, with what to do where a measure is not good."""
    sections = []
    for stage, limits in groupby(_measures(), key=lambda each: each.stage):
        rows = ""
        for each in limits:
            word = "at least" if each.good >= each.fair else "at most"
            good, fair = (f"{word} {value:g} {each.unit}".strip() for value in (each.good, each.fair))
            advice = f" Otherwise {each.advice}." if each.advice else ""
            blind = f" Cannot see {each.blind}." if each.blind else ""
            rows += item(f"**{each.measure}**: good {good}, fair {fair}.{advice}{blind}")
        sections.append(f"\n## {stage[0].upper()}{stage[1:]}\n\n{rows}")
    return _TOP + "".join(sections)
