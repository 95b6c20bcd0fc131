"""The hand's tensors are small: one thread is fastest, and leaves the other cores alone."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)
