"""Cameras, rotations, surfaces and what lies near them, without any knowledge of hands."""
