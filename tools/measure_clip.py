"""Masks, object poses, shape and size of a clip against the known shape of what is held, and what it all cost.

    python tools/measure_clip.py results/hold/CLIP SHAPE.obj [--video CLIP.mp4] [--seed 0]

What the folder of results has is measured:

* Poses. The shape's convex hull is laid on the model of structure from motion by one similarity, which makes its
  silhouettes fit the object's masks (pixels of hands do not count, nor does the worst fifth of the frames) and its
  surface the model's points. A frame is
  right if its silhouette then has an IoU of at least 0.65, and if spots that optical flow follows to the frames near
  it, laid on the shape and projected there, are at most 6 px off in the median: silhouettes alone do not see a box
  turned back to front. Corrected masks count where there are any.
* Masks. Their IoU with that silhouette where no hand is, and what leaks, as a share of the silhouette, in frames whose
  pose is right.
* Shape. Chamfer distance and F-scores of each phase's mesh after similarity ICP, as HOLD scores it, and how much larger
  it is.
* Size of the aligned object, and core-seconds of the jobs whose benchmark files lie in the run's folder.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import trimesh
from jaxtyping import Bool, Float, UInt8
from scipy.optimize import minimize
from scipy.spatial import ConvexHull, cKDTree
from scipy.spatial.transform import Rotation

from handloom.datasets.frames import Frames, read_frames
from handloom.datasets.hand_and_object import HoldPredictions
from handloom.datasets.masks import OBJECT, read_masks
from handloom.estimators.sfm.matches import Matches
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.estimators.sfm.views import views_of
from handloom.evaluation.icp import align_meshes
from handloom.geometry.camera import project
from handloom.reconstruction.tracks import SequencePoses
from handloom.runtime.config.sequences import FrameSettings

LEAST_IOU, MOST_TRANSFER_PX = 0.65, 6.0
REACH = 4.0
SMALLER = 4
STARTS, SIZES, REFINED = 48, (0.55, 0.75, 1.0, 1.3), 14
FITTED_FRAMES = 12
MOST_POINTS, FAR_SHARE, POINTS_WEIGHT = 1500, 0.1, 3.0
Cost = Callable[[np.ndarray, np.ndarray], float]
LEFT_OUT = 0.2
MASKS, PHASES = ("masks", "corrected_masks"), ("phase1", "phase3")
# Distances are taken at vertices: those of a box are too few.
LONGEST_EDGE_M = 0.002


class Silhouettes:
    """Masks, made smaller, and how well a convex shape's outline fits them."""

    def __init__(
        self, labels: UInt8[np.ndarray, "frames height width"], poses: ObjectPoses, smaller: int = SMALLER
    ) -> None:
        small = labels[:, ::smaller, ::smaller]
        self.smaller = smaller
        self.thing, self.hand = small == OBJECT, small > OBJECT
        self.poses = poses
        self.shown = poses.registered & (self.thing.sum((1, 2)) > 60 * (SMALLER // smaller) ** 2)

    def iou(self, vertices_object: Float[np.ndarray, "vertices 3"], frame: int) -> float:
        """IoU of the outline with the mask in one frame, where no hand is."""
        return self.fit(vertices_object, frame)[0]

    def fit(self, vertices_object: Float[np.ndarray, "vertices 3"], frame: int) -> tuple[float, float]:
        """That IoU, and the part of the mask beyond the outline as a share of the outline."""
        pose = self.poses.cam_from_object[frame]
        points_cam = vertices_object @ pose[:3, :3].T + pose[:3, 3]
        if points_cam[:, 2].min() <= 1e-6:
            return 0.0, np.nan
        pixels = project(points_cam, self.poses.intrinsics) / self.smaller
        if np.abs(pixels).max() > 2e4 / self.smaller:
            return 0.0, np.nan
        drawn = np.zeros(self.thing.shape[1:], np.uint8)
        outline = cv2.convexHull(pixels.astype(np.float32))
        cv2.fillConvexPoly(drawn, np.rint(outline * 16).astype(np.int32), 1, shift=4)
        thing, there = self.thing[frame], drawn > 0
        union = (there & ~self.hand[frame]) | thing
        return float((there & thing).sum() / max(union.sum(), 1)), float((thing & ~there).sum() / max(there.sum(), 1))


def fit_shape(shape_m: Float[np.ndarray, "vertices 3"], surface: cKDTree, sight: Silhouettes, seed: int) -> np.ndarray:
    """Rotation vector, logarithm of units per metre and centre in the object's frame of the best similarity.

    Silhouettes find it; at last the model's points, which lie on the `surface` (m), take part: silhouettes alone leave
    some degrees open.
    """
    centre = np.median(sight.poses.points_object, 0)
    extent = float(np.sqrt(((sight.poses.points_object - centre) ** 2).sum(1).mean()))
    size_m = float(np.sqrt((shape_m**2).sum(1).mean()))
    frames = np.flatnonzero(sight.shown)
    frames = frames[np.linspace(0, len(frames) - 1, min(FITTED_FRAMES, len(frames))).astype(int)]

    points = sight.poses.points_object[:: max(len(sight.poses.points_object) // MOST_POINTS, 1)]

    def off(x: np.ndarray) -> float:
        inside = (points - x[4:7]) @ Rotation.from_rotvec(x[:3]).as_matrix() / np.exp(x[3])
        return float(np.minimum(surface.query(inside)[0] / size_m, FAR_SHARE).mean())

    def cost(x: np.ndarray, some: np.ndarray) -> float:
        ious = np.sort([sight.iou(placed(shape_m, x), int(frame)) for frame in some])
        return -float(ious[int(LEFT_OUT * len(ious)) :].mean())

    def both(x: np.ndarray, some: np.ndarray) -> float:
        return cost(x, some) + POINTS_WEIGHT * off(x)

    def refined(x: np.ndarray, some: np.ndarray, step: float, calls: int, cost: Cost = cost) -> np.ndarray:
        steps = step * np.array([1, 1, 1, 0.7, extent, extent, extent])
        options = {"initial_simplex": np.vstack([x, x + np.diag(steps)]), "maxfev": calls, "fatol": 1e-5}
        return np.asarray(minimize(cost, x, args=(some,), method="Nelder-Mead", options=options).x)

    turns = Rotation.random(STARTS, rng=np.random.default_rng(seed)).as_rotvec()
    starts = [np.r_[turn, np.log(extent / size_m * size), centre] for turn in turns for size in SIZES]
    starts.sort(key=lambda x: cost(x, frames[::2]))
    found = sorted((refined(x, frames[::2], 0.3, 160) for x in starts[:REFINED]), key=lambda x: cost(x, frames))
    return min((refined(x, frames, 0.1, 350, both) for x in found[:3]), key=lambda x: both(x, frames))


def placed(shape_m: Float[np.ndarray, "vertices 3"], x: np.ndarray) -> Float[np.ndarray, "vertices 3"]:
    """The shape in the object's frame."""
    return np.asarray(np.exp(x[3]) * (shape_m @ Rotation.from_rotvec(x[:3]).as_matrix().T) + x[4:7])


def transfers_px(
    vertices_object: Float[np.ndarray, "vertices 3"], poses: ObjectPoses, matches: Matches
) -> Float[np.ndarray, " frames"]:
    """Of each frame the median over the frames near it of how far spots on the shape are from where they were seen."""
    planes = np.unique(ConvexHull(vertices_object).equations.round(9), axis=0)
    frames = matches.frame[matches.pairs]
    used = poses.registered[frames].all(1)
    frames, spots = frames[used], matches.pairs[used]
    rays = np.hstack([matches.pixel[spots[:, 0]], np.ones((len(spots), 1))]) @ np.linalg.inv(poses.intrinsics).T
    pose = poses.cam_from_object[frames[:, 0]]
    direction = np.einsum("mji,mj->mi", pose[:, :3, :3], rays)
    origin = -np.einsum("mji,mj->mi", pose[:, :3, :3], pose[:, :3, 3])
    slope, height = direction @ planes[:, :3].T, origin @ planes[:, :3].T + planes[:, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = -height / slope
    enter = np.where(slope < 0, depth, -np.inf).max(1)
    leave = np.where(slope > 0, depth, np.inf).min(1)
    hit = enter <= leave
    on_shape = origin + enter[:, None] * direction
    pose = poses.cam_from_object[frames[:, 1]]
    there = project(np.einsum("mij,mj->mi", pose[:, :3, :3], on_shape) + pose[:, :3, 3], poses.intrinsics, 1e-6)
    off = np.where(hit, np.linalg.norm(there - matches.pixel[spots[:, 1]], axis=1), 99.0)
    pairs, pair = np.unique(frames, axis=0, return_inverse=True)
    medians = np.array([np.median(off[pair.reshape(-1) == each]) for each in range(len(pairs))])
    near = [medians[(pairs == frame).any(1)] for frame in range(len(poses.registered))]
    return np.array([np.median(each) if len(each) else np.nan for each in near])


def in_line(good: Bool[np.ndarray, " frames"], posed: Bool[np.ndarray, " frames"]) -> str:
    """A character a frame: # right, ! wrong and called right, . without a pose of its own."""
    return "".join("." if not there else "#" if fine else "!" for fine, there in zip(good, posed, strict=True))


def footage_of(taken: Frames, video: Path | None) -> tuple[Path | None, FrameSettings]:
    """The video and which of its pictures were taken, as the list of frames tells."""
    kind, _, path = taken.source.partition(":")
    numbers = [int(name) for name in taken.names] if kind == "video" else [0, 1]
    found = video or (Path(path) if kind == "video" and Path(path).is_file() else None)
    every, longest = numbers[1] - numbers[0], max(taken.size_px)
    return found, FrameSettings(kind="video", first=numbers[0], every=every, longest_side_px=longest)


def mask_report(
    folder: Path, taken: Frames, poses: ObjectPoses, hull: Float[np.ndarray, "vertices 3"], right: np.ndarray
) -> str:
    """IoU and leak of a folder's masks in frames with a right pose."""
    sight = Silhouettes(read_masks(folder, taken), poses, smaller=1)
    iou, leak = np.array([sight.fit(hull, frame) for frame in np.flatnonzero(right)]).T
    return (
        f"{folder.name}: IoU mean {iou.mean():.3f}, worst {iou.min():.3f}; leak mean {100 * leak.mean():.1f} %, "
        f"worst {100 * leak.max():.1f} %; in {len(iou)} frames"
    )


def shape_report(folder: Path, shape: trimesh.Trimesh, seed: int) -> str:
    """How far a phase's mesh is from the shape, at any size."""
    found = HoldPredictions.load(folder / "predictions.npz")
    vertices_m, faces = trimesh.remesh.subdivide_to_size(shape.vertices, shape.faces, LONGEST_EDGE_M)
    mesh = found.object_vertices_m.astype(float), found.object_faces
    fit = align_meshes(*mesh, vertices_m, faces, seed=seed, any_scale=True)
    return (
        f"{folder.name}: chamfer {fit.chamfer_cm2:.3f} cm2, F5 {fit.f5_pct:.1f} %, F10 {fit.f10_pct:.1f} %, "
        f"size {100 * (1 / fit.scale - 1):+.1f} %"
    )


def cost_report(sequence: Path) -> str | None:
    """Core-seconds of a sequence's jobs, the dearest first; None where nothing was measured."""
    benchmarks, name = sequence.resolve().parents[2] / "benchmarks", sequence.name
    files = [*benchmarks.glob(f"*/{name}.tsv"), *benchmarks.glob(f"*/{name}/*.tsv")]
    if not files:
        return None
    jobs = {
        "/".join(path.relative_to(benchmarks).with_suffix("").parts).replace(f"/{name}", ""): float(
            pd.read_csv(path, sep="\t")["cpu_time"].sum()
        )
        for path in files
    }
    dearest = sorted(jobs.items(), key=lambda job: -job[1])
    return f"core-seconds: {sum(jobs.values()):.0f} ({', '.join(f'{job} {cost:.0f}' for job, cost in dearest)})"


def main(arguments: list[str]) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("shape", type=Path, help="mesh in metres")
    parser.add_argument("--poses", default="object_poses.npz")
    parser.add_argument("--video", type=Path, help="if it no longer lies where the list of frames says")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    folder = chosen.sequence
    taken = read_frames(folder / "frames", folder / "frames.json")
    masks = [folder / name for name in MASKS if (folder / name).is_dir()]
    labels = read_masks(masks[-1], taken)
    poses = ObjectPoses.load(folder / chosen.poses)
    shape = trimesh.load(chosen.shape, force="mesh", process=False)
    vertices_m = np.asarray(shape.vertices, float) - np.asarray(shape.vertices, float).mean(0)
    hull_m = vertices_m[ConvexHull(vertices_m).vertices]
    sight = Silhouettes(labels, poses)
    surface = cKDTree(
        trimesh.sample.sample_surface(
            trimesh.Trimesh(vertices_m, shape.faces, process=False), 50_000, seed=chosen.seed
        )[0]
    )
    x = fit_shape(hull_m, surface, sight, chosen.seed)
    hull = placed(hull_m, x)
    iou = np.array([sight.iou(hull, frame) if sight.shown[frame] else np.nan for frame in range(len(taken))])
    transfer_px = transfers_px(hull, poses, views_of(taken, labels, *footage_of(taken, chosen.video)).followed(REACH))
    right = poses.registered & (iou >= LEAST_IOU) & (transfer_px <= MOST_TRANSFER_PX)
    inside_m = (poses.points_object - x[4:7]) @ Rotation.from_rotvec(x[:3]).as_matrix() / np.exp(x[3])
    off_mm = 1e3 * surface.query(inside_m)[0]
    print(
        f"poses: {right.sum()} right, {(poses.registered & ~right).sum()} wrong and not told, "
        f"{(~poses.registered).sum()} told to have none, of {len(taken)}; focal length {poses.intrinsics[0, 0]:.0f} px"
    )
    print(f"       {in_line(right, poses.registered)}")
    print(
        f"       silhouettes' IoU {np.nanmedian(iou):.2f} (least {np.nanmin(iou):.2f}), transfer "
        f"{np.nanmedian(transfer_px):.1f} px (most {np.nanmax(transfer_px):.1f}), {len(off_mm)} points "
        f"{np.median(off_mm):.1f} mm from the shape (90 %: {np.quantile(off_mm, 0.9):.1f})"
    )
    if right.any():
        print(*(mask_report(each, taken, poses, hull, right) for each in masks), sep="\n")
    if (folder / "aligned.npz").is_file():
        size = float(SequencePoses.load(folder / "aligned.npz").object.scale) * np.exp(x[3])
        print(f"size: {100 * (size - 1):+.1f} % after the alignment with the hand")
    for phase in PHASES:
        if (folder / phase / "predictions.npz").is_file():
            print(shape_report(folder / phase, shape, chosen.seed))
    if (cost := cost_report(folder)) is not None:
        print(cost)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
