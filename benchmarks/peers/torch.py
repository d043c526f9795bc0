"""Eager PyTorch as its own guide writes it: modules, an optimizer, and a loop over batches of tensors in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.machine import cpu_count
from benchmarks.workloads import CNN, Workload


def cnn(model: CNN, weights: dict[str, dict[str, np.ndarray]]) -> nn.Sequential:
    """The course's CNN, channels first, with the workload's weights brought into that order."""
    pooled = (model.side - 2) // 2
    network = nn.Sequential(
        nn.Conv2d(1, model.filters, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(model.filters * pooled * pooled, model.hidden),
        nn.ReLU(),
        nn.Linear(model.hidden, model.classes),
    )
    flat = weights["dense"]["kernel"].reshape(pooled, pooled, model.filters, model.hidden)
    kernels = {
        "0": weights["conv"]["kernel"].transpose(3, 2, 0, 1),
        "4": flat.transpose(3, 2, 0, 1).reshape(model.hidden, -1),
        "6": weights["dense_1"]["kernel"].T,
    }
    biases = {"0": "conv", "4": "dense", "6": "dense_1"}
    tensors = {f"{at}.weight": torch.tensor(kernel.copy()) for at, kernel in kernels.items()}
    tensors |= {f"{at}.bias": torch.tensor(weights[name]["bias"]) for at, name in biases.items()}
    network.load_state_dict(tensors)
    return network


def images_first(data: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with channels first, and labels in the integers that torch wants."""
    x = torch.tensor(np.ascontiguousarray(data["x"].transpose(0, 3, 1, 2)))
    return x, torch.tensor(data["y"], dtype=torch.int64)


MODELS: dict[type, Callable[[Any, dict[str, Any]], nn.Module]] = {CNN: cnn}


class Session:
    """See :class:`benchmarks.peers.Session`."""

    device = "cpu"

    def __init__(self, workload: Workload):
        self.threads = cpu_count()
        torch.set_num_threads(self.threads)
        self.workload = workload
        self.x, self.y = images_first(workload.data())

    def _start(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The network with the workload's weights, and its optimizer."""
        model = self.workload.network
        network = MODELS[type(model)](model, self.workload.weights())
        return network, torch.optim.Adam(network.parameters(), lr=model.learning_rate)

    def _batches(self, network: nn.Module, optimizer: torch.optim.Optimizer, order: np.ndarray) -> list[float]:
        """Train on one batch for each row of ``order``; the loss of each."""
        loss_fn = nn.CrossEntropyLoss()
        losses = []
        for rows in torch.tensor(order, dtype=torch.int64):
            loss = loss_fn(network(self.x[rows]), self.y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    def losses(self, steps: int) -> list[float]:
        return self._batches(*self._start(), self.workload.order(0)[:steps])

    def train(self, epochs: int, done: Callable[[float], None]) -> None:
        network, optimizer = self._start()
        for epoch in range(epochs):
            losses = self._batches(network, optimizer, self.workload.order(epoch))
            done(sum(losses) / len(losses))

    def program(self) -> None:
        return None
