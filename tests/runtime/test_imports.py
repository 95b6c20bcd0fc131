"""What a process loads before its stage begins is time that every job of its kind waits."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("stage", "unneeded"),
    [
        ("datasets.video", {"torch", "scipy", "pandas", "matplotlib"}),
        ("evaluation.s2d_table", {"torch", "scipy", "matplotlib"}),
        ("figures.plots", {"torch", "trimesh"}),
        ("datasets.invalid_list", {"torch", "scipy", "pandas", "matplotlib"}),
        ("evaluation.headset_scores", {"torch", "scipy", "matplotlib"}),
        ("evaluation.hold_tables", {"torch", "scipy", "cv2", "matplotlib"}),
        ("adaptation.pairing", {"torch._dynamo", "pandas", "matplotlib"}),
    ],
)
def test_a_stage_loads_no_library_that_it_does_not_use(stage: str, unneeded: set[str]) -> None:
    code = f"import sys, handloom.{stage}; print(*sorted({unneeded!r} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []
