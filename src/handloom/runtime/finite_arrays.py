"""Artifacts whose arrays all have to be there and finite: what stands between one stage's NaN and the next stage."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from handloom.runtime.artifacts import Header, read_arrays
from handloom.runtime.errors import InputError


def read_finite_arrays(path: Path, kind: str, names: Sequence[str]) -> tuple[dict[str, np.ndarray], Header]:
    """Read an artifact as `read_arrays` does; the named arrays must be in it and hold no NaN and no infinity.

    Raises InputError naming the file and the arrays.
    """
    arrays, header = read_arrays(path, kind)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError(f"{path}: lacks {missing}; delete it and run the rule that makes it again")
    bad = [name for name in names if not np.isfinite(arrays[name]).all()]
    if bad:
        raise InputError(
            f"{path}: {', '.join(bad)} holds NaN, expected finite numbers; delete it and run the rule that makes it "
            "again"
        )
    return arrays, header
