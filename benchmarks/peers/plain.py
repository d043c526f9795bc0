"""Training by hand: plain JAX and optax. What layers, steps and an engine cost is measured from here.

It trains as well as it can: the lowerings that jaxdl's functions choose, and a whole epoch as one donated program whose
loop bounds are arguments. The networks are in ``plain_networks``.
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
from benchmarks.peers.plain_networks import MODELS, Tree, named, running_statistics
from benchmarks.peers.precision import lowered
from benchmarks.workloads import SEED, Autoencoder, Workload
from jaxdl.losses import cross_entropy

Batch = dict[str, jax.Array]


class Carry(NamedTuple):
    """What goes from step to step: updates so far, weights, running statistics, optimizer's state, the step's key's
    origin, the sum of the losses and its weight.

    The sum, ``[total, weight]``, is exact: ``low`` keeps what rounding takes from ``high``.
    """

    step: jax.Array
    weights: Tree
    state: Tree
    adam: Any
    key: jax.Array
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
        self.device, self.processors = jax.devices()[0].device_kind, cpu_count()
        data = workload.data()
        self.x = data["x"]
        self.data = jax.tree.map(jnp.asarray, data)
        self.network = MODELS[type(workload.network)](workload.network)
        self.loss: Callable[..., jax.Array] = cross_entropy
        if isinstance(workload.network, Autoencoder):
            self.loss = optax.losses.squared_error
        self.optimizer = optax.adam(workload.network.learning_rate)
        self.steps = jax.jit(self._steps, donate_argnums=0)
        self.forward = jax.jit(self._forward)

    def _forward(self, weights: Tree, state: Tree, x: jax.Array) -> jax.Array:
        return self.network(lowered(weights), state, lowered(x), train=False, key=None)[0]

    def _step(self, carry: Carry, batch: Batch) -> Carry:
        key = jax.random.fold_in(carry.key, carry.step)

        def objective(weights: Tree) -> tuple[jax.Array, tuple[jax.Array, Tree]]:
            prediction, state = self.network(lowered(weights), carry.state, lowered(batch["x"]), train=True, key=key)
            values = self.loss(prediction.astype(jnp.float32), batch["y"])
            return values.mean(), (jnp.stack([values.sum(), jnp.float32(values.size)]), state)

        (_, (value, state)), gradients = jax.value_and_grad(objective, has_aux=True)(carry.weights)
        updates, adam = self.optimizer.update(gradients, carry.adam, carry.weights)
        weights = optax.apply_updates(carry.weights, updates)
        high = carry.high + value
        kept = high - carry.high
        low = carry.low + ((carry.high - (high - kept)) + (value - kept))
        return Carry(carry.step + 1, weights, state, adam, carry.key, high, low)

    def _steps(self, carry: Carry, data: Batch, order: jax.Array, start: jax.Array, stop: jax.Array) -> Carry:
        """Steps ``start`` to ``stop`` over ``data[order[i]]``."""

        def body(i: jax.Array, carry: Carry) -> Carry:
            rows = lax.dynamic_index_in_dim(order, i, keepdims=False)
            return self._step(carry, {name: leaf.at[rows].get(mode="promise_in_bounds") for name, leaf in data.items()})

        last: Carry = lax.fori_loop(start, stop, body, carry)
        return last

    def fresh(self) -> Carry:
        """The workload's weights, and all else as at the start."""
        weights = jax.tree.map(jnp.array, self.workload.weights())
        zeros = functools.partial(jnp.zeros, 2)
        key = named(jax.random.key(np.uint32(SEED)), "/train")
        state, adam = running_statistics(weights), self.optimizer.init(weights)
        return Carry(jnp.zeros((), jnp.int32), weights, state, adam, key, zeros(), zeros())

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

    def outputs(self) -> np.ndarray:
        carry = self.fresh()
        return np.asarray(self.forward(carry.weights, carry.state, self.x[: self.workload.batch]), np.float32)

    def predict(self, passes: int, done: Callable[[float], None]) -> None:
        weights, state, size = *self.fresh()[1:3], self.workload.batch
        batches = np.split(self.x[: self.workload.steps * size], self.workload.steps)
        for _ in range(passes):
            for batch in batches:
                np.asarray(self.forward(weights, state, batch))
            done(0.0)

    def program(self) -> str | None:
        if self.workload.task == "predict":
            return None
        order = jnp.asarray(self.workload.order(0))
        return self.steps.lower(self.fresh(), self.data, order, np.int32(0), np.int32(1)).compile().as_text()
