"""Parity with PyTorch: these tests need it, and run as ``pytest tests/parity``."""

import torch

torch.set_num_threads(1)
