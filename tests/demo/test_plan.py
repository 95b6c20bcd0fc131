"""Sequence plans are what rules list without importing a renderer."""

import subprocess
import sys

from handloom.demo.plan import assembly_sequences
from handloom.runtime.config.sources import DemoSettings


def test_listing_sequences_imports_neither_torch_nor_embree() -> None:
    code = (
        "import sys, handloom.demo.plan;"
        "print([name for name in ('torch', 'embreex', 'cv2', 'scipy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_train_alternates_headsets_and_val_has_one_of_each() -> None:
    settings = DemoSettings(assembly_hands_train_sequences=5)
    train = assembly_sequences(settings, "train")
    assert [plan.headset for plan in train] == ["headset1", "headset2", "headset1", "headset2", "headset1"]
    val = assembly_sequences(settings, "val")
    assert [("9081-c11b" in plan.name, plan.headset) for plan in val] == [(True, "headset1"), (False, "headset2")]
    names = [plan.name for plan in (*train, *val)]
    assert len(set(names)) == len(names)


def test_frames_are_as_many_as_configured() -> None:
    settings = DemoSettings(assembly_hands_train_frames=3, assembly_hands_val_frames=5)
    assert {len(plan.frames) for plan in assembly_sequences(settings, "train")} == {3}
    assert {len(plan.frames) for plan in assembly_sequences(settings, "val")} == {5}
