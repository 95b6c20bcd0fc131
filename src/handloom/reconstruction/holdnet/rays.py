"""The rays of a training step: which frames and pixels, what these show, and how rays run to the scene's sphere.

Pixels (x, y) need not be whole; whole coordinates are pixel centres.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import grid_sample

from handloom.reconstruction.observations import region_boxes
from handloom.reconstruction.scene_placement import BOUNDING_SPHERE
from handloom.runtime.errors import InputError

BACKGROUND, OBJECT, RIGHT, LEFT = range(4)
"""Classes of pixels, in the order of `MASK_LABELS`."""
LABEL_THRESHOLDS = (25, 100, 200)
"""Between the labels 0, 50, 150 and 250: those of HOLD's code/src/datasets."""
PAIR_OFFSET = 1
"""Frames between the two of a pair: `--offset` of HOLD's code/src/utils/parser.py."""
_WHOLE_SHARE, _HAND_SHARE = 0.1, 0.45  # HOLD's code/src/datasets/utils.py: weighted_sampling; the object has the rest


def frame_pairs(frames: int, *, items: int, batch: int, generator: torch.Generator) -> Iterator[Int[Tensor, " image"]]:
    """Frame numbers of one epoch's steps: `batch` pairs of neighbours each, (i, i + 1, j, j + 1, ...).

    Every pair comes once before one comes again.
    """
    pairs = frames - PAIR_OFFSET
    rounds = -(-items // pairs)
    first = torch.cat([torch.randperm(pairs, generator=generator) for _ in range(rounds)])[:items]
    for chosen in first.split(batch):
        yield torch.stack([chosen, chosen + PAIR_OFFSET], dim=1).flatten()


def sample_pixels(
    masks: Float[Tensor, "image height width"], count: int, *, generator: torch.Generator
) -> Float[Tensor, "image {count} 2"]:
    """Real-valued pixels (x, y): 45 % in the hand's box, 10 % anywhere, the rest in the object's box.

    For 128 rays these are 58, 13 and 57. Two hands take half of the hands' share each. The share of an entity that is
    absent from an image goes to the others, and to the whole image when there is none. The generator is the CPU's.
    """
    classes = classes_of_labels(masks)
    height, width = masks.shape[1:]
    present, boxes = region_boxes(torch.stack([classes == entity for entity in (OBJECT, RIGHT, LEFT)], dim=1))
    whole = torch.tensor([0.0, 0.0, width - 1.0, height - 1.0]).expand(len(masks), 1, 4)
    boxes = torch.cat([boxes.float().cpu(), whole], dim=1)

    thing, right, left = present.cpu().unbind(1)
    anywhere = torch.full((len(masks),), 3)
    first_hand, second_hand = torch.where(right, 1, 2), torch.where(left, 2, 1)
    of_thing = torch.where(thing, 0, torch.where(right | left, first_hand, anywhere))
    other_hand = torch.where(thing, 0, torch.where(right | left, second_hand, anywhere))
    no_hand = torch.where(thing, 0, anywhere)
    hands = [torch.where(right | left, hand, no_hand) for hand in (first_hand, second_hand)]

    whole_count, hand_count = round(_WHOLE_SHARE * count), round(_HAND_SHARE * count)
    thing_count = count - whole_count - hand_count
    # Without the object its share, too, is halved between two hands.
    halves = [(thing_count + 1) // 2, thing_count // 2, (hand_count + 1) // 2, hand_count // 2, whole_count]
    entity = torch.repeat_interleave(
        torch.stack([of_thing, other_hand, *hands, anywhere], dim=1), torch.tensor(halves), dim=1
    )
    chosen = boxes.gather(1, entity[..., None].expand(-1, -1, 4))
    share = torch.rand(len(masks), count, 2, generator=generator)
    return (chosen[..., :2] + share * (chosen[..., 2:] - chosen[..., :2])).to(masks.device)


def rays_through_pixels(
    uv_px: Float[Tensor, "image ray 2"],
    intrinsics: Float[Tensor, "image size size"],
    world_from_cam: Float[Tensor, "image 4 4"],
) -> tuple[Float[Tensor, "image 3"], Float[Tensor, "image ray 3"]]:
    """Camera centres and unit directions, in the world, of the rays through pixels (x, y).

    d = normalise(R ((u - c_x - k (v - c_y) / f_y) / f_x, (v - c_y) / f_y, 1)) with the skew k; a pixel's centre has
    whole coordinates.
    """
    focal_x, skew, centre_x = (intrinsics[:, 0, column, None] for column in range(3))
    focal_y, centre_y = intrinsics[:, 1, 1, None], intrinsics[:, 1, 2, None]
    down = (uv_px[..., 1] - centre_y) / focal_y
    right = (uv_px[..., 0] - centre_x - skew * down) / focal_x
    in_cam = torch.stack([right, down, torch.ones_like(down)], dim=-1)
    directions = in_cam @ world_from_cam[:, :3, :3].mT
    return world_from_cam[:, :3, 3], functional.normalize(directions, dim=-1)


def sphere_exit(origins: Float[Tensor, "*ray 3"], directions: Float[Tensor, "*ray 3"]) -> Float[Tensor, "*ray"]:
    """Distance from a point inside the scene's sphere to the sphere, along unit directions, in the scaled world.

    z = -o.d + sqrt((o.d)^2 - |o|^2 + R^2). Raises InputError when an origin is outside the sphere, where HOLD's scene
    is not defined.
    """
    along = (origins * directions).sum(-1)
    distance = origins.norm(dim=-1)
    under_root = along.square() - (distance.square() - BOUNDING_SPHERE**2)
    if bool((distance >= BOUNDING_SPHERE).any()):
        farthest = float(distance.detach().max())
        raise InputError(
            f"a camera is {farthest:.2f} from the scene's centre, but must be inside the sphere of radius "
            f"{BOUNDING_SPHERE}; check the scene's scale and shift in the build folder"
        )
    return under_root.sqrt() - along


def sample_bilinear(
    images: Float[Tensor, "image height width channel"], uv_px: Float[Tensor, "image pixel 2"]
) -> Float[Tensor, "image pixel channel"]:
    """Bilinear values at real pixels (x, y), those beyond the border taken from it."""
    height, width = images.shape[1:3]
    size = torch.tensor([max(width - 1, 1), max(height - 1, 1)], dtype=images.dtype, device=images.device)
    unit = 2 * uv_px.to(images.dtype) / size - 1
    values = grid_sample(
        images.permute(0, 3, 1, 2), unit[:, None], mode="bilinear", padding_mode="border", align_corners=True
    )
    return values[:, :, 0].mT


def classes_of_labels(labels: Float[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """Class of (interpolated) mask labels: background < 25 <= object < 100 <= right < 200 <= left.

    A label between two others that both differ from it, as between background and hand, counts as what it comes near
    to: this is HOLD's rule, and may call a hand's edge object.
    """
    bounds = torch.tensor(LABEL_THRESHOLDS, dtype=labels.dtype, device=labels.device)
    return torch.bucketize(labels, bounds, right=True)


def sample_classes(
    masks: Float[Tensor, "image height width"], uv_px: Float[Tensor, "image pixel 2"]
) -> Int[Tensor, "image pixel"]:
    """Class at real pixels: labels interpolated, then thresholded.

    HOLD cuts them to whole numbers between the two, which changes no class, the thresholds being whole.
    """
    labels = sample_bilinear(masks[..., None].double(), uv_px)[..., 0]
    return classes_of_labels(labels)


def sample_classes_nearest(
    masks: Float[Tensor, "image height width"], uv_px: Float[Tensor, "image pixel 2"]
) -> Int[Tensor, "image pixel"]:
    """Class of the nearest pixel: the `fixed` rule, where no edge turns into another entity."""
    height, width = masks.shape[1:]
    column = uv_px[..., 0].round().long().clamp(0, width - 1)
    row = uv_px[..., 1].round().long().clamp(0, height - 1)
    image = torch.arange(len(masks), device=masks.device)[:, None]
    return classes_of_labels(masks[image, row, column])
