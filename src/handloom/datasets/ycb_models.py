"""Object models as HO3D uses them: Wavefront OBJ files in metres, one folder per object (facts/hold.md 4)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from handloom.runtime.errors import InputError

MODEL_FILE = "textured_simple.obj"


@dataclass(frozen=True)
class ObjectModel:
    """A triangle mesh in the object's own frame, metres."""

    vertices_m: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]


def read_object_model(folder: Path, name: str) -> ObjectModel:
    """Read `folder`/{name}/textured_simple.obj; texture coordinates and normals are passed over.

    Raises InputError when the file is missing, has polygons other than triangles, or indices without a vertex.
    """
    if Path(name).name != name or name in {"", ".", ".."}:
        raise InputError(f"object '{name}': is no plain name; the annotation is damaged, fetch it again")
    path = Path(folder) / name / MODEL_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such object model; fetch the YCB-Video models and name their folder as `models`")
    rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        vertices = np.array([row.split()[1:4] for row in rows if row.startswith("v ")], dtype=np.float64)
        corners = [row.split()[1:] for row in rows if row.startswith("f ")]
        if any(len(corner) != 3 for corner in corners):
            raise ValueError("a polygon with other than three corners")
        faces = np.array([[corner.split("/", 1)[0] for corner in triangle] for triangle in corners], dtype=np.int64) - 1
    except ValueError as error:
        raise InputError(f"{path}: is no triangle mesh in OBJ format ({error}); fetch it again") from error
    if vertices.shape != (len(vertices), 3) or not len(vertices) or not len(faces):
        raise InputError(f"{path}: has {len(vertices)} vertices and {len(faces)} triangles; fetch it again")
    if faces.min() < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise InputError(
            f"{path}: a triangle names vertex {faces.max() + 1} of {len(vertices)}, or a vertex is no number; "
            "expected absolute indices and finite metres; fetch it again"
        )
    return ObjectModel(vertices, faces)
