"""Released checkpoints of HOLD: what they keep beside networks and poses, and how they are read.

The names and shapes below are those of HOLD's state dicts, so that these are exchanged as they are. Files of HOLD are
Lightning's; nothing in them is run.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from handloom.estimators.published_weights import PublishedWeights, read_state
from handloom.hand.joints import MANO_PARENTS
from handloom.hand.mano import HandModel
from handloom.runtime.errors import InputError, listed

PUBLISHED = PublishedWeights(
    network="HOLD-Net",
    owner="HOLD",
    file="last.ckpt",
    home="https://github.com/zc-alexfan/hold",
    hint="of the same video",
    entry="state_dict",
    prefix="model.",
)


class HandServer(nn.Module):
    """The hand model of a node, as buffers that move and load with it: smplx's names and its unused default poses."""

    def __init__(self, model: HandModel) -> None:
        super().__init__()
        self.side = model.side
        self.human_layer = layer = nn.Module()
        defaults = {"betas": model.shape_count, "global_orient": 3, "body_pose": 3, "transl": 3, "hand_pose": 45}
        for name, width in defaults.items():
            layer.register_parameter(name, nn.Parameter(torch.zeros(1, width), requires_grad=False))
        arrays = {
            "faces_tensor": model.faces,
            "v_template": model.v_template,
            "shapedirs": model.shapedirs,
            "J_regressor": model.J_regressor,
            "posedirs": model.posedirs.flatten(0, 1).T,
            "parents": torch.tensor(MANO_PARENTS),
            "lbs_weights": model.weights,
            "hand_mean": model.hands_mean,
            "pose_mean": nn.functional.pad(model.hands_mean, (3, 0)),
        }
        for name, array in arrays.items():
            layer.register_buffer(name, array.detach().clone(memory_format=torch.contiguous_format))
        layer.vertex_joint_selector = nn.Module()
        layer.vertex_joint_selector.register_buffer("extra_joints_idxs", torch.tensor(model.tip_vertices))

    def hand_model(self) -> HandModel:
        """The arrays as the hand model that the rest of handloom takes; nothing is copied."""
        array = self.human_layer.get_buffer
        thumb, index, middle, ring, pinky = array("vertex_joint_selector.extra_joints_idxs").tolist()
        return HandModel(
            v_template=array("v_template"),
            shapedirs=array("shapedirs"),
            posedirs=array("posedirs").T.unflatten(0, (-1, 3)),
            J_regressor=array("J_regressor"),
            weights=array("lbs_weights"),
            faces=array("faces_tensor"),
            hands_mean=array("hand_mean"),
            hands_components=torch.eye(45, device=array("hand_mean").device),
            tip_vertices=(thumb, index, middle, ring, pinky),
            side=self.side,
        )


class ObjectServer(nn.Module):
    """The object's scale (SfM unit to metre), its SfM points in the unit sphere, and the maps between both spaces."""

    def __init__(
        self,
        *,
        object_scale: float,
        points_canonical: Float[Tensor, "point 3"],
        normalised_from_sfm: Float[Tensor, "4 4"],
    ) -> None:
        super().__init__()
        self.object_model = nn.Module()
        normalised_from_sfm = normalised_from_sfm.float()
        self.object_model.register_buffer("obj_scale", torch.tensor([object_scale]))
        self.object_model.register_buffer("v3d_cano", points_canonical.float().clone())
        self.object_model.register_buffer("norm_mat", normalised_from_sfm.clone())
        self.object_model.register_buffer("denorm_mat", torch.linalg.inv(normalised_from_sfm))

    @property
    def scale(self) -> Float[Tensor, "1"]:
        """Metres per SfM unit."""
        return self.object_model.get_buffer("obj_scale")

    @property
    def points_canonical(self) -> Float[Tensor, "point 3"]:
        """The SfM points in the unit sphere."""
        return self.object_model.get_buffer("v3d_cano")

    @property
    def normalised_from_sfm(self) -> Float[Tensor, "4 4"]:
        """SfM units to the unit sphere."""
        return self.object_model.get_buffer("norm_mat")


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint of HOLD, by name without `model.`; raises InputError as `read_state` does."""
    return read_state(path, PUBLISHED)


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], source: Path, what: str) -> None:
    """Fill a network, which errors call `what`, with a state dict of exactly its names and shapes.

    Raises InputError, before anything changes, naming what is missing, foreign or of another shape.
    """
    own = network.state_dict()
    shapes = (
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    )
    found = [
        *_listed("missing", own.keys() - state.keys()),
        *_listed("unknown", state.keys() - own.keys()),
        *_listed("of another shape", shapes),
    ]
    if found:
        raise InputError(
            f"{source}: does not fit {what}: {'; '.join(found)}. Check that the video and the sizes of "
            "hold.holdnet.network are the file's"
        )
    network.load_state_dict(dict(state), strict=True)


def _listed(what: str, names: Iterable[str]) -> list[str]:
    found = sorted(names)
    return [f"{len(found)} {what} ({listed(found, 5)})"] if found else []
