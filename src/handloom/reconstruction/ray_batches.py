"""Which frames and pixels a training step of HOLD sees (facts/hold.md 2.6)."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from handloom.reconstruction.cameras import LEFT, OBJECT, RIGHT, classes_of_labels
from handloom.runtime.errors import InputError

_WHOLE_SHARE, _HAND_SHARE = 0.1, 0.45


def frame_pairs(
    frames: int, *, items: int = 2000, batch: int = 5, offset: int = 1, generator: torch.Generator
) -> Iterator[Int[Tensor, " image"]]:
    """Frame numbers of one epoch's steps: `batch` pairs (i, i + offset) each, (i, i + offset, j, j + offset, ...).

    Every pair comes once before one comes again. Raises InputError when there are too few frames for a pair.
    """
    pairs = frames - offset
    if pairs < 1:
        raise InputError(
            f"sequence: has {frames} frames, expected more than {offset} to form pairs; give a longer video"
        )
    rounds = -(-items // pairs)
    first = torch.cat([torch.randperm(pairs, generator=generator) for _ in range(rounds)])[:items]
    for chosen in first.split(batch):
        yield torch.stack([chosen, chosen + offset], dim=1).flatten()


def sample_pixels(
    masks: Float[Tensor, "image height width"], count: int = 128, *, generator: torch.Generator
) -> Float[Tensor, "image {count} 2"]:
    """Real-valued pixels (x, y): 45 % in the hand's box, 10 % anywhere, the rest in the object's box.

    For 128 rays these are 58, 13 and 57. Two hands take half of the hands' share each. The share of an entity that is
    absent from an image goes to the others, and to the whole image when there is none. The generator is the CPU's.
    """
    classes = classes_of_labels(masks)
    height, width = masks.shape[1:]
    present, boxes = _boxes(torch.stack([classes == entity for entity in (OBJECT, RIGHT, LEFT)], dim=1))
    whole = torch.tensor([0.0, 0.0, width - 1.0, height - 1.0]).expand(len(masks), 1, 4)
    boxes = torch.cat([boxes.cpu(), whole], dim=1)

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


def _boxes(regions: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each region (image, entity, height, width) has pixels, and its box x0, y0, x1, y1."""
    columns, rows = regions.any(2), regions.any(3)
    ends = []
    for line in (columns, rows):
        last = line.shape[2] - 1 - line.flip(2).int().argmax(2)
        ends.append((line.int().argmax(2), last))
    (x0, x1), (y0, y1) = ends
    return columns.any(2), torch.stack([x0, y0, x1, y1], dim=2).float()
