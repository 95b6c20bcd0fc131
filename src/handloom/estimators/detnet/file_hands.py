"""Hands from files in a view of a camera pair, in the squares that DetNet learns from."""

from handloom.estimators.files.hands import about_box, hands_of_files

find_hands = hands_of_files(about_box)
