"""The hand: joint orders, the MANO-format model and its skinning, the embedded open hand and plausible poses."""
