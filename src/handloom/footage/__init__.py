"""S2DHand on a user's own pair of cameras: hands of each view, pairing, adaptation, fused poses."""
