"""PyTorch compiled: as :mod:`benchmarks.peers.torch`, the network through ``torch.compile``."""

import torch
from torch import nn

from benchmarks.peers import torch as eager
from benchmarks.peers.torch import MODELS

__all__ = ["MODELS", "Session"]


class Session(eager.Session):
    """See :class:`benchmarks.peers.Session`."""

    def prepared(self, network: nn.Module) -> nn.Module:
        compiled: nn.Module = torch.compile(network)
        return compiled
