"""The overview shows what a run has, and says in words what to trust less."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from handloom.evaluation.table import Block, ColumnHead, Row, Table
from handloom.figures.overview import advice, write_overview

HOLD = {
    "measure": ["frames registered", "masks <kept>", "weakest seam"],
    "value": [41.234, 99.0, None],
    "unit": ["%", "%", None],
    "verdict": ["poor", "good", "fair"],
    "advice": ["film slower & closer", None, "look at it"],
}
FOOTAGE = {
    "quantity": ["rotation_deviation", "pairs"],
    "note": ["do not trust the poses: film longer", "all is well"],
}


def test_advice_is_of_what_is_not_good(tmp_path: Path) -> None:
    pd.DataFrame(HOLD).to_csv(tmp_path / "hold.csv", index=False)
    pd.DataFrame(FOOTAGE).to_csv(tmp_path / "footage.csv", index=False)
    poor, fair = advice(tmp_path / "hold.csv")
    assert poor == 'frames registered: 41.2 %, <span class="poor">poor</span>. film slower &amp; closer'
    assert fair == 'weakest seam: not known, <span class="fair">fair</span>. look at it'
    assert advice(tmp_path / "footage.csv") == ["rotation deviation: do not trust the poses: film longer"]


def test_the_page_has_sections_of_what_there_is_only(tmp_path: Path) -> None:
    (tmp_path / "mug").mkdir()
    pd.DataFrame(HOLD).to_csv(tmp_path / "mug/quality.csv", index=False)
    Image.new("RGBA", (2500, 50), (9, 9, 200, 255)).save(tmp_path / "mug.png")
    table = Table("Scores", pd.DataFrame(), [Block([ColumnHead("name")], [Row([])])], "of `it`")
    table.write(tmp_path / "t.csv", html=tmp_path / "t.html")
    page = tmp_path / "overview.html"
    given = {"hold_figures": [tmp_path / "mug.png"], "hold_quality": [tmp_path / "mug/quality.csv"]}
    write_overview(page, preset="<mine>", fidelity="fixed", **given, hold_tables=[tmp_path / "t.html"])
    text = page.read_text()
    for words in ("HOLD: hand and object", "&lt;mine&gt;", "mug: how sure", "film slower", "<h1>Scores</h1>"):
        assert words in text
    for words in ("S2DHand:", "Own camera pairs", "http"):
        assert words not in text
    assert text.index("<figure>") < text.index("mug: how sure") < text.index("<h1>Scores")
    (tmp_path / "t.html").write_text("no table")
    with pytest.raises(ValueError, match="no table's page"):
        write_overview(page, preset="a", fidelity="b", hold_tables=[tmp_path / "t.html"])
