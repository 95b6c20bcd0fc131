"""Frames whose hand pose cannot be trusted, and poses interpolated across them (facts/hold.md 1.6)."""

from typing import NamedTuple

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.runtime.errors import InputError

VOLUME_DEVIATIONS = 2.0
SHAPE_NEIGHBOURS = 5


class PoseTrack(NamedTuple):
    """A hand over a video: rotation vectors per joint, shape coefficients and a translation in metres per frame."""

    rotvec: Float[Tensor, "frames joints 3"]
    shape: Float[Tensor, "frames shape"]
    translation_m: Float[Tensor, "frames 3"]


def sealed_volume_m3(
    vertices_m: Float[Tensor, "frames vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, " frames"]:
    """Volume enclosed by each frame's mesh, its hole (a hand's wrist) closed with a fan about the hole's centre.

    One sixth of the sum of det(a, b, c) over all triangles, in cubic metres. The mesh may have one hole or none.
    """
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = int(faces.max()) + 1
    forward = edges[:, 0] * count + edges[:, 1]
    border = edges[~torch.isin(forward, edges[:, 1] * count + edges[:, 0])]
    # Determinants lose digits far from the origin.
    vertices = vertices_m - vertices_m.mean(1, keepdim=True)
    volume = _determinants(vertices[:, faces]).sum(1)
    if len(border):
        centre = vertices[:, border[:, 0]].mean(1, keepdim=True).expand(-1, len(border), -1)
        fan = torch.stack([vertices[:, border[:, 1]], vertices[:, border[:, 0]], centre], dim=2)
        volume = volume + _determinants(fan).sum(1)
    return volume / 6.0


def _determinants(triangles: Float[Tensor, "frames faces 3 3"]) -> Float[Tensor, "frames faces"]:
    a, b, c = triangles.unbind(2)
    return (a * torch.linalg.cross(b, c)).sum(-1)


def volume_outliers(volume: Float[Tensor, " frames"]) -> Bool[Tensor, " frames"]:
    """Frames whose mesh has collapsed: volume below the mean less two (population) standard deviations."""
    return volume < volume.mean() - VOLUME_DEVIATIONS * volume.std(correction=0)


def fill_gaps(track: PoseTrack, missing: Bool[Tensor, " frames"]) -> PoseTrack:
    """Replace the missing frames from their neighbours that are not.

    Each joint's rotation is interpolated along the shortest arc (SLERP) and the translation linearly; beyond the first
    and the last good frame both are held, also where both ends are missing (the released code fails there). The shape
    is the mean of the good frames in the smallest window about the frame that holds at least five of them. Raises
    InputError when no frame is good.
    """
    if not bool(missing.any()):
        return track
    before, after, share = _neighbours(missing)
    steps = share[:, None].to(track.rotvec)
    filled = rotvec_between(track.rotvec[before], track.rotvec[after], steps)
    rotvec = torch.where(missing[:, None, None], filled, track.rotvec)
    translation = torch.lerp(track.translation_m[before], track.translation_m[after], steps)
    translation = torch.where(missing[:, None], translation, track.translation_m)
    shape = torch.where(missing[:, None], _nearest_shapes(track.shape, missing), track.shape)
    return PoseTrack(rotvec, shape, translation)


def fill_points(
    points: Float[Tensor, "frames points d"], missing: Bool[Tensor, " frames"]
) -> Float[Tensor, "frames points d"]:
    """Linear interpolation of points across the missing frames, ends held; raises InputError when all are missing."""
    before, after, share = _neighbours(missing)
    filled = torch.lerp(points[before], points[after], share[:, None, None].to(points))
    return torch.where(missing[:, None, None], filled, points)


def rotvec_between(
    start: Float[Tensor, "frames joints 3"], end: Float[Tensor, "frames joints 3"], share: Float[Tensor, "frames 1"]
) -> Float[Tensor, "frames joints 3"]:
    """The rotation vector at `share` (0 to 1) of the shortest turn from one rotation to another."""
    first = roma.rotvec_to_rotmat(start)
    turn = roma.rotmat_to_rotvec(first.mT @ roma.rotvec_to_rotmat(end))
    return roma.rotmat_to_rotvec(first @ roma.rotvec_to_rotmat(share[..., None] * turn))


def full_image_keypoints(
    keypoints_crop_px: Float[Tensor, "frames points 2"], boxes_px: Float[Tensor, "frames 4"], crop_px: int
) -> Float[Tensor, "frames points 2"]:
    """Key points of crops resampled to `crop_px` pixels, moved into the full image by each box (x0 y0 x1 y1)."""
    corner, opposite = boxes_px[:, None, :2], boxes_px[:, None, 2:]
    return corner + keypoints_crop_px * ((opposite - corner) / crop_px)


def _neighbours(
    missing: Bool[Tensor, " frames"],
) -> tuple[Int[Tensor, " frames"], Int[Tensor, " frames"], Float[Tensor, " frames"]]:
    """Per frame the last good frame up to it, the first one from it on, and where it lies between them (0 to 1)."""
    if bool(missing.all()):
        raise InputError(
            f"hand poses: none of {len(missing)} frames has one, expected at least one good frame; look at the hand "
            "masks and at the estimates' confidence, or choose another hand estimator"
        )
    frame = torch.arange(len(missing), device=missing.device)
    before = torch.where(missing, -1, frame).cummax(0).values
    after = torch.where(missing, len(missing), frame).flip(0).cummin(0).values.flip(0)
    before, after = torch.where(before < 0, after, before), torch.where(after == len(missing), before, after)
    share = (frame - before).double() / (after - before).clamp_min(1)
    return before, after, share.clamp(0.0, 1.0)


def _nearest_shapes(
    shape: Float[Tensor, "frames shape"], missing: Bool[Tensor, " frames"]
) -> Float[Tensor, "frames shape"]:
    """Per frame the mean shape of the good frames no farther away than the fifth nearest one."""
    frame = torch.arange(len(missing), device=missing.device)
    good = frame[~missing]
    distance = (frame[:, None] - good).abs()
    radius = distance.sort(1).values[:, min(SHAPE_NEIGHBOURS, len(good)) - 1]
    used = (distance <= radius[:, None]).to(shape)
    return (used @ shape[good]) / used.sum(1, keepdim=True)
