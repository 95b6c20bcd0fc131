"""What the fields are held to in canonical space: the hand model's surface, and rays that pass by it (facts 2.5)."""

import torch
import trimesh
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.reconstruction.sealed_hand import WristCap
from handloom.reconstruction.signed_distance import MeshDistance

SURFACE_POINTS, SPACE_POINTS = 256, 51
HAND_NOISE_M, OBJECT_NOISE = 0.008, 0.03
HAND_HALF_EXTENT_M = (0.15, 0.06, 0.12)
HAND_OFF_SURFACE_M, OBJECT_OFF_SURFACE = 0.01, 0.05
HAND_REFRESH_STEPS, MESHING_EPOCHS = 200, 3


class CanonicalSurface:
    """A closed canonical mesh with its distances: metres for the hand, the unit sphere's unit for the object."""

    def __init__(self, vertices: Float[Tensor, "vertex 3"], faces: Int[Tensor, "face 3"]) -> None:
        self.vertices = vertices.detach()
        self.faces = faces
        self.distance = MeshDistance(vertices, faces)

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "{count} 3"]:
        """Points spread evenly over the surface's area."""
        corners = self.vertices[self.faces]
        areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
        face = torch.multinomial(areas.float().cpu(), count, replacement=True, generator=generator)
        first, second = torch.rand(2, count, 1, generator=generator).to(corners)
        first = first.sqrt()
        weights = torch.stack([1 - first, first * (1 - second), first * second], dim=1)
        return (weights * corners[face]).sum(1)


def hand_surface(corrected_rest_m: Float[Tensor, "vertex 3"], cap: WristCap) -> CanonicalSurface:
    """The hand at rest with its pose's correctives, sealed at the wrist and smoothed by one Loop subdivision.

    Loop, "Smooth Subdivision Surfaces Based on Triangles", 1987; facts/hold.md 2.5, golden c07.
    """
    sealed = cap.sealed(corrected_rest_m.detach()).double().cpu().numpy()
    vertices, faces = trimesh.remesh.subdivide_loop(sealed, cap.faces.cpu().numpy(), iterations=1)
    return CanonicalSurface(
        torch.from_numpy(vertices).to(corrected_rest_m), torch.from_numpy(faces).to(corrected_rest_m.device).long()
    )


def hand_shape_points(
    surface: CanonicalSurface, images: int, generator: torch.Generator
) -> Float[Tensor, "{images} point 3"]:
    """Per image 256 surface points moved by N(0, 8 mm) and 51 uniform ones in the hand's box, metres."""
    on_surface = surface.sample(images * SURFACE_POINTS, generator).unflatten(0, (images, SURFACE_POINTS))
    return near_and_around(on_surface, HAND_NOISE_M, HAND_HALF_EXTENT_M, generator)


def eikonal_points(
    vertices: Float[Tensor, "vertex 3"],
    images: int,
    *,
    noise: float,
    half_extent: tuple[float, float, float],
    generator: torch.Generator,
) -> Float[Tensor, "{images} point 3"]:
    """Per image 256 random vertices moved by N(0, noise) and 51 uniform points of a box about the origin."""
    chosen = torch.randint(len(vertices), (images, SURFACE_POINTS), generator=generator)
    return near_and_around(vertices.detach()[chosen.to(vertices.device)], noise, half_extent, generator)


def near_and_around(
    points: Float[Tensor, "image near 3"],
    noise: float,
    half_extent: tuple[float, float, float],
    generator: torch.Generator,
) -> Float[Tensor, "image point 3"]:
    """Points with normal noise, then 51 uniform ones in +-half_extent; the generator is the CPU's."""
    moved = points + noise * torch.randn(points.shape, generator=generator).to(points)
    extent = torch.tensor(half_extent).to(points)
    uniform = 2 * torch.rand(len(points), SPACE_POINTS, 3, generator=generator).to(points) - 1
    return torch.cat([moved, extent * uniform], dim=1)


def rays_off_surface(
    surface: CanonicalSurface, samples_canonical: Float[Tensor, "ray sample 3"], threshold: float
) -> Bool[Tensor, " ray"]:
    """Rays whose samples all stay farther than `threshold` outside the surface."""
    return surface.distance.farther_than(samples_canonical, threshold).all(1)


def hand_target_is_due(step: int, every: int = HAND_REFRESH_STEPS) -> bool:
    """The hand's surface is made at step 200 and again every 200 steps."""
    return step > 0 and step % every == 0


def object_meshing_is_due(epoch: int, every: int = MESHING_EPOCHS) -> bool:
    """The object is meshed at the end of epochs 3, 6, 9, ... (counted from 0); its loss starts then."""
    return epoch > 0 and epoch % every == 0
