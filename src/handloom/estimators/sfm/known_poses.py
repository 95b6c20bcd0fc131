"""Object poses that a data set annotates, in the form structure from motion would have found them."""

import sys
from pathlib import Path

import numpy as np

from handloom.datasets.frames import read_frames
from handloom.datasets.ho3d import read_sequence
from handloom.estimators.sfm.object_poses import ObjectPoses, filled_poses, write_pose_sheet
from handloom.runtime.errors import InputError
from handloom.runtime.seeds import numpy_generator

# As many points as structure from motion finds on a well textured object.
_POINTS = 2000


def known_object_poses(
    source: Path,
    frames: Path,
    frames_json: Path,
    poses: Path,
    picture: Path,
    *,
    models: Path | None,
    min_registered: float,
    seed: int,
    code: str,
) -> None:
    """Stage: the annotated poses of an HO3D sequence (metres), points of the object's model, and a picture of them.

    Frames without annotation are interpolated and counted; at most 2000 points are kept, drawn at random. Raises
    InputError when no annotation tells the camera, fewer than `min_registered` of the frames have a pose, or there are
    no points.
    """
    sequence, taken = read_sequence(source), read_frames(frames, frames_json)
    if sequence.intrinsics is None:
        raise InputError(
            f"sequence {source}: none of its annotations tells the camera; set hold.sfm.backend to pycolmap"
        )
    rows = sequence.rows_of(taken.names)
    cam_from_object, registered = sequence.cam_from_object[rows], sequence.valid[rows]
    vertices = sequence.object_model(models).vertices_m
    if not registered.any() or registered.mean() < min_registered:
        raise InputError(
            f"{source}: {registered.sum()} of {len(registered)} frames have an annotated object pose, expected at "
            f"least {min_registered:.0%} (hold.sfm.min_registered); choose other frames or hold.sfm.backend: pycolmap"
        )
    if not registered.all():
        count = int(np.sum(~registered))
        print(f"{poses.name}: {count} of {len(registered)} annotated poses interpolated", file=sys.stderr)
    chosen = numpy_generator(seed, "known_object_poses").permutation(len(vertices))[:_POINTS]
    points = vertices[np.sort(chosen)]
    found = ObjectPoses(
        intrinsics=sequence.intrinsics,
        radial=0.0,
        cam_from_object=filled_poses(cam_from_object, registered, np.median(points, 0)),
        registered=registered,
        points_object=points,
        reprojection_px=0.0,
        mapper="known",
    )
    found.save(poses, seed=seed, code=code)
    write_pose_sheet(taken, found, picture)
