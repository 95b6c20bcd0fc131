"""What a checkpoint keeps beside networks and poses: the hand model's arrays, the object's scale and points.

The names and shapes are those of HOLD's checkpoints (facts 2.6), so that state dicts are exchanged as they are.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from handloom.hand.joints import Side
from handloom.hand.mano import HandModel


class FingertipSelector(nn.Module):
    """The vertices that stand for the fingertips."""

    extra_joints_idxs: Int[Tensor, "5"]

    def __init__(self, tip_vertices: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("extra_joints_idxs", torch.tensor(tip_vertices))


class HumanLayer(nn.Module):
    """The arrays of a hand model under smplx's names, and its five unused default poses."""

    faces_tensor: Int[Tensor, "face 3"]
    v_template: Float[Tensor, "vertex 3"]
    shapedirs: Float[Tensor, "vertex 3 shape"]
    J_regressor: Float[Tensor, "16 vertex"]
    posedirs: Float[Tensor, "135 coordinate"]
    parents: Int[Tensor, "16"]
    lbs_weights: Float[Tensor, "vertex 16"]
    hand_mean: Float[Tensor, "45"]
    pose_mean: Float[Tensor, "48"]

    def __init__(self, model: HandModel) -> None:
        super().__init__()
        defaults = {"betas": model.shape_count, "global_orient": 3, "body_pose": 3, "transl": 3, "hand_pose": 45}
        for name, width in defaults.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(1, width), requires_grad=False))
        arrays = {
            "faces_tensor": model.faces,
            "v_template": model.v_template,
            "shapedirs": model.shapedirs,
            "J_regressor": model.J_regressor,
            "posedirs": model.posedirs.flatten(0, 1).T,
            "parents": torch.tensor(model.parents),
            "lbs_weights": model.weights,
            "hand_mean": model.hands_mean,
            "pose_mean": nn.functional.pad(model.hands_mean, (3, 0)),
        }
        for name, array in arrays.items():
            self.register_buffer(name, array.detach().clone(memory_format=torch.contiguous_format))
        self.vertex_joint_selector = FingertipSelector(model.tip_vertices)


class HandServer(nn.Module):
    """The hand model of a node, as buffers that move and load with it."""

    def __init__(self, model: HandModel) -> None:
        super().__init__()
        self.side: Side = model.side
        self.human_layer = HumanLayer(model)

    def hand_model(self) -> HandModel:
        """The arrays as the hand model that the rest of handloom takes; nothing is copied."""
        layer = self.human_layer
        thumb, index, middle, ring, pinky = layer.vertex_joint_selector.extra_joints_idxs.tolist()
        return HandModel(
            v_template=layer.v_template,
            shapedirs=layer.shapedirs,
            posedirs=layer.posedirs.T.unflatten(0, (-1, 3)),
            J_regressor=layer.J_regressor,
            weights=layer.lbs_weights,
            faces=layer.faces_tensor,
            hands_mean=layer.hand_mean,
            hands_components=torch.eye(45, device=layer.hand_mean.device),
            tip_vertices=(thumb, index, middle, ring, pinky),
            side=self.side,
        )


class ObjectModel(nn.Module):
    """The object's scale (SfM unit to metre), its SfM points in the unit sphere, and the maps between both spaces."""

    obj_scale: Float[Tensor, "1"]
    v3d_cano: Float[Tensor, "point 3"]
    norm_mat: Float[Tensor, "4 4"]
    denorm_mat: Float[Tensor, "4 4"]

    def __init__(
        self,
        *,
        object_scale: float,
        points_canonical: Float[Tensor, "point 3"],
        normalised_from_sfm: Float[Tensor, "4 4"],
    ) -> None:
        super().__init__()
        normalised_from_sfm = normalised_from_sfm.float()
        self.register_buffer("obj_scale", torch.tensor([object_scale]))
        self.register_buffer("v3d_cano", points_canonical.float().clone())
        self.register_buffer("norm_mat", normalised_from_sfm.clone())
        self.register_buffer("denorm_mat", torch.linalg.inv(normalised_from_sfm))


class ObjectServer(nn.Module):
    """The level of names between a node and its object model."""

    def __init__(self, object_model: ObjectModel) -> None:
        super().__init__()
        self.object_model = object_model
