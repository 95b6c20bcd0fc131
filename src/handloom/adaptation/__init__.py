"""S2DHand: adapting a single-view hand pose network to an uncalibrated camera pair (facts/s2dhand.md 3)."""
