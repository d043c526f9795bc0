"""What the peers on JAX share that dispatch one program a step from a loop in Python."""

import abc
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.machine import cpu_count, dtype, platform
from benchmarks.workloads import Autoencoder, Workload

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

Given = tuple[jax.Array, jax.Array, np.ndarray]
"""All examples ``x`` and ``y``, which stay where they are, and the rows of a batch."""

Step = Callable[[Given, Any], tuple[Any, jax.Array]]
"""What trains on a batch: what goes from step to step is donated, and comes back with the loss."""


def choose_device() -> None:
    """Have JAX compute on the platform that is measured."""
    if jax.default_backend() != platform():
        jax.config.update("jax_default_device", jax.devices(platform())[0])


def mean_loss(workload: Workload, prediction: jax.Array, y: jax.Array) -> jax.Array:
    """The mean loss of a batch, float32."""
    prediction = prediction.astype(jnp.float32)
    if isinstance(workload.network, Autoencoder):
        return optax.losses.squared_error(prediction, y).mean()
    return optax.losses.softmax_cross_entropy_with_integer_labels(prediction, y).mean()


class DispatchedSession(abc.ABC):
    """See :class:`benchmarks.peers.Session`: the data lie on the device, the jitted step takes its batch from them, and
    losses are read once an epoch.
    """

    step: Step
    """The jitted step from what :meth:`start` gives, made once."""

    forward: Callable[[np.ndarray], jax.Array]
    """What predicts a batch, with the workload's weights, made once."""

    def __init__(self, workload: Workload):
        choose_device()
        self.workload = workload
        self.dtype = DTYPES[dtype()]
        self.device, self.processors = jax.devices(platform())[0].device_kind, cpu_count()
        data = workload.data()
        self.x = self.arranged(data["x"])
        self.data = jnp.asarray(self.x), jnp.asarray(data["y"])

    def arranged(self, x: np.ndarray) -> np.ndarray:
        """The examples with their axes as the peer has them."""
        return x

    @abc.abstractmethod
    def begin(self) -> Any:
        """What goes from step to step, with the workload's weights; built once."""

    @functools.cached_property
    def begun(self) -> Any:
        """What :meth:`begin` gave."""
        return self.begin()

    def start(self) -> Any:
        """The same anew: a step takes it away."""
        return jax.tree.map(lambda leaf: leaf.copy() if isinstance(leaf, jax.Array) else leaf, self.begun)

    def epoch(self, carry: Any, order: np.ndarray) -> tuple[Any, list[float]]:
        """Train on one batch for each row of ``order``; the loss of each."""
        losses = []
        for rows in order:
            carry, loss = self.step((*self.data, rows), carry)
            losses.append(loss)
        return carry, [float(loss) for loss in jax.device_get(losses)]

    def losses(self, steps: int) -> list[float]:
        return self.epoch(self.start(), self.workload.order(0)[:steps])[1]

    def train(self, epochs: int, done: Callable[[float], None]) -> None:
        carry = self.start()
        for epoch in range(epochs):
            carry, losses = self.epoch(carry, self.workload.order(epoch))
            done(sum(losses) / len(losses))

    def outputs(self) -> np.ndarray:
        return np.asarray(self.forward(self.x[: self.workload.batch]).astype(jnp.float32))

    def predict(self, passes: int, done: Callable[[float], None]) -> None:
        size = self.workload.batch
        for _ in range(passes):
            for start in range(0, self.workload.steps * size, size):
                np.asarray(self.forward(self.x[start : start + size]))
            done(0.0)

    def program(self) -> None:
        return None
