"""What is trained: models by their sizes, their data and initial weights; in NumPy, so that all peers get the same."""

from dataclasses import dataclass
from typing import Any

import numpy as np

SEED = 0


def glorot_uniform(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """``U(−a, a)``, ``a = √(6 / (fan_in + fan_out))``, for a kernel ``(*window, in, out)``."""
    window = int(np.prod(shape[:-2]))
    limit = np.sqrt(6 / (window * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


@dataclass(frozen=True)
class CNN:
    """Convolution 3×3 + ReLU, max pool 2, dense + ReLU, dense; cross entropy from integer labels; Adam.

    Weights are named and shaped as everyone with channels last has them: kernels ``(3, 3, in, out)`` and ``(in, out)``.
    """

    side: int = 28
    filters: int = 32
    hidden: int = 128
    classes: int = 10
    learning_rate: float = 1e-3

    def data(self, rng: np.random.Generator, examples: int) -> dict[str, np.ndarray]:
        """``x: (examples, side, side, 1)`` float32 in 256 shades from 0 to 1, ``y: (examples,)`` int32."""
        shades = rng.integers(0, 256, (examples, self.side, self.side, 1), np.uint8)
        return {
            "x": shades.astype(np.float32) / 255,
            "y": rng.integers(0, self.classes, examples, np.int32),
        }

    def weights(self, rng: np.random.Generator) -> dict[str, dict[str, np.ndarray]]:
        """Glorot uniform kernels, zero biases."""
        flat = ((self.side - 2) // 2) ** 2 * self.filters
        shapes = {
            "conv": (3, 3, 1, self.filters),
            "dense": (flat, self.hidden),
            "dense_1": (self.hidden, self.classes),
        }
        return {
            name: {"kernel": glorot_uniform(rng, *shape), "bias": np.zeros(shape[-1], np.float32)}
            for name, shape in shapes.items()
        }


@dataclass(frozen=True)
class Workload:
    """A model and how it is trained: shuffled epochs of whole batches, from fixed weights."""

    name: str
    about: str
    model: CNN
    batch: int
    examples: int = 7680

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.examples // self.batch

    def data(self) -> dict[str, np.ndarray]:
        """The examples, the same on every call."""
        return self.model.data(np.random.default_rng(SEED), self.examples)

    def weights(self) -> dict[str, Any]:
        """The initial weights, the same on every call."""
        return self.model.weights(np.random.default_rng(SEED + 1))

    def order(self, epoch: int) -> np.ndarray:
        """The examples of each step of an epoch, ``(steps, batch)`` int32: the order in which jaxdl takes them too."""
        rng = np.random.Generator(np.random.Philox(key=np.array([SEED, epoch], np.uint64)))
        return rng.permutation(self.examples).astype(np.int32)[: self.steps * self.batch].reshape(-1, self.batch)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("cnn", "the course's MNIST CNN, batch 32", CNN(), 32),
        Workload("cnn256", "the course's MNIST CNN, batch 256", CNN(), 256),
    )
}
