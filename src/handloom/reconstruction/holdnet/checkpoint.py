"""Checkpoints of the released HOLD code: Lightning files, read without running anything of theirs (facts 2.6)."""

import argparse
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.joints import MANO_FINGERTIPS_SMPLX, Side
from handloom.hand.mano import HandModel
from handloom.reconstruction.holdnet.model import HoldNet
from handloom.reconstruction.holdnet.servers import ObjectModel
from handloom.runtime.config.holdnet import HoldNetSettings
from handloom.runtime.errors import InputError

_PREFIX = "model."
_SIDES: tuple[Side, ...] = ("right", "left")
_LISTED = 5


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint of HOLD, by name without the leading `model.`.

    Raises InputError when the file is missing, is no checkpoint, or holds anything but tensors and plain values.
    """
    path = Path(path)
    try:
        # Lightning may store the command line, a container of plain values
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; give a checkpoint of HOLD (last.ckpt)") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: no checkpoint of tensors and plain values ({reason}); fetch it again") from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{path}: has no `state_dict`; a checkpoint of HOLD (PyTorch Lightning) is expected")
    tensors = {
        str(name).removeprefix(_PREFIX): value
        for name, value in state.items()
        if str(name).startswith(_PREFIX) and isinstance(value, Tensor)
    }
    if not tensors:
        raise InputError(f"{path}: none of its {len(state)} entries begins with `{_PREFIX}`, as those of HOLD do")
    return tensors


def load_strictly(model: HoldNet, state: Mapping[str, Tensor], source: str) -> None:
    """Fill the model with a state dict whose names and shapes must be exactly the model's.

    Raises InputError, before anything changes, naming what is missing, foreign or of another shape.
    """
    own = model.state_dict()
    complaints = [
        _listed("missing", own.keys() - state.keys()),
        _listed("unknown", state.keys() - own.keys()),
        _listed(
            "of another shape",
            (
                f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
                for name in own.keys() & state.keys()
                if state[name].shape != own[name].shape
            ),
        ),
    ]
    found = [complaint for complaint in complaints if complaint]
    if found:
        raise InputError(
            f"{source}: does not fit HOLD-Net of {model.frames} frames with {', '.join(model.nodes)}: "
            f"{'; '.join(found)}. Check that the video and the sizes of the configuration are the checkpoint's"
        )
    model.load_state_dict(dict(state), strict=True)


def model_from_checkpoint(
    path: Path,
    settings: HoldNetSettings | None = None,
    hand_shapes: Mapping[Side, Float[Tensor, " shape"]] | None = None,
) -> HoldNet:
    """HOLD-Net as a released checkpoint holds it, in evaluation mode; it brings its own hand model and object points.

    `hand_shapes` are the build folder's shapes, which canonical space is made with; a checkpoint holds only the learnt
    ones, which are taken when none are given. Raises InputError as `read_checkpoint` and `load_strictly` do.
    """
    state = read_checkpoint(path)
    sides = [side for side in _SIDES if f"nodes.{side}.params.betas.weight" in state]
    try:
        frames = len(state["background.frame_latent_encoder.weight"])
        points = state["nodes.object.server.object_model.v3d_cano"]
        hands = {side: _blank_hand(state, side) for side in sides}
    except KeyError as error:
        raise InputError(f"{path}: has no entry {error}, which a checkpoint of HOLD has") from error
    learnt: dict[Side, Tensor] = {side: state[f"nodes.{side}.params.betas.weight"][0] for side in sides}
    blank = ObjectModel(object_scale=1.0, points_canonical=points, normalised_from_sfm=torch.eye(4))
    model = HoldNet(
        settings or HoldNetSettings(),
        hands=hands,
        hand_shapes={**learnt, **(hand_shapes or {})},
        object_model=blank,
        frames=frames,
    )
    load_strictly(model, state, str(path))
    return model.eval()


def load_poses(model: HoldNet, state: Mapping[str, Tensor]) -> None:
    """What phase 3 takes from phase 2: the learnt poses and the object's scale, nothing else (facts 0).

    Raises InputError when one of them is missing or of another shape.
    """
    wanted = [name for name in model.state_dict() if ".params." in name or name.endswith("object_model.obj_scale")]
    _load_part(model, state, wanted)


def load_hand_shape(model: HoldNet, state: Mapping[str, Tensor]) -> None:
    """Take the hands' shape networks from a checkpoint of a hand prior (facts 2.1).

    Raises InputError when one of them is missing or of another shape.
    """
    wanted = [
        name
        for name in model.state_dict()
        if any(name.startswith(f"nodes.{side}.implicit_network.") for side in _SIDES)
    ]
    _load_part(model, state, wanted)


def _load_part(model: HoldNet, state: Mapping[str, Tensor], wanted: list[str]) -> None:
    own = model.state_dict()
    bad = [name for name in wanted if name not in state or state[name].shape != own[name].shape]
    if bad:
        raise InputError(f"a state of HOLD-Net does not fit: {_listed('missing or of another shape', bad)}")
    model.load_state_dict({**own, **{name: state[name] for name in wanted}})


def _blank_hand(state: Mapping[str, Tensor], side: Side) -> HandModel:
    """A hand of the checkpoint's sizes, to be filled from it."""
    layer = f"nodes.{side}.server.human_layer."
    posedirs = state[layer + "posedirs"]
    return HandModel(
        v_template=state[layer + "v_template"],
        shapedirs=state[layer + "shapedirs"],
        posedirs=posedirs.T.unflatten(0, (-1, 3)),
        J_regressor=state[layer + "J_regressor"],
        weights=state[layer + "lbs_weights"],
        faces=state[layer + "faces_tensor"],
        hands_mean=state[layer + "hand_mean"],
        hands_components=torch.eye(45),
        tip_vertices=MANO_FINGERTIPS_SMPLX,
        side=side,
    )


def _listed(what: str, names: Iterable[str]) -> str:
    found = sorted(names)
    shown = ", ".join(found[:_LISTED]) + (", ..." if len(found) > _LISTED else "")
    return f"{len(found)} {what} ({shown})" if found else ""
