"""Parity with PyTorch: these tests need it, and run as ``pytest tests/parity``."""

import jax
import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(True):
        yield request.param
