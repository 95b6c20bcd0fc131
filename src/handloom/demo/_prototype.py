"""Temporary: the prototype hand until handloom.hand is there."""

import numpy as np
from scipy.spatial.transform import Rotation

_FILE = np.load("/work/shared/data/open_hand_prototype.npz", allow_pickle=False)
V_TEMPLATE, FACES, WEIGHTS = _FILE["v_template"], _FILE["f"], _FILE["weights"]
FINGER_BONES = ((13, 14, 15), (1, 2, 3), (4, 5, 6), (10, 11, 12), (7, 8, 9))  # thumb, index, middle, ring, pinky
PARENTS = _FILE["parents"]
TIPS = dict(zip((1, 4, 7, 10, 13), _FILE["tips"], strict=True))


def skin_right(finger_pose, shape):
    n = len(finger_pose)
    v = V_TEMPLATE + _FILE["shapedirs"][:, :, : len(shape)] @ shape
    j = _FILE["J_regressor"] @ v
    r = Rotation.from_rotvec(finger_pose.reshape(-1, 3)).as_matrix().reshape(n, 15, 3, 3)
    g = np.zeros((n, 16, 4, 4))
    g[:] = np.eye(4)
    g[:, 0, :3, 3] = j[0]
    for k in range(1, 16):
        l = np.zeros((n, 4, 4))
        l[:, :3, :3] = r[:, k - 1]
        l[:, :3, 3] = j[k] - j[PARENTS[k]]
        l[:, 3, 3] = 1
        g[:, k] = g[:, PARENTS[k]] @ l
    joints = g[:, :, :3, 3]
    a = g[:, :, :3, :].copy()
    a[:, :, :, 3] -= np.einsum("nkij,kj->nki", g[:, :, :3, :3], j)
    t = (WEIGHTS @ a.transpose(1, 0, 2, 3).reshape(16, -1)).reshape(len(v), n, 3, 4)
    out = np.einsum("vnij,vj->nvi", t[..., :3], v) + t[..., 3].transpose(1, 0, 2)
    keypoints = [joints[:, 0]]
    for bones in FINGER_BONES:
        keypoints += [joints[:, b] for b in bones] + [out[:, TIPS[bones[0]]]]
    wrist = joints[:, :1]
    return out - wrist, np.stack(keypoints, 1) - wrist


def flexion_axes():
    """(15,3) axes in the rest frame; positive turns flex."""
    j = _FILE["J_regressor"] @ V_TEMPLATE
    axes = np.zeros((15, 3))
    for bones in FINGER_BONES:
        p = np.concatenate([j[list(bones)], V_TEMPLATE[TIPS[bones[0]]][None]])
        a = np.cross(p[1] - p[0], p[3] - p[2])
        a = a / np.linalg.norm(a)
        for b in bones:
            axes[b - 1] = a
    return axes
