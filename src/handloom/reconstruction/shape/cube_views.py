"""The video as the object's cube sees it: cameras whose unit of length is a cell of the cube's grid.

So nothing here depends on the metric size, which a single camera tells badly. The grid has `cells` nodes a side and its
middle is the origin: x_cell = x_unit (cells - 1) / 2.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from handloom.geometry.camera import pixel_rays, project
from handloom.geometry.voxels import look_up
from handloom.reconstruction.compact.volume_renderer import interval_in_box
from handloom.reconstruction.observations import HAND, OBJECT, Observations
from handloom.reconstruction.scene_poses import ObjectCube
from handloom.reconstruction.tracks import ObjectTrack

_NEAREST = 1e-3
_GREY = (0.299, 0.587, 0.114)
_TRACE_STEP = 1.0
"""Cells between two looks along a ray; the crossing is interpolated."""


class Box(tuple[int, int, int, int]):
    """First column, first row, and those after the last ones."""

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self[1], self[3]), slice(self[0], self[2])


@dataclass(frozen=True)
class CubeViews:
    """Grey pictures and classes of all frames, and x_cam = R x_cell + t in cells."""

    grey: Float[Tensor, "frames rows columns"]
    kind: UInt8[Tensor, "frames rows columns"]
    intrinsics: Float[Tensor, "3 3"]
    rotation: Float[Tensor, "frames 3 3"]
    translation: Float[Tensor, "frames 3"]
    cells: int

    @classmethod
    def of(
        cls, seen: Observations, thing: ObjectTrack, cube: ObjectCube, cells: int, device: torch.device | str
    ) -> "CubeViews":
        """The views of a video, on a device."""
        cell = float(thing.scale) * cube.radius * 2 / (cells - 1)
        middle = float(thing.scale) * cube.centre
        grey = seen.image_u8.float() @ torch.tensor(_GREY)
        place = (thing.rotation @ middle + thing.translation_m) / cell
        cameras = seen.intrinsics.to(device), thing.rotation.to(device), place.to(device)
        # To the object all hands are alike: what hides it.
        return cls(grey.to(device), seen.class_u8.clamp(max=HAND).to(device), *cameras, cells)

    def smaller(self, object_px: int) -> "CubeViews":
        """The same views so much smaller that the object's longer side has at most about `object_px` in the median."""
        thing = self.kind == OBJECT
        sides = torch.stack([thing.any(axis).sum(-1) for axis in (1, 2)]).amax(0)
        side = sides[sides > 0].median() if bool((sides > 0).any()) else sides.amax()
        factor = max(1, -(-int(side) // object_px))
        if factor == 1:
            return self
        rows, columns = (length // factor * factor for length in self.grey.shape[1:])
        grey = functional.avg_pool2d(self.grey[:, None, :rows, :columns], factor)[:, 0]
        middle = (factor - 1) / 2
        kind = self.kind[:, factor // 2 : rows : factor, factor // 2 : columns : factor]
        intrinsics = self.intrinsics.clone()
        intrinsics[:2, 2] -= middle
        intrinsics[:2] /= factor
        return replace(self, grey=grey, kind=kind, intrinsics=intrinsics)

    @property
    def directions(self) -> Float[Tensor, "frames 3"]:
        """From the cube's middle to the camera."""
        return functional.normalize(-(self.rotation.mT @ self.translation[..., None])[..., 0], dim=-1)

    def cams(
        self, points: Float[Tensor, "points 3"], frames: Int[Tensor, " chosen"] | slice = slice(None)
    ) -> Float[Tensor, "chosen points 3"]:
        """Points of the cube in frames' cameras."""
        return points @ self.rotation[frames].mT + self.translation[frames, None]

    def pixels(self, points_cam: Float[Tensor, "*batch 3"]) -> tuple[Int[Tensor, "*batch 2"], Bool[Tensor, " *batch"]]:
        """Nearest pixels (column, row), within the image, and whether points are shown there at all."""
        place = project(points_cam, self.intrinsics, _NEAREST).round().long()
        most = torch.tensor(self.kind.shape[:0:-1], device=place.device) - 1
        within = place.clamp(torch.zeros_like(most), most)
        return within, (points_cam[..., 2] > 0) & (within == place).all(-1)

    def object_box(self, frame: int, margin: int) -> Box:
        """The box of the frame's object, so many pixels larger where the image is."""
        rows, columns = (self.kind[frame] == OBJECT).nonzero().unbind(1)
        height, width = self.kind.shape[1:]
        return Box(
            (
                max(int(columns.amin()) - margin, 0),
                max(int(rows.amin()) - margin, 0),
                min(int(columns.amax()) + margin + 1, width),
                min(int(rows.amax()) + margin + 1, height),
            )
        )

    def rays(self, box: Box) -> Float[Tensor, "rows columns 3"]:
        """Rays with z = 1 through the pixels of a box."""
        down, across = (torch.arange(part.start, part.stop, device=self.grey.device) for part in box.slices)
        rows, columns = torch.meshgrid(down, across, indexing="ij")
        return pixel_rays(torch.stack([columns, rows], -1).float(), self.intrinsics)

    def trace(
        self, distance: Float[Tensor, "1 cells cells cells"], frame: int, box: Box
    ) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]]:
        """Depths (cells) at which the rays of a box enter a surface first and leave it last; infinite where none."""
        rays = self.rays(box)
        turn, half = self.rotation[frame], (self.cells - 1) / 2
        origin, step = -self.translation[frame] @ turn, rays.view(-1, 3) @ turn
        near, far = interval_in_box(origin.expand_as(step), step, half)
        first = near.clamp_min(_NEAREST).amin()
        count = max(2, int(((far - first)[far > near].amax() if bool((far > near).any()) else first) / _TRACE_STEP) + 2)
        depth = first + _TRACE_STEP * torch.arange(count, device=rays.device)
        hit = (far > near).nonzero()[:, 0]
        points = origin + depth[:, None] * step[hit, None]
        outside = (points.abs() > half).any(-1)
        value = look_up(distance, points.view(-1, 3) / half).view(outside.shape).masked_fill(outside, _TRACE_STEP)
        inside = value < 0
        entry = inside.byte().argmax(1).clamp_min(1)
        leave = count - 1 - inside.byte().flip(1).argmax(1)
        before, after = (value.gather(1, at[:, None])[:, 0] for at in (entry - 1, entry))
        share = (before / (before - after).clamp_min(1e-9)).clamp(0, 1)
        enters = torch.full_like(near, torch.inf)
        leaves = enters.clone()
        met = inside.any(1)
        enters[hit[met]] = (depth[entry - 1] + _TRACE_STEP * share)[met]
        leaves[hit[met]] = depth[leave][met]
        return enters.view(rays.shape[:2]), leaves.view(rays.shape[:2])
