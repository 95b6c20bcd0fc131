"""Soft silhouettes: areas and slopes known in closed form, holes, hidden contours, image borders, and a mesh moved
into a mask by gradient descent."""

import math

import pytest
import torch
import trimesh
from torch import Tensor

from handloom.geometry.camera import project
from handloom.geometry.silhouettes import NEAR_M, find_outlines, mesh_edges, rasterise, soft_silhouettes

HEIGHT_PX, WIDTH_PX = 90, 120
INTRINSICS = torch.tensor([[[150.0, 0, 59.5], [0, 150, 44.5], [0, 0, 1]]])


def solid(mesh: trimesh.Trimesh, *, at: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
    vertices = torch.tensor(mesh.vertices, dtype=torch.float32) + torch.tensor(at)
    return vertices[None], torch.tensor(mesh.faces, dtype=torch.long)


def ball(*at: float, radius: float = 0.05) -> tuple[Tensor, Tensor]:
    return solid(trimesh.creation.icosphere(subdivisions=4, radius=radius), at=(at[0], at[1], at[2]))


def render(vertices: Tensor, faces: Tensor) -> Tensor:
    px = project(vertices, INTRINSICS, NEAR_M)
    in_front = vertices.detach()[..., 2] > NEAR_M
    return soft_silhouettes(px, find_outlines(px, faces, mesh_edges(faces), HEIGHT_PX, WIDTH_PX, in_front))


def test_area_of_a_ball_and_its_slope_in_depth() -> None:
    vertices, faces = ball(0, 0, 0.4)
    depth = torch.tensor(0.0, requires_grad=True)
    area = render(vertices + depth * torch.tensor([0.0, 0, 1]), faces).sum()
    area.backward()
    expected = math.pi * 150**2 * 0.05**2 / (0.4**2 - 0.05**2)
    assert area.item() == pytest.approx(expected, rel=0.01)
    assert depth.grad is not None
    assert depth.grad.item() == pytest.approx(-2 * 0.4 / (0.4**2 - 0.05**2) * expected, rel=0.06)


def test_slope_of_a_mask_error_is_that_of_finite_differences() -> None:
    vertices, faces = solid(trimesh.creation.box((0.08, 0.05, 0.06)), at=(0.013, 0.004, 0.4))
    target = render(vertices + torch.tensor([0.01, 0.006, 0]), faces).detach()

    def error(x: Tensor) -> Tensor:
        return (render(vertices + x, faces) - target).abs().sum()

    shift = torch.zeros(3, requires_grad=True)
    (slope,) = torch.autograd.grad(error(shift), shift)
    # A step of a few pixels averages over the pixel grid.
    for axis, step in ((0, 0.005), (1, 0.003)):
        move = torch.zeros(3)
        move[axis] = step
        measured = (error(move) - error(-move)) / (2 * step)
        assert slope[axis].item() == pytest.approx(measured.item(), rel=0.1)


def test_a_hole_stays_a_hole_and_contours_inside_do_not_show() -> None:
    ring, faces = solid(trimesh.creation.torus(0.05, 0.015), at=(0, 0, 0.4))
    mask = render(ring, faces)[0]
    assert mask[44, 59] < 0.01
    assert mask[44, 59 + 19] > 0.99
    # Two balls, one behind the other: the hidden outline and the one in front leave no trace inside.
    (front, faces), (back, _) = ball(0, 0, 0.3, radius=0.02), ball(0, 0, 0.5, radius=0.08)
    both = torch.cat([front, back], dim=1)
    mask = render(both, torch.cat([faces, faces + front.shape[1]]))[0]
    alone = render(back, faces)[0]
    assert (mask - alone).abs().max() < 1e-4


def test_the_image_s_border_is_no_outline() -> None:
    vertices, faces = ball(0.16, 0, 0.4)
    mask = render(vertices, faces)[0]
    assert mask[44, -1] > 0.99
    outside, _ = ball(2.0, 0, 0.4)
    behind, _ = ball(0, 0, -0.4)
    assert render(outside, faces).sum() == 0
    assert render(behind, faces).sum() == 0


def test_an_open_mesh_has_an_outline_at_its_border() -> None:
    vertices = torch.tensor([[[-0.1, -0.05, 0.5], [0.1, -0.05, 0.5], [0.1, 0.05, 0.5], [-0.1, 0.05, 0.5]]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    mask = render(vertices, faces)
    assert mask.sum().item() == pytest.approx(60 * 30, rel=0.02)
    assert mask[0, 44, 59] == 1  # the diagonal is no outline


def test_frames_of_a_batch_do_not_meet() -> None:
    first, faces = ball(-0.05, 0.02, 0.4)
    second, _ = ball(0.06, -0.03, 0.6)
    together = render(torch.cat([first, second]), faces)
    torch.testing.assert_close(together, torch.cat([render(first, faces), render(second, faces)]), atol=2e-3, rtol=0)


def test_raster_agrees_with_pixel_by_pixel_tests() -> None:
    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(1, 30, 2, generator=generator) * torch.tensor([40.0, 30.0]) - 5
    faces = torch.arange(30).view(-1, 3)
    found = rasterise(corners, faces, torch.ones(1, 10, dtype=torch.bool), 20, 30)[0]
    row, column = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    pixel = torch.stack([column, row], -1)[:, :, None]
    a, b, c = (corners[0, faces[:, corner]] for corner in range(3))

    def side(p: Tensor, q: Tensor) -> Tensor:
        return (q - p)[:, 0] * (pixel - p)[..., 1] - (q - p)[:, 1] * (pixel - p)[..., 0]

    sides = torch.stack([side(a, b), side(b, c), side(c, a)])
    expected = ((sides >= 0).all(0) | (sides <= 0).all(0)).any(-1)
    assert torch.equal(found, expected)


def test_descent_moves_and_turns_a_mesh_into_a_mask() -> None:
    vertices, faces = solid(trimesh.creation.box((0.10, 0.04, 0.05)), at=(0, 0, 0))
    edges = mesh_edges(faces)
    place = torch.tensor([0.0, 0.0, 0.45])

    def placed(angle: Tensor, shift: Tensor) -> Tensor:
        cosine, sine, zero, one = angle.cos(), angle.sin(), torch.zeros(()), torch.ones(())
        turn = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one]).view(3, 3)
        return vertices @ turn.mT + place + shift

    target = render(placed(torch.tensor(0.5), torch.tensor([0.03, -0.02, 0.05])), faces).detach()
    angle = torch.tensor(0.2, requires_grad=True)
    shift = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.Adam([angle, shift], lr=4e-3)
    outlines, before = None, None
    found_again = 0
    for _ in range(150):
        px = project(placed(angle, shift), INTRINSICS)
        if outlines is None or outlines.moved_px(px) > 1.5:
            outlines = find_outlines(px, faces, edges, HEIGHT_PX, WIDTH_PX)
            found_again += 1
        loss = (soft_silhouettes(px, outlines) - target).abs().mean()
        before = before if before is not None else loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert before is not None
    assert loss.item() < 0.1 * before
    assert angle.item() == pytest.approx(0.5, abs=0.03)
    torch.testing.assert_close(shift.detach()[:2], torch.tensor([0.03, -0.02]), atol=2e-3, rtol=0)
    assert shift[2].item() == pytest.approx(0.05, abs=0.01)
    assert found_again < 100  # most steps use an outline found before
