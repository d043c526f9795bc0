"""The same networks by hand: plain JAX and optax, nothing of jaxdl. What an abstraction costs is measured from here.

One file, read top to bottom. It trains as well as it can: the same lowerings and derivatives as jaxdl chooses on CPU,
and a whole epoch as one donated program whose loop bounds are arguments.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks.machine import cpu_count
from benchmarks.workloads import CNN, Workload

Weights = dict[str, dict[str, jax.Array]]
Batch = dict[str, jax.Array]


def patches(x: jax.Array) -> jax.Array:
    """``(B, H, W, C) -> (B, H − 2, W − 2, 9 C)``: the 3×3 window at each position."""
    height, width = x.shape[1] - 2, x.shape[2] - 2
    taps = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(taps, axis=-1)


@jax.custom_vjp
def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``(B, H, W, C), (3, 3, C, O) -> (B, H − 2, W − 2, O)``, as patches times a matrix."""
    p = patches(x)
    rows = p.reshape(-1, p.shape[-1])  # (B · positions, 9 C)
    y = rows @ kernel.reshape(-1, kernel.shape[-1])
    return y.reshape(*p.shape[:-1], kernel.shape[-1])


def conv_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return conv(x, kernel), (x, kernel)


def conv_backward(saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    p = patches(x)
    dy_rows = dy.reshape(-1, dy.shape[-1])  # (B · positions, O)
    dkernel = p.reshape(-1, p.shape[-1]).T @ dy_rows
    dpatches = dy_rows @ kernel.reshape(-1, kernel.shape[-1]).T
    (dx,) = jax.linear_transpose(patches, x)(dpatches.reshape(p.shape))
    return dx, dkernel.reshape(kernel.shape)


conv.defvjp(conv_forward, conv_backward)


def corners(x: jax.Array) -> list[jax.Array]:
    """The four positions of each 2×2 window, row by row: ``(B, H, W, C)`` to four of ``(B, H / 2, W / 2, C)``."""
    return [x[:, i::2, j::2] for i in range(2) for j in range(2)]


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """The largest value of each 2×2 window; height and width are even."""
    return functools.reduce(jnp.maximum, corners(x))


def max_pool_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = max_pool(x)
    return y, (x, y)


def max_pool_backward(saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array]:
    """The first corner that holds the maximum takes the gradient."""
    x, y = saved
    taps = corners(x)
    winner = jnp.full(y.shape, 3, jnp.int32)
    for index in (2, 1, 0):
        winner = jnp.where(taps[index] == y, index, winner)
    corner = jnp.arange(4, dtype=jnp.int32).reshape(1, 1, 2, 1, 2, 1)
    dx = jnp.where(winner[:, :, None, :, None] == corner, dy[:, :, None, :, None], 0)
    return (dx.reshape(x.shape),)


max_pool.defvjp(max_pool_forward, max_pool_backward)


def cnn(weights: Weights, x: jax.Array) -> jax.Array:
    """``(B, side, side, 1) -> (B, classes)``."""
    x = conv(x, weights["conv"]["kernel"]) + weights["conv"]["bias"]
    x = max_pool(jax.nn.relu(x))
    x = x.reshape(x.shape[0], -1)
    x = jax.nn.relu(x @ weights["dense"]["kernel"] + weights["dense"]["bias"])
    return x @ weights["dense_1"]["kernel"] + weights["dense_1"]["bias"]


MODELS: dict[type, Callable[[Weights, jax.Array], jax.Array]] = {CNN: cnn}


class Carry(NamedTuple):
    """What goes from step to step: updates so far, weights, optimizer's state, the sum of the losses and its weight.

    The sum, ``[total, weight]``, is exact: ``low`` keeps what rounding takes from ``high``.
    """

    step: jax.Array
    weights: Weights
    adam: Any
    high: jax.Array
    low: jax.Array

    def begin(self) -> "Carry":
        """The same with a sum of zero."""
        return self._replace(high=jnp.zeros(2), low=jnp.zeros(2))

    def mean(self) -> float:
        """The mean loss of the steps since :meth:`begin`."""
        total, weight = np.add(*jax.device_get((self.high, self.low)), dtype=np.float64)
        return float(total / weight)


class Session:
    """See :class:`benchmarks.peers.Session`."""

    def __init__(self, workload: Workload):
        self.workload = workload
        self.device, self.threads = jax.devices()[0].device_kind, cpu_count()
        self.data = jax.tree.map(jnp.asarray, workload.data())
        self.network = MODELS[type(workload.network)]
        self.optimizer = optax.adam(workload.network.learning_rate)
        self.steps = jax.jit(self._steps, donate_argnums=0)

    def _step(self, carry: Carry, batch: Batch) -> Carry:
        def objective(weights: Weights) -> tuple[jax.Array, jax.Array]:
            logits = self.network(weights, batch["x"])
            total = optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).sum()
            return total / len(batch["y"]), total

        (_, total), gradients = jax.value_and_grad(objective, has_aux=True)(carry.weights)
        updates, adam = self.optimizer.update(gradients, carry.adam, carry.weights)
        weights = optax.apply_updates(carry.weights, updates)
        value = jnp.stack([total, jnp.float32(len(batch["y"]))])
        high = carry.high + value
        kept = high - carry.high
        low = carry.low + ((carry.high - (high - kept)) + (value - kept))
        return Carry(carry.step + 1, weights, adam, high, low)

    def _steps(self, carry: Carry, data: Batch, order: jax.Array, start: jax.Array, stop: jax.Array) -> Carry:
        """Steps ``start`` to ``stop`` over ``data[order[i]]``."""

        def body(i: jax.Array, carry: Carry) -> Carry:
            rows = lax.dynamic_index_in_dim(order, i, keepdims=False)
            return self._step(carry, {name: leaf.at[rows].get(mode="promise_in_bounds") for name, leaf in data.items()})

        last: Carry = lax.fori_loop(start, stop, body, carry)
        return last

    def fresh(self) -> Carry:
        """The workload's weights, and all else zero."""
        weights = jax.tree.map(jnp.array, self.workload.weights())
        return Carry(jnp.zeros((), jnp.int32), weights, self.optimizer.init(weights), jnp.zeros(2), jnp.zeros(2))

    def losses(self, steps: int) -> list[float]:
        carry, order, losses = self.fresh(), jnp.asarray(self.workload.order(0)), []
        for i in range(steps):
            carry = self.steps(carry.begin(), self.data, order, np.int32(i), np.int32(i + 1))
            losses.append(carry.mean())
        return losses

    def train(self, epochs: int, done: Callable[[float], None]) -> None:
        carry = self.fresh()
        for epoch in range(epochs):
            order = jnp.asarray(self.workload.order(epoch))
            carry = self.steps(carry.begin(), self.data, order, np.int32(0), np.int32(len(order)))
            done(carry.mean())

    def program(self) -> str | None:
        order = jnp.asarray(self.workload.order(0))
        return self.steps.lower(self.fresh(), self.data, order, np.int32(0), np.int32(1)).compile().as_text()
