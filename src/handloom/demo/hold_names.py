"""Names of the HOLD demo's objects: plain Python, so that workflow rules can list their outputs."""

from handloom.runtime.config.sequences import DemoSequence

OBJECT_NAMES: dict[DemoSequence, str] = {"jug1": "101_jug", "carton1": "102_carton", "lamp1": "103_lamp"}
"""As YCB names objects; their numbers end at 077."""
