import torch
def angles_of_prior(g, n):
    return torch.randn(n,15,3,generator=g)*.1
