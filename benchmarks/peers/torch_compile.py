"""PyTorch compiled: as :mod:`benchmarks.peers.torch`, the network through ``torch.compile``.

On a GPU with ``mode="reduce-overhead"``, CUDA graphs, which its guide advises for small steps.
"""

import torch
from torch import nn

from benchmarks.machine import platform
from benchmarks.peers import torch as eager
from benchmarks.peers.torch import MODELS

__all__ = ["MODELS", "Session"]


class Session(eager.Session):
    """See :class:`benchmarks.peers.Session`."""

    def prepared(self, network: nn.Module) -> nn.Module:
        compiled: nn.Module = torch.compile(network, mode="reduce-overhead" if platform() == "gpu" else None)
        return compiled
