"""Flax NNX as its performance guide writes it: the graph split from its arrays before the loop, and ``jax.jit`` within.

The modules are those of its layers, ``nnx.Optimizer`` updates them, and what goes from step to step is donated.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from benchmarks.peers.dispatched import DispatchedSession, Step, mean_loss
from benchmarks.peers.nnx.networks import MODELS
from benchmarks.peers.nnx.weights import load

__all__ = ["MODELS", "Session"]


class Session(DispatchedSession):
    """See :class:`benchmarks.peers.Session`."""

    def network(self) -> Any:
        """The network with the workload's weights."""
        network = MODELS[type(self.workload.network)](
            self.workload.network, {"dtype": self.dtype, "rngs": nnx.Rngs(0)}
        )
        load(network, self.workload.weights())
        return network

    def start(self) -> tuple[Any, Step]:
        network = self.network()
        network.train()
        optimizer = nnx.Optimizer(network, optax.adam(self.workload.network.learning_rate), wrt=nnx.Param)
        graph, start = nnx.split((network, optimizer))

        @functools.partial(jax.jit, donate_argnums=0)
        def step(state: nnx.State, x: jax.Array, y: jax.Array) -> tuple[nnx.State, jax.Array]:
            network, optimizer = nnx.merge(graph, state)
            loss, gradients = nnx.value_and_grad(lambda net: mean_loss(self.workload, net(x), y))(network)
            optimizer.update(network, gradients)
            return nnx.state((network, optimizer)), loss

        return start, step

    def forward(self) -> Callable[[np.ndarray], jax.Array]:
        network = self.network()
        network.eval()
        graph, state = nnx.split(network)
        return functools.partial(jax.jit(lambda state, x: nnx.merge(graph, state)(x)), state)
