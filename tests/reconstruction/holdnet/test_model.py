"""The whole of HOLD-Net, small: training reaches everything, evaluation is repeatable, bad calls are refused."""

import pytest
import torch

from .scene import generator, rays, same, small_model


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
    model.object_node.encoding.alpha_iter.fill_(9)  # where it stops, or the second call would differ
    colours = [model(rays(), generator(seed)).composite.colour for seed in (1, 1, 2)]
    assert same(colours[0], colours[1])
    assert not same(colours[0], colours[2])


def test_evaluation_leaves_no_graph() -> None:
    with torch.no_grad():
        rendering = small_model().eval()(rays())
    assert not rendering.composite.colour.requires_grad
    assert not rendering.foreground.normal.requires_grad


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
    model.object_node.encoding.alpha_iter.fill_(9)  # where it stops
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


def test_a_generator_goes_with_training() -> None:
    model = small_model()
    with pytest.raises(ValueError, match="a generator goes with training"):
        model.train()(rays())
    with pytest.raises(ValueError, match="a generator goes with training"):
        model.eval()(rays(), generator())
