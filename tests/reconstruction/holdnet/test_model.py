"""The whole of HOLD-Net, small: training reaches everything, evaluation is repeatable, bad calls are refused."""

import pytest
import torch

from handloom.hand.open_hand import open_hand
from handloom.reconstruction.hand_server import canonical_hand
from handloom.runtime.errors import InputError

from .scene import SCENE_SCALE, generator, rays, same, small_model


def test_training_reaches_networks_and_poses() -> None:
    model = small_model().train()
    with torch.no_grad():
        model.hand_node("right").params["pose"].weight.fill_(0.1)
    rendering = model(rays(), generator(), epoch=100)
    loss = rendering.composite.colour.sum() + rendering.composite.semantics.square().sum()
    loss = loss + sum(alone.mask_probability.sum() for alone in rendering.alone.values())
    loss.backward()
    # lin_pose of the object is empty by nature; frame 1 is not in the batch
    without = {name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    assert without == {f"nodes.object.rendering_network.lin_pose.{name}" for name in ("weight", "bias")}
    for name, parameter in model.named_parameters():
        if ".params." in name and "betas" not in name:
            assert parameter.grad is not None
            assert parameter.grad[[0, 2]].any(1).all()
            assert not parameter.grad[1].any()


def test_evaluation_is_repeatable_and_training_follows_its_seed() -> None:
    model = small_model().eval()
    with torch.no_grad():
        assert same(model(rays()).composite.colour, model(rays()).composite.colour)
    model.train()
    model.object_node.encoding.fully_open = True  # the counter would change the second call
    colours = [model(rays(), generator(seed)).composite.colour for seed in (1, 1, 2)]
    assert same(colours[0], colours[1])
    assert not same(colours[0], colours[2])


def test_evaluation_leaves_no_graph() -> None:
    with torch.no_grad():
        rendering = small_model().eval()(rays())
    assert not rendering.composite.colour.requires_grad
    assert not rendering.foreground.normal.requires_grad


def test_normals_are_unit_vectors_of_the_world() -> None:
    """The object's field starts near a sphere about its own centre, so its normals point away from there."""
    model = small_model().eval()
    model.object_node.encoding.fully_open = False
    batch = rays()
    with torch.no_grad():
        samples = model(batch).nodes["object"].samples
    depth = samples.depth.unflatten(0, (2, -1))
    points = batch.origins[:, None, None] + depth[..., None] * batch.directions[:, :, None]
    centre = SCENE_SCALE * model.object_node.params["transl"].weight[batch.frame]
    outward = torch.nn.functional.normalize(points - centre[:, None, None], dim=-1)
    normal = samples.normal.unflatten(0, (2, -1))
    torch.testing.assert_close(normal.norm(dim=-1), torch.ones_like(depth))
    assert ((normal * outward).sum(-1) > 0.7).float().mean() > 0.95


def test_only_training_counts_steps() -> None:
    model = small_model().eval()
    counter = model.object_node.encoding.alpha_iter
    with torch.no_grad():
        model(rays())
    assert int(counter) == 0
    model.train()
    model(rays(), generator())
    assert int(counter) == 1


def test_early_epochs_hide_the_pose_from_the_colours() -> None:
    model = small_model().train()
    model.object_node.encoding.fully_open = True
    first = [model(rays(), generator(), epoch=epoch).nodes["right"].samples.colour for epoch in (0, 20)]
    assert same(*first)  # all poses are zero
    with torch.no_grad():
        model.hand_node("right").params["pose"].weight.fill_(0.4)
    hidden, seen = (model(rays(), generator(), epoch=epoch).nodes["right"].samples for epoch in (19, 20))
    assert same(hidden.depth, seen.depth)
    assert not same(hidden.colour, seen.colour)


def test_two_hands_have_their_own_classes() -> None:
    model = small_model("right", "left").eval()
    assert list(model.nodes) == ["right", "left", "object"]
    with torch.no_grad():
        rendering = model(rays())
    classes = {name: int(node.samples.semantics[0, 0].argmax()) for name, node in rendering.nodes.items()}
    assert classes == {"right": 2, "left": 3, "object": 1}
    torch.testing.assert_close(rendering.composite.semantics.sum(1), torch.ones(8))


def test_the_canonical_hand_is_where_the_field_looks_for_it() -> None:
    """Posed vertices return to the flat hand's at rest when the learnt pose is the flat one."""
    model = small_model()
    node, hand = model.hand_node("right"), open_hand()
    with torch.no_grad():
        node.params["pose"].weight.copy_(-hand.hands_mean.expand(3, -1))
        node.params["transl"].weight.add_(torch.tensor([0.1, 0.0, -0.2]))
        placement = node.placed(torch.tensor([1]), torch.tensor([SCENE_SCALE]))
        rest = canonical_hand(hand, torch.zeros(hand.shape_count)).vertices
        world = SCENE_SCALE * (rest + torch.tensor([0.1, 0.0, -0.2]))
        torch.testing.assert_close(placement.to_canonical(world).points, rest, atol=1e-5, rtol=0)


def test_the_hand_model_survives_its_buffers() -> None:
    hand, kept = open_hand(), small_model().hand_node("right").server.hand_model()
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "faces", "hands_mean"):
        assert same(getattr(hand, name), getattr(kept, name)), name
    assert kept.tip_vertices == hand.tip_vertices


def test_a_generator_goes_with_training() -> None:
    model = small_model()
    with pytest.raises(ValueError, match="a generator goes with training"):
        model.train()(rays())
    with pytest.raises(ValueError, match="a generator goes with training"):
        model.eval()(rays(), generator())


def test_a_camera_outside_the_scene_is_refused() -> None:
    batch = rays()
    with pytest.raises(InputError, match="inside the sphere"):
        small_model().eval()(batch._replace(origins=batch.origins + 7))
