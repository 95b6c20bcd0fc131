"""One page of what a run found, figures first: both papers' and the user's own footage, in one file without network.

Figures are shown as WebP, at most 1200 pixels wide: a tenth of the PNG files, which stay as they are.
"""

import base64
import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd
from PIL import Image

from handloom.runtime.files import write_text

_WIDTH_PX, _QUALITY = 1200, 68
_STYLE = """
body { font-family: system-ui, sans-serif; margin: 0 auto; padding: 1em; max-width: 84em; color: #222; }
img { max-width: 100%; height: auto; } figure { margin: 1em 0; } figcaption, p { color: #555; max-width: 60em; }
.table { overflow-x: auto; } .poor { color: #b02020; font-weight: 600; } .fair { color: #9a6a00; font-weight: 600; }
"""
_CAPTIONS = {
    "s2d_qualitative": "Cross-dataset: median, most improved and worst hand of each headset, in both views.",
    "s2d_qualitative_in": "The same in-dataset.",
    "s2d_adaptation_curves": "Errors of networks, pseudo-labels and rotation over the epochs of adaptation.",
    "s2d_rotation_error": "Angle between a pair's rotation and its calibration, before and after adaptation.",
    "s2d_view_analysis": "What two views could gain at most, and how much of it the networks have.",
    "s2d_pretraining_curves": "Losses and held-out error of the source networks trained in this run.",
}
_OF_SEQUENCE = "{}: frames, the reconstruction laid over them, from elsewhere, and in the photographs' colours."


def write_overview(
    page: Path,
    *,
    preset: str,
    fidelity: str,
    hold_figures: Sequence[Path] = (),
    hold_tables: Sequence[Path] = (),
    hold_quality: Sequence[Path] = (),
    s2d_figures: Sequence[Path] = (),
    s2d_tables: Sequence[Path] = (),
    footage_figures: Sequence[Path] = (),
    footage_quality: Sequence[Path] = (),
) -> None:
    """Stage: write the page; what a run has none of is left out. Tables are HTML files of `evaluation.table`."""
    hold = [_figure(path, _OF_SEQUENCE.format(path.stem)) for path in hold_figures]
    hold += [_judged(path.parent.name, path) for path in hold_quality] + [_table(path) for path in hold_tables]
    s2d = [_figure(path, _CAPTIONS[path.stem]) for path in s2d_figures] + [_table(path) for path in s2d_tables]
    own = [_figure(path, " ".join(path.with_suffix("").parts[-3:])) for path in footage_figures]
    own += [_judged(path.parent.name, path) for path in footage_quality]
    sections = {
        "Own camera pairs: S2DHand on two videos without calibration": own,
        "HOLD: hand and object from one video": hold,
        "S2DHand: hands in two cameras, without labels": s2d,
    }
    body = "".join(f"<h2>{title}</h2>\n{''.join(parts)}" for title, parts in sections.items() if parts)
    write_text(
        page,
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>handloom: overview</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>What this run found</h1>\n"
        f"<p>Preset <b>{escape(preset)}</b>, fidelity {escape(fidelity)}.</p>\n{body}</body>\n</html>\n",
    )


def advice(quality: Path) -> list[str]:
    """What a quality table calls fair, poor or worth filming again, as HTML lines: value, verdict, what to do."""
    frame = pd.read_csv(quality)
    if "verdict" not in frame:  # of a camera pair, whose notes say it
        rows = frame[frame["note"].str.startswith(("do not trust", "not sure"), na=False)]
        return [
            f"{escape(row['quantity'].replace('_', ' '))}: {escape(row['note'])}" for row in rows.to_dict("records")
        ]
    lines = []
    shown = frame[frame["verdict"].isin(["fair", "poor"])].astype(object)
    for row in shown.where(shown.notna(), "").to_dict("records"):
        value = "not known" if row["value"] == "" else f"{row['value']:.3g} {row['unit']}".strip()
        verdict = f'<span class="{row["verdict"]}">{row["verdict"]}</span>'
        lines.append(f"{escape(row['measure'])}: {escape(value)}, {verdict}. {escape(str(row['advice']))}")
    return lines


def _judged(name: str, quality: Path) -> str:
    """What to film better."""
    lines = advice(quality)
    told = "".join(f"<li>{line}</li>" for line in lines)
    return f"<h3>{escape(name)}: how sure</h3>\n" + (f"<ul>{told}</ul>\n" if lines else "<p>No fault seen.</p>\n")


def _figure(path: Path, caption: str) -> str:
    with Image.open(path) as file:
        image = file.convert("RGB")
    image.thumbnail((_WIDTH_PX, 4 * _WIDTH_PX))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY)
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    source = f"data:image/webp;base64,{content}"
    return f'<figure><img alt="" src="{source}"><figcaption>{escape(caption)}</figcaption></figure>\n'


def _table(path: Path) -> str:
    """A table's page as part of this one: its own style within a shadow of its own."""
    text = path.read_text(encoding="utf-8")
    style, body = (re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("style", "body"))
    if style is None or body is None:
        raise ValueError(f"{path} is no table's page")
    shadow = f'<template shadowrootmode="open"><style>{style[1]} h1 {{ font-size: 1.2em; }}</style>{body[1]}</template>'
    return f'<div class="table">{shadow}</div>\n'
