"""HandOccNet: pose and shape of a MANO hand that an object may hide (Park et al., CVPR 2022)."""
