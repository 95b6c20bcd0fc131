"""The table of hand networks: one row each, from its folder."""

from handloom.estimators.detnet import DETNET
from handloom.estimators.files import FILES
from handloom.estimators.handoccnet import HANDOCCNET
from handloom.estimators.hands import NetworkRow
from handloom.estimators.mediapipe import MEDIAPIPE
from handloom.estimators.metro import METRO

NETWORKS: dict[str, NetworkRow] = {row.name: row for row in (DETNET, METRO, HANDOCCNET, MEDIAPIPE, FILES)}
