"""Rows of the table of hand networks are true of their folders: settings, files and stages that a plan relies on."""

import importlib
import inspect

import pytest

from handloom.estimators.hands import NetworkRow
from handloom.estimators.hands.registry import NETWORKS
from handloom.estimators.hands.search import HandNetwork
from handloom.runtime.stages import stage_function


@pytest.mark.parametrize("row", NETWORKS.values(), ids=list(NETWORKS))
def test_a_row_is_true_of_its_folder(row: NetworkRow) -> None:
    """What is wrong here would end a run in the middle: rows are read when it is planned, stages when a job starts."""
    assert NETWORKS[row.name] is row
    settings = row.settings()
    for name in filter(None, [row.weights, row.detector]):
        assert isinstance(getattr(settings, name), str)
    folder = f"estimators.{row.name}.hands"
    find_hands = stage_function(f"{folder}:find_hands")
    assert inspect.signature(find_hands).parameters["network"].annotation is row.settings
    if row.weights is None:  # hands come from files: there is no network
        assert (row.detector, row.learner, row.s2dhand) == (None, None, None)
        return
    module = importlib.import_module(f"handloom.{folder}")
    (network,) = (
        each for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, HandNetwork) and each.__module__ == module.__name__
    )  # fmt: skip
    assert network.name == row.name
    assert (network.search is not HandNetwork.search) == row.searches == (row.detector is not None)
    assert (network.cut is not HandNetwork.cut) == (row.learner is not None) == (row.s2dhand is not None)
    if row.learner is not None and row.s2dhand is not None:
        stages = (
            f"{folder}:crop_views",
            f"{folder}:crop_pairs",
            f"estimators.{row.name}.file_hands:find_hands",
            f"adaptation.{row.learner}:predict_source",
            row.s2dhand,
        )
        assert all(callable(stage_function(name)) for name in stages)
