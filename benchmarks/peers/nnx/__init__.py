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

from benchmarks.peers.dispatched import DispatchedSession, Given, Step, mean_loss
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

    @functools.cached_property
    def trained(self) -> tuple[nnx.GraphDef, nnx.State]:
        """The graph and the arrays of the network and its optimizer."""
        network = self.network()
        network.train()
        return nnx.split(
            (network, nnx.Optimizer(network, optax.adam(self.workload.network.learning_rate), wrt=nnx.Param))
        )

    def begin(self) -> nnx.State:
        return self.trained[1]

    @functools.cached_property
    def step(self) -> Step:
        graph, _ = self.trained

        @functools.partial(jax.jit, donate_argnums=1)
        def step(given: Given, state: nnx.State) -> tuple[nnx.State, jax.Array]:
            xs, ys, rows = given
            x, y = xs[rows], ys[rows]
            network, optimizer = nnx.merge(graph, state)
            loss, gradients = nnx.value_and_grad(lambda net: mean_loss(self.workload, net(x), y))(network)
            optimizer.update(network, gradients)
            return nnx.state((network, optimizer)), loss

        return step

    @functools.cached_property
    def forward(self) -> Callable[[np.ndarray], jax.Array]:
        network = self.network()
        network.eval()
        graph, state = nnx.split(network)
        return functools.partial(jax.jit(lambda state, x: nnx.merge(graph, state)(x)), state)
