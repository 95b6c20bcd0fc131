"""S2DHand (Liu et al., CVPR 2024) and other methods that adapt a hand pose network to an uncalibrated camera pair."""
