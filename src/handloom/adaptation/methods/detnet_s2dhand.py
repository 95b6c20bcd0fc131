"""S2DHand for DetNet. In faithful mode annotations leak into it, as in the released code."""

from handloom.adaptation.adapt import adaptation_stage
from handloom.adaptation.diagnostics import PairLabels
from handloom.adaptation.map_learner import MapLearner
from handloom.adaptation.method import Surroundings
from handloom.adaptation.s2dhand import GroundTruthLeak, S2DHand
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.targets import key_point_heat_maps


def with_leak(surroundings: Surroundings, labels: PairLabels) -> S2DHand:
    """S2DHand that takes joint validity and the heat maps' veil from annotations."""
    network = surroundings.network
    assert isinstance(network, DetNet)
    _, veil = key_point_heat_maps(labels.keypoints_256px, network.settings.input_px, network.settings.map_cells)
    return S2DHand(surroundings, GroundTruthLeak(labels.valid > 0, veil))


adapt = adaptation_stage(MapLearner, S2DHand, with_labels=with_leak)
