"""Scores of the methods: known misses, budgets, seconds from benchmark files, and files that do not belong together."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from handloom.evaluation.method_scores import Adapted, score_methods
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.errors import InputError

from .headset_files import HeadsetFiles, turn_about_y, write_headset


@pytest.fixture
def files(tmp_path: Path) -> HeadsetFiles:
    return write_headset(tmp_path)


def network(files: HeadsetFiles, variant: str, seed: int, tmp_path: Path, *, seconds: float | None = None) -> Adapted:
    """S2DHand's predictions of pair 1-3, as if another method had made them; its own rotation is 90 degrees off."""
    s2dhand = next(p for p in files.predictions if p.parts[-3:] == ("1-3", "s2dhand", f"seed{seed}.predictions.npz"))
    arrays, header = read_arrays(s2dhand, "pair_predictions")
    path = tmp_path / f"{variant.replace('/', '-')}-{seed}.npz"
    if variant != "s2dhand":
        arrays["own_rotation_12"] = arrays["rotation_12"] @ turn_about_y(np.pi / 2)
    write_arrays(path, arrays, Header("pair_predictions", seed=seed, extra={**header.extra, "variant": variant}))
    benchmark = tmp_path / f"{path.stem}.tsv"
    if seconds is not None:
        benchmark.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:05\tNA\n")
    return Adapted(path, benchmark)


def score(files: HeadsetFiles, adapted: list[Adapted], tmp_path: Path, batch_size: int = 3) -> pd.DataFrame:
    score_methods(
        files.views, files.source_predictions, files.rotations, adapted, tmp_path / "scores.csv",
        headset="headset1", pairs=["1-3"], root_joint=0,
        epochs={"standard": 5, "long": 20}, adaptation_pairs=100, batch_size=batch_size,
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "scores.csv")
    return table.set_index(["method", "budget"]).sort_index()


def test_every_network_has_a_row_with_its_miss_and_its_updates(files: HeadsetFiles, tmp_path: Path) -> None:
    adapted = [
        network(files, "adda/standard", 1, tmp_path, seconds=12.5),
        network(files, "adda/long", 2, tmp_path),
        network(files, "s2dhand", 1, tmp_path, seconds=7.0),
    ]
    table = score(files, adapted, tmp_path)
    assert table.loc[("source_only", "standard"), "mono_m_mm"] == pytest.approx(20 / 21, rel=1e-4)
    assert table.loc[("adda", "standard"), "mono_m_mm"] == pytest.approx(11 / 21, rel=1e-4)
    assert table.loc[("adda", "long"), "mono_m_mm"] == pytest.approx(12 / 21, rel=1e-4)
    # Four pairs of hands in batches of three are two updates an epoch.
    updates = {key: table.loc[key, "updates"] for key in table.index}
    assert updates[("adda", "standard")] == updates[("s2dhand", "standard")] == 2 * 5
    assert updates[("adda", "long")] == 2 * 20
    assert updates[("source_only", "standard")] == 0
    assert table.loc[("adda", "standard"), "seconds"] == 12.5
    assert np.isnan(table.loc[("adda", "long"), "seconds"])


def test_both_rotations_are_scored(files: HeadsetFiles, tmp_path: Path) -> None:
    """The own rotation of this method is far off, S2DHand's is the one it adapted."""
    table = score(
        files, [network(files, "adda/standard", 1, tmp_path), network(files, "s2dhand", 1, tmp_path)], tmp_path
    )
    adda, s2dhand = table.loc[("adda", "standard")], table.loc[("s2dhand", "standard")]
    assert adda["dual_m_own_r_mm"] > adda["dual_m_mm"] + 10
    assert s2dhand["dual_m_own_r_mm"] == s2dhand["dual_m_mm"] == adda["dual_m_mm"]
    assert (
        table.loc[("source_only", "standard"), "dual_m_mm"] > table.loc[("source_only_rays", "standard"), "dual_m_mm"]
    )


def test_predictions_of_other_crops_are_refused(files: HeadsetFiles, tmp_path: Path) -> None:
    stale = network(files, "adda/standard", 1, tmp_path)
    arrays, header = read_arrays(stale.predictions, "pair_predictions")
    short = {name: arrays[name][:-1] for name in ("joints", "confidence", "index_1", "index_2")}
    write_arrays(stale.predictions, {**arrays, **short}, header)
    with pytest.raises(InputError, match=r"adda-standard-1\.npz: has 3 pairs of cameras 1-3, but the crops have 4"):
        score(files, [stale], tmp_path)


def test_a_broken_benchmark_is_named(files: HeadsetFiles, tmp_path: Path) -> None:
    broken = network(files, "adda/standard", 1, tmp_path)
    broken.benchmark.write_text("nothing\n")
    with pytest.raises(InputError, match=r"adda-standard-1\.tsv: cannot be read as a benchmark"):
        score(files, [broken], tmp_path)
