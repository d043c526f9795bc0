"""Eager PyTorch as its own guides write it: modules, an optimizer, and a loop over batches of tensors in memory.

As its performance tuning guide advises: channels last for images, gradients set to None, one fused Adam, scaled dot
product attention, no gradient recorded where none is wanted, and no value read from the device within an epoch.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.machine import cpu_count, dtype, platform
from benchmarks.peers.torch.networks import MODELS
from benchmarks.peers.torch.weights import load
from benchmarks.workloads import SEED, Autoencoder, Workload

__all__ = ["MODELS", "Session"]

Step = Callable[[Tensor, Tensor], Tensor]


def tensor(values: np.ndarray, at: torch.device) -> Tensor:
    """On the device, integers as PyTorch wants them."""
    return torch.from_numpy(values).to(at, torch.int64 if values.dtype.kind == "i" else None)


class Session:
    """See :class:`benchmarks.peers.Session`."""

    def __init__(self, workload: Workload):
        self.processors = cpu_count()
        torch.set_num_threads(self.processors)
        self.at = torch.device("cuda" if platform() == "gpu" else "cpu")
        if platform() == "gpu":
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.benchmark = True
        self.device = torch.cuda.get_device_name() if platform() == "gpu" else "cpu"
        self.workload = workload
        data = workload.data()
        self.given = data["x"]
        self.x, self.y = (tensor(data[name], self.at) for name in ("x", "y"))

    def network(self) -> nn.Module:
        """The network with the workload's weights."""
        network = MODELS[type(self.workload.network)](self.workload.network)
        load(network, self.workload.weights())
        return network.to(self.at, memory_format=torch.channels_last_3d if self.x.ndim == 5 else torch.channels_last)

    def prepared(self, network: nn.Module) -> nn.Module:
        """What is called in place of the network."""
        return network

    def predicted(self, network: nn.Module, x: Tensor) -> Tensor:
        """The network's answer, float32; images lie with channels last and are seen with channels first."""
        with torch.autocast(self.at.type, torch.bfloat16, enabled=dtype() == "bfloat16"):
            y: Tensor = network(x.movedim(-1, 1) if x.ndim > 3 else x)
        return y.float()

    def loss(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """The mean loss of a batch."""
        prediction = self.predicted(network, x)
        if isinstance(self.workload.network, Autoencoder):
            return F.mse_loss(prediction, y)
        if prediction.ndim == 3:  # (B, T, classes)
            return F.cross_entropy(prediction.flatten(0, 1), y.flatten())
        return F.cross_entropy(prediction, y)

    def step(self) -> Step:
        """What trains on a batch, from the workload's weights on, and gives its loss."""
        torch.manual_seed(SEED)  # of dropout
        network = self.network()
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=self.workload.network.learning_rate, fused=True)
        prepared = self.prepared(network)

        def step(x: Tensor, y: Tensor) -> Tensor:
            optimizer.zero_grad(set_to_none=True)
            loss = self.loss(prepared, x, y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    def epoch(self, step: Step, order: np.ndarray) -> list[float]:
        """Train on one batch for each row of ``order``; the loss of each."""
        batches = tensor(order, self.at)
        losses = [step(self.x.index_select(0, rows), self.y.index_select(0, rows)) for rows in batches]
        return torch.stack(losses).tolist()

    def losses(self, steps: int) -> list[float]:
        return self.epoch(self.step(), self.workload.order(0)[:steps])

    def train(self, epochs: int, done: Callable[[float], None]) -> None:
        step = self.step()
        for epoch in range(epochs):
            losses = self.epoch(step, self.workload.order(epoch))
            done(sum(losses) / len(losses))

    @functools.cached_property
    def forward(self) -> Callable[[np.ndarray], np.ndarray]:
        """What predicts a batch, from the workload's weights, made once."""
        prepared = self.prepared(self.network().eval())

        @torch.inference_mode()
        def forward(x: np.ndarray) -> np.ndarray:
            y = self.predicted(prepared, tensor(x, self.at))
            return (y.movedim(1, -1) if y.ndim > 3 else y).cpu().numpy()

        return forward

    def outputs(self) -> np.ndarray:
        return self.forward(self.given[: self.workload.batch])

    def predict(self, passes: int, done: Callable[[float], None]) -> None:
        size = self.workload.batch
        for _ in range(passes):
            for start in range(0, self.workload.steps * size, size):
                self.forward(self.given[start : start + size])
            done(0.0)

    def program(self) -> None:
        return None
