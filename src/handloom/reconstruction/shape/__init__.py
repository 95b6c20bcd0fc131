"""The shape of the object before any training: hull of masks, stereo between frames, both fused."""
