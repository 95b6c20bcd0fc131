"""Rotations, rotation averaging over a camera graph."""
