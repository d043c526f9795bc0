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
        network = MODELS[type(self.workload.network)](self.workload.network, {"dtype": self.dtype, "rngs": nnx.Rngs(0)})
        load(network, self.workload.weights())
        return network

    def trained(self) -> tuple[Any, nnx.Optimizer]:
        """The network and its optimizer."""
        network = self.network()
        network.train()
        return network, nnx.Optimizer(network, optax.adam(self.workload.network.learning_rate), wrt=nnx.Param)

    def start(self) -> nnx.State:
        return nnx.split(self.trained())[1]

    @functools.cached_property
    def step(self) -> Step:
        graph, _ = nnx.split(self.trained())

        @functools.partial(jax.jit, donate_argnums=0)
        def step(state: nnx.State, x: jax.Array, y: jax.Array) -> tuple[nnx.State, jax.Array]:
            network, optimizer = nnx.merge(graph, state)
            loss, gradients = nnx.value_and_grad(lambda net: mean_loss(self.workload, net(x), y))(network)
            optimizer.update(network, gradients)
            return nnx.state((network, optimizer)), loss

        return step

    def forward(self) -> Callable[[np.ndarray], jax.Array]:
        network = self.network()
        network.eval()
        graph, state = nnx.split(network)
        return functools.partial(jax.jit(lambda state, x: nnx.merge(graph, state)(x)), state)
