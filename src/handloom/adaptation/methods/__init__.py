"""The adaptation methods that S2DHand is compared with, one file each, on S2DHand's loop."""
