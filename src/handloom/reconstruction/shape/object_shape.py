"""Stage: the object's shape from masks and poses, before any training: hull, then two sweeps of stereo, fused."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.hand.models import HandFiles, configured_hands
from handloom.reconstruction.object_mesh import ObjectMesh, surface
from handloom.reconstruction.observations import OBJECT, SceneInput, read_scene
from handloom.reconstruction.phase_run import require_frames
from handloom.reconstruction.shape.cube_views import CubeViews
from handloom.reconstruction.shape.depth_fusion import evidence_of, fused
from handloom.reconstruction.shape.stereo import COARSE, FINE, swept
from handloom.reconstruction.shape.visual_hull import Rule, object_hull
from handloom.reconstruction.tracks import SequencePoses
from handloom.runtime.artifacts import Artifact
from handloom.runtime.devices import computing_on
from handloom.runtime.errors import InputError

_SEEN_EVERY, _SEEN_PX, _SEEN_CELLS = 3, 110, 1.5
"""Every third frame, its size, and how far behind the surface in sight a vertex still is in sight."""


@dataclass(frozen=True)
class ObjectShape(Artifact, kind="object_shape", units="cells of the object's cube", frame="object's cube"):
    """The file shape.npz: what phases 1 and 3 take for the object's surface, and what it rests on."""

    distance: Float[Tensor, "1 cells cells cells"]
    rule: Rule
    """Which hull it started from."""
    carved_share: float
    """Of the hull of hand and object, what frames saw first both as hand and as object."""
    confirmed_share: float
    """Of the object's pixels in the frames of the last sweep, those with a depth that another frame confirms."""
    unseen_share: float
    """Of the mesh's vertices, those that no frame shows as object."""

    def distance_m(self, radius_m: float) -> Float[Tensor, "1 cells cells cells"]:
        """In metres, on a cube with half of that side."""
        return self.distance * (2 * radius_m / (self.distance.shape[-1] - 1))


def shape_of_build(
    build: Path,
    shape: Path,
    hull_mesh: Path,
    hull_poses: Path,
    *,
    cells: int,
    points_reach: float | None,
    device: str = "cpu",
    threads: int | None = None,
    hand: HandFiles = None,
    code: str = "",
) -> None:
    """Stage: the shape, and the hull that it started from with the build folder's poses, to be scored beside it.

    Raises InputError for a folder that cannot be used, masks that do not fit the poses, or a device that is not there.
    """
    with computing_on(device, threads):
        scene = read_scene(build, configured_hands(hand))
        require_frames(build, scene.names, scene.observations.seen)
        try:
            found, hull = object_shape(scene, cells, points_reach, device)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"{device}: out of memory in the object's stereo; lower hold.object_cells, end other programs on the "
                "device, or set device: cpu"
            ) from error
    found.save(shape, code=code)
    ObjectMesh.of(surface(hull), scene.cube).save(hull_mesh, code=code)
    SequencePoses.save_each(hull_poses, scene.poses, code=code)


def object_shape(
    scene: SceneInput, cells: int, points_reach: float | None, device: torch.device | str
) -> tuple[ObjectShape, Float[Tensor, "1 cells cells cells"]]:
    """The shape and the hull, both on the CPU; `points_reach` is a share of half the cube's side."""
    views = CubeViews.of(scene.observations, next(iter(scene.poses.values())).object, scene.cube, cells, device)
    half = (cells - 1) / 2
    clock = [time.process_time()]

    def tell(what: str) -> None:
        clock.append(time.process_time())
        print(f"{what}, {clock[-1] - clock[-2]:.1f} core-seconds", file=sys.stderr, flush=True)

    hull = object_hull(views, scene.points_unit * half, None if points_reach is None else points_reach * half)
    tell(f"{hull.rule} hull: {100 * hull.carved_share:.1f} % carved away")
    evidence, distance, confirmed = None, fused(hull.distance, None), 0.0
    for sweep in (COARSE, FINE):
        small = views.smaller(sweep.object_px)
        maps, confirmed = swept(small, distance[None], sweep)
        new = evidence_of(small, maps)
        evidence = new if evidence is None else evidence + new
        distance = fused(hull.distance, evidence)
        tell(f"stereo: {100 * confirmed:.0f} % of the object's pixels confirmed in {len(maps)} frames")
    found = distance[None].cpu()
    vertices = torch.from_numpy(surface(found).vertices) * half
    unseen = 1 - float(seen_points(views, distance[None], vertices.to(distance)).float().mean())
    tell(f"{100 * unseen:.0f} % of the surface is never seen")
    return ObjectShape(found, hull.rule, hull.carved_share, confirmed, unseen), hull.distance[None].cpu()


def seen_points(
    views: CubeViews, distance: Float[Tensor, "1 cells cells cells"], points: Float[Tensor, "points 3"]
) -> Bool[Tensor, " points"]:
    """Points that some frame shows: on a pixel of the object, and not behind the surface in sight there."""
    views = views.smaller(_SEEN_PX)
    seen = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    shown = (views.kind == OBJECT).flatten(1).any(1).nonzero()[:, 0].tolist()
    for frame in shown[::_SEEN_EVERY]:
        box = views.object_box(frame, 0)
        enters, _ = views.trace(distance, frame, box)
        cam = views.cams(points, slice(frame, frame + 1))[0]
        pixel, inside = views.pixels(cam)
        of_object = inside & (views.kind[frame, pixel[:, 1], pixel[:, 0]] == OBJECT)
        place = (pixel - torch.tensor(box[:2], device=pixel.device))[of_object]
        at = of_object.nonzero()[:, 0]
        seen[at] |= cam[at, 2] < enters[place[:, 1], place[:, 0]] + _SEEN_CELLS
    return seen
