"""Masks of the held object and the hands: from files, from a prompt by propagation, or by SAM 2."""
