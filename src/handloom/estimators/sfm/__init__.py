"""Poses and sparse shape of the held object by structure from motion before a static camera.

Only the object's pixels give features, so its motion looks like that of a camera: COLMAP's camera-from-world is
camera-from-object. No module here but the backends imports pycolmap, and those run in a process of their own (job.py).
"""
