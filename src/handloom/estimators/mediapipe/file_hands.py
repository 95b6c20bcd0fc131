"""Hands from files in a view of a camera pair, in the squares that MediaPipe learns from."""

from handloom.estimators.files.hands import hands_of_files
from handloom.estimators.mediapipe.regions import squares_about_keypoints

find_hands = hands_of_files(squares_about_keypoints)
