"""Alignment of two meshes by similarity ICP with restarts, as HOLD scores shapes, without open3d.

As in HOLD's `code/src/utils/icp.py`, both meshes are centred on the mean of their vertices and sampled; point-to-point
ICP with scale runs on pairs closer than 10 mm, from the identity and from many other starts, and the alignment with the
lowest chamfer distance of all vertices counts. The reference finds its 600 restarts by matching features, unseeded;
here they are rotations: the four matches of the principal axes and random ones, seeded. They first pass through a
coarse rigid ICP whose reach shrinks from a quarter of the shape's size to 10 mm, all at once, and the best go on. Its
results therefore agree with the reference's in the optimum found, not in the last digits.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from handloom.evaluation.mesh_metrics import FramePoints, surface_scores
from handloom.runtime.errors import InputError
from handloom.runtime.seeds import numpy_generator

THRESHOLD_M = 0.010
"""Pairs of points farther apart do not count."""
SAMPLES = 1000
"""Points sampled on each surface."""
RESTARTS = 600  # as many as the reference's
_COARSE_SAMPLES, _COARSE_STEPS = 200, 20
"""Points and steps of the coarse ICP, which only has to put the starts in order."""
_FINALISTS = 24
"""The best go on to the fine ICP, which takes most of the time."""
_MOST_STEPS = 100  # the slowest starts of the demo take 60 to 80
_STILL = 1e-6
"""A start stands still when its error and its share of pairs change relatively less than this."""


class Similarity(NamedTuple):
    """x -> scale rotation x + translation, one for each start; lengths in metres."""

    scale: Float[np.ndarray, " starts"]
    rotation: Float[np.ndarray, "starts 3 3"]
    translation_m: Float[np.ndarray, "starts 3"]

    def apply(self, points_m: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "starts points 3"]:
        """The points moved by each of the similarities."""
        linear = self.scale[:, None, None] * self.rotation
        return points_m @ linear.swapaxes(1, 2) + self.translation_m[:, None]

    def chosen(self, rows: Int[np.ndarray, " rows"]) -> "Similarity":
        """Some of the similarities."""
        return Similarity(self.scale[rows], self.rotation[rows], self.translation_m[rows])

    def followed_by(self, others: "Similarity") -> "Similarity":
        """These and others."""
        return Similarity(*map(np.concatenate, zip(self, others, strict=True)))


class Aligned(NamedTuple):
    """The best alignment of a mesh with another, and their agreement at all vertices."""

    chamfer_cm2: float
    f5_pct: float
    f10_pct: float
    scale: float
    rotation: Float[np.ndarray, "3 3"]
    chamfer_cm: float
    """Of distances that are not squared."""


def align_meshes(
    source_m: Float[np.ndarray, "source 3"],
    source_faces: Int[np.ndarray, "source_faces 3"],
    target_m: Float[np.ndarray, "target 3"],
    target_faces: Int[np.ndarray, "target_faces 3"],
    *,
    seed: int,
    restarts: int = RESTARTS,
    any_scale: bool = False,
    first_rotations: Float[np.ndarray, "_ 3 3"] | None = None,
) -> Aligned:
    """The lowest chamfer distance of `source` to `target` over similarity transforms, with its F-scores.

    Starts keep the size of the source; with `any_scale` each also starts at the target's size (ratio of the samples'
    root mean square radii), so that a wrong scale, however large, does not count. `first_rotations` are tried
    besides. The centred meshes as they are count as well, so equal meshes have distance 0.
    Raises InputError for a mesh without faces or area.
    """
    random = numpy_generator(seed, "icp")
    source_centre, target_centre = source_m.mean(0), target_m.mean(0)
    source, target = source_m - source_centre, target_m - target_centre
    source_samples = surface_samples(source, source_faces, SAMPLES, random)
    target_samples = surface_samples(target, target_faces, SAMPLES, random)

    rotations = [np.eye(3)[None], principal_rotations(source_samples, target_samples)]
    if first_rotations is not None:
        rotations.append(first_rotations)
    rotations.append(Rotation.random(restarts, rng=random).as_matrix().reshape(-1, 3, 3))
    identity, starts = _at_origin(np.eye(3)[None]), _at_origin(np.concatenate(rotations))
    if any_scale:
        ratio = _radius(target_samples) / _radius(source_samples)
        starts = starts.followed_by(starts._replace(scale=starts.scale * ratio))
    coarse = _coarse(source_samples, target_samples, starts)
    refined = similarity_icp(source_samples, target_samples, identity.followed_by(coarse))
    return _best(identity.followed_by(refined), source, target)


def similarity_icp(
    source_m: Float[np.ndarray, "source 3"], target_m: Float[np.ndarray, "target 3"], starts: Similarity
) -> Similarity:
    """Point-to-point ICP with scale from every start at once; pairs are nearest points within the threshold.

    A start stops when neither its share of pairs nor their root mean square distance changes any more, or when fewer
    than three pairs are left.
    """
    tree = cKDTree(target_m)
    current = Similarity(*(part.copy() for part in starts))
    going = np.arange(len(current.scale))
    previous = np.full((len(going), 2), np.inf)
    for _ in range(_MOST_STEPS):
        distance, index = _nearest(tree, current.chosen(going).apply(source_m), THRESHOLD_M)
        paired = np.isfinite(distance)
        share = paired.mean(1)
        error = np.sqrt((np.where(paired, distance, 0) ** 2).sum(1) / np.maximum(paired.sum(1), 1))
        now = np.column_stack([share, error])
        still = (np.abs(now - previous[going]) <= _STILL * np.maximum(now, 1e-12)).all(1)
        previous[going] = now
        keep = ~still & (paired.sum(1) >= 3)
        going = going[keep]
        if not len(going):
            break
        fitted = fit_similarity(source_m, target_m[index[keep]], paired[keep])
        for part, values in zip(current, fitted, strict=True):
            part[going] = values
    return current


def fit_similarity(
    source: Float[np.ndarray, "points 3"],
    target: Float[np.ndarray, "starts points 3"],
    paired: Bool[np.ndarray, "starts points"],
    *,
    scaled: bool = True,
) -> Similarity:
    """The least-squares similarity of paired points (Umeyama 1991), one for each start.

    With centred pairs (x, y), U S V^T = sum y x^T and D = diag(1, 1, det(U V^T)): R = U D V^T, scale =
    tr(S D) / sum |x|^2, t = mean y - scale R mean x. Without `scaled`, scale = 1.
    """
    weight = paired / np.maximum(paired.sum(1, keepdims=True), 1)
    source_mean = weight @ source
    target_mean = (weight[:, :, None] * target).sum(1)
    x = source - source_mean[:, None]
    y = target - target_mean[:, None]
    u, spread, vt = np.linalg.svd((weight[:, :, None] * y).swapaxes(1, 2) @ x)
    mirrored = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    spread[:, 2] *= mirrored
    u[:, :, 2] *= mirrored[:, None]
    rotation = u @ vt
    radius2 = (weight * (x**2).sum(2)).sum(1)
    scale = spread.sum(1) / np.maximum(radius2, 1e-30) if scaled else np.ones(len(target))
    translation = target_mean - scale[:, None] * (rotation @ source_mean[:, :, None])[:, :, 0]
    return Similarity(scale, rotation, translation)


def surface_samples(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    count: int,
    random: np.random.Generator,
) -> Float[np.ndarray, "count 3"]:
    """Points spread evenly at random over a surface; raises InputError when it has no area."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    if not area.sum() > 0:
        raise InputError(f"mesh with {len(vertices)} vertices and {len(faces)} faces: has no area, so it has no shape")
    face = random.choice(len(faces), size=count, p=area / area.sum())
    first, second = random.random((2, count))
    root = np.sqrt(first)[:, None]
    samples: np.ndarray = (1 - root) * a[face] + root * (1 - second[:, None]) * b[face]
    return samples + root * second[:, None] * c[face]


def principal_rotations(
    source: Float[np.ndarray, "source 3"], target: Float[np.ndarray, "target 3"]
) -> Float[np.ndarray, "4 3 3"]:
    """The four rotations that lay the principal axes of one point set on those of another."""
    axes = [np.linalg.eigh(np.cov(points.T))[1] for points in (source, target)]
    signs = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)
    signs[:, 2] *= np.sign(np.linalg.det(axes[0]) * np.linalg.det(axes[1]))
    return (axes[1] * signs[:, None]) @ axes[0].T


def _coarse(source: np.ndarray, target: np.ndarray, starts: Similarity) -> Similarity:
    """Rigid ICP of a few samples with a shrinking reach; the starts with the best mutual fit, without near copies."""
    few, tree = source[:_COARSE_SAMPLES], cKDTree(target)
    current, scale = starts, starts.scale
    widest = 0.25 * float(np.ptp(target, axis=0).max())
    for reach in np.geomspace(max(widest, THRESHOLD_M), THRESHOLD_M, _COARSE_STEPS):
        distance, index = _nearest(tree, current.apply(few), reach)
        paired = np.isfinite(distance)
        enough = paired.sum(1) >= 3
        rigid = fit_similarity(few, target[index] / scale[:, None, None], paired, scaled=False)
        rotation = np.where(enough[:, None, None], rigid.rotation, current.rotation)
        translation = np.where(enough[:, None], rigid.translation_m * scale[:, None], current.translation_m)
        current = Similarity(scale, rotation, translation)
    error = _mutual_error(few, target[:_COARSE_SAMPLES], tree, current)
    return current.chosen(_distinct(current, np.argsort(error, kind="stable"))[:_FINALISTS])


def _mutual_error(source: np.ndarray, target: np.ndarray, tree: cKDTree, starts: Similarity) -> np.ndarray:
    """Mean squared distance both ways; the way back goes through the inverse motion, so one tree serves all."""
    there, _ = tree.query(starts.apply(source))
    back_points = (target - starts.translation_m[:, None]) @ starts.rotation / starts.scale[:, None, None]
    back, _ = cKDTree(source).query(back_points)
    return np.asarray((there**2).mean(1) + (back**2).mean(1) * starts.scale**2)


def _distinct(starts: Similarity, order: np.ndarray) -> np.ndarray:
    """Rows in order, without those whose rotation is within 5 degrees of an earlier one's at the same scale."""
    rotation = starts.rotation[order].reshape(len(order), 9)
    alike = (rotation @ rotation.T > 1 + 2 * np.cos(np.deg2rad(5))) & np.equal.outer(*[starts.scale[order]] * 2)
    earlier = np.tril(alike, -1).any(1)
    return np.asarray(order[~earlier])


def _best(candidates: Similarity, source: np.ndarray, target: np.ndarray) -> Aligned:
    moved = FramePoints.of_equal_frames(candidates.apply(source))
    scores = surface_scores(moved, FramePoints.of_equal_frames(np.repeat(target[None], len(moved), axis=0)))
    best = int(np.argmin(scores.chamfer_cm2))
    return Aligned(
        chamfer_cm2=float(scores.chamfer_cm2[best]),
        f5_pct=float(scores.f5_pct[best]),
        f10_pct=float(scores.f10_pct[best]),
        chamfer_cm=float(scores.chamfer_cm[best]),
        scale=float(candidates.scale[best]),
        rotation=candidates.rotation[best],
    )


def _at_origin(rotations: np.ndarray) -> Similarity:
    return Similarity(np.ones(len(rotations)), rotations, np.zeros((len(rotations), 3)))


def _radius(points: np.ndarray) -> float:
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))


def _nearest(tree: cKDTree, points: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance and index of the nearest target, infinite and 0 where none is within reach."""
    distance, index = tree.query(points, distance_upper_bound=reach)
    return distance, np.where(np.isfinite(distance), index, 0)
