"""Equinox as its guides write it: modules of one example, ``vmap`` over the batch, and a step under ``filter_jit``.

As its page of tricks advises for loops that must cost little, the step takes and returns flat lists of leaves, so that
no module is taken apart in Python on every call; all that goes from step to step is donated.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.peers.dispatched import DispatchedSession, Given, Step, mean_loss
from benchmarks.peers.equinox.networks import MODELS
from benchmarks.peers.equinox.weights import loaded
from benchmarks.workloads import CNN, Conv3D, Workload

__all__ = ["MODELS", "Session"]


class Session(DispatchedSession):
    """See :class:`benchmarks.peers.Session`."""

    def __init__(self, workload: Workload):
        super().__init__(workload)
        self.optimizer = optax.adam(workload.network.learning_rate)

    def arranged(self, x: np.ndarray) -> np.ndarray:
        """Images, which Equinox has with channels first."""
        return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 3 else x

    def network(self) -> tuple[Any, eqx.nn.State]:
        """The network with the workload's weights, and its state."""
        model, flat = self.workload.network, None
        if isinstance(model, CNN):
            flat = ((model.side - 2) // 2, (model.side - 2) // 2, model.filters)
        if isinstance(model, Conv3D):
            flat = (*3 * [model.side // 2 ** len(model.features)], model.features[-1])
        network, state = eqx.nn.make_with_state(MODELS[type(model)])(model)
        return loaded(network, self.workload.weights(), flat), state

    def lowered(self, leaf: Any) -> Any:
        """An array of floats in the dtype that is computed in."""
        return leaf.astype(self.dtype) if eqx.is_inexact_array(leaf) else leaf

    def answers(self, network: Any, state: eqx.nn.State, x: jax.Array, key: Any) -> tuple[jax.Array, eqx.nn.State]:
        """The network's answers for a batch, with channels last, and its state."""
        cast = functools.partial(jax.tree.map, self.lowered)
        keys = None if key is None else jax.random.split(key, len(x))
        axes = (0, None, None if key is None else 0)
        each = jax.vmap(cast(network), in_axes=axes, out_axes=(0, None), axis_name="batch")
        y, state = each(cast(x), state, keys)
        return (jnp.moveaxis(y, 1, -1) if y.ndim > 3 else y), state

    @functools.cached_property
    def trained(self) -> Any:
        """The network, its state, its optimizer's, and the key where one is needed."""
        network, state = self.network()
        adam = self.optimizer.init(eqx.filter(network, eqx.is_inexact_array))
        return network, state, adam, jax.random.key(0) if self.workload.random else None

    def begin(self) -> list[Any]:
        return jax.tree.leaves(self.trained)

    @functools.cached_property
    def step(self) -> Step:
        tree = jax.tree.structure(self.trained)

        def objective(network: Any, state: eqx.nn.State, x: Any, y: Any, key: Any) -> tuple[jax.Array, eqx.nn.State]:
            prediction, state = self.answers(network, state, x, key)
            return mean_loss(self.workload, prediction, y), state

        @eqx.filter_jit(donate="all-except-first")
        def step(given: Given, leaves: list[Any]) -> tuple[list[Any], jax.Array]:
            xs, ys, rows = given
            x, y = xs[rows], ys[rows]
            network, state, adam, key = jax.tree.unflatten(tree, leaves)
            now, key = (None, None) if key is None else jax.random.split(key)
            (loss, state), gradients = eqx.filter_value_and_grad(objective, has_aux=True)(network, state, x, y, now)
            updates, adam = self.optimizer.update(gradients, adam)
            return jax.tree.leaves((eqx.apply_updates(network, updates), state, adam, key)), loss

        return step

    @functools.cached_property
    def forward(self) -> Callable[[np.ndarray], jax.Array]:
        network, state = self.network()
        leaves, tree = jax.tree.flatten((eqx.nn.inference_mode(network), state))

        @eqx.filter_jit
        def forward(leaves: list[Any], x: jax.Array) -> jax.Array:
            return self.answers(*jax.tree.unflatten(tree, leaves), x, None)[0]

        return functools.partial(forward, leaves)
