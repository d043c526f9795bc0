"""The work of a workload's step: floating-point operations and bytes, counted in the program of its plain form.

**Operations**, by :func:`jaxdl.inspect.count_operations`: convolutions as in the direct form, loops as often as they
are long; in the dtype that is measured.

**Bytes**, what a machine without a flaw must move: parameters and what the optimizer keeps, read once and written once
in a step; the batch, read once. A prediction: parameters and batch read once, the result written once. All between,
also what a forward pass keeps for the gradient, is taken to stay where it is computed: how much that is, is a form's
own affair.
"""

import inspect
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.limit import Work
from benchmarks.peers.plain_networks import MODELS, running_statistics
from benchmarks.peers.precision import lowered
from benchmarks.workloads import Autoencoder, Workload
from jaxdl import functional
from jaxdl.inspect import count_operations
from jaxdl.losses import cross_entropy


def plain_forms() -> SimpleNamespace:
    """jaxdl's functions with ``method="lax"``, where they have one."""

    def plain(function: Callable[..., Any]) -> Callable[..., Any]:
        has = "method" in inspect.signature(function).parameters
        return partial(function, method="lax") if has else function

    return SimpleNamespace(**{name: plain(f) for name, f in vars(functional).items() if inspect.isfunction(f)})


def counted(function: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    """``(all, products)`` of a call, of arrays or specs.

    **Raises** ``ValueError`` for a loop whose length is not known.
    """
    found = count_operations(function, *arguments)
    if found.open_loops:
        raise ValueError("count: a loop whose length is not known cannot be counted; a scan can")
    return found.flops, found.products


def _size(tree: Any) -> int:
    """Bytes of all leaves."""
    return sum(leaf.size * jnp.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))


def work(workload: Workload) -> Work:
    """The work of one step of a workload, or of the prediction of one batch."""
    network = workload.network
    apply = MODELS[type(network)](network, plain_forms())
    specs = partial(jax.tree.map, lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
    weights = specs(workload.weights())
    few = specs(type(workload)(workload.name, "", network, 1, 1).data())
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((workload.batch, *leaf.shape[1:]), leaf.dtype), few)
    state = jax.eval_shape(running_statistics, weights)
    key = jax.eval_shape(lambda: jax.random.key(0))
    if workload.task == "predict":

        def predict(weights: Any, state: Any, x: Any) -> Any:
            return apply(lowered(weights), state, lowered(x), train=False, key=None)[0]

        arguments = (weights, state, batch["x"])
        return Work(*counted(predict, *arguments), _size((arguments, jax.eval_shape(predict, *arguments))))

    loss = optax.losses.squared_error if isinstance(network, Autoencoder) else cross_entropy
    optimizer = optax.adam(network.learning_rate)

    def objective(weights: Any, state: Any, batch: Any, key: Any) -> jax.Array:
        prediction = apply(lowered(weights), state, lowered(batch["x"]), train=True, key=key)[0]
        return loss(prediction.astype(jnp.float32), batch["y"]).mean()

    def step(weights: Any, adam: Any, state: Any, batch: Any, key: Any) -> Any:
        gradients = jax.grad(objective)(weights, state, batch, key)
        updates, adam = optimizer.update(gradients, adam, weights)
        return optax.apply_updates(weights, updates), adam

    adam = jax.eval_shape(optimizer.init, weights)
    return Work(*counted(step, weights, adam, state, batch, key), 2 * _size((weights, adam)) + _size(batch))
