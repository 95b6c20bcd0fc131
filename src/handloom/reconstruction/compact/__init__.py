"""HOLD's mathematics on voxel grids: distances and features are looked up, not computed by deep networks."""
