"""HOLD: reconstruct a hand and the object it holds from one video."""
