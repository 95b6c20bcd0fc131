"""METRO's hand network: the mesh of a MANO hand from one image (Lin et al., CVPR 2021)."""
