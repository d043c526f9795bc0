"""Many steps as one XLA program whose loop bounds are arguments: compiled once, it serves any number of steps."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.core import Sum, bad_type, bad_value, describe
from jaxdl.train.step import Transform

StepFn = Callable[[Any, Any], tuple[Any, Any]]
Totals = dict[str, np.ndarray]
"""Total and weight of each metric, in float64: float32 counts exactly only up to 2²⁴."""

_traces = 0


def trace_count() -> int:
    """How many programs have been traced in this process; one that is found in the cache is not traced again."""
    return _traces


def _loop(
    step: StepFn,
    transform: Transform | None,
    carry: Any,
    data: Any,
    order: jax.Array,
    key: jax.Array | None,
    where: jax.Array,
) -> tuple[Any, dict[str, Sum]]:
    """Run steps ``start`` to ``stop`` over ``data[order[i]]``, where ``start, stop, first, epoch = where``.

    ``first`` is the number of the order's first row within the epoch: with it, a transform's key is a function of
    (seed, epoch, step), whatever the chunks.
    """
    start, stop, first, epoch = where
    global _traces
    _traces += 1

    def batch_at(i: Any) -> Any:
        rows = lax.dynamic_index_in_dim(order, i, keepdims=False)
        batch = jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), data)
        if transform is None:
            return batch
        return transform(batch, None if key is None else jax.random.fold_in(jax.random.fold_in(key, epoch), first + i))

    # Jitted, so that the trace that tells the metrics' structure also serves the loop.
    one = jax.jit(lambda carry, batch: _checked(step(carry, batch), carry))
    _, spec = jax.eval_shape(one, carry, jax.eval_shape(batch_at, jnp.int32(0)))
    totals = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), spec)

    def body(i: jax.Array, loop: tuple[Any, Any]) -> tuple[Any, Any]:
        carry, totals = loop
        carry, metrics = one(carry, batch_at(i))
        return carry, jax.tree.map(jnp.add, totals, metrics)

    return lax.fori_loop(start, stop, body, (carry, totals))


def _checked(result: Any, carry: Any) -> tuple[Any, dict[str, Sum]]:
    """The step's two results, the state as it came in kind and the metrics as sums; else an error that says what."""
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        raise bad_type("step", "a step must return (train_state, metrics), where metrics is a dict", result)
    new, metrics = result
    tree, new_tree = str(jax.tree.structure(carry)), str(jax.tree.structure(new))
    if tree != new_tree:
        raise bad_type("step", f"a step must return a train state like the one it got, {tree}", new_tree)
    for (path, old), leaf in zip(jax.tree.leaves_with_path(carry), jax.tree.leaves(new), strict=True):
        if jnp.shape(old) != jnp.shape(leaf) or jnp.result_type(old) != jnp.result_type(leaf):
            needs = f"train state{jax.tree_util.keystr(path)} must stay {describe(old)}"
            raise bad_type("step", needs, leaf)
    return new, {name: _as_sum(name, metric) for name, metric in metrics.items()}


def _as_sum(name: str, metric: Any) -> Sum:
    if not isinstance(metric, Sum):
        metric = Sum(jnp.asarray(metric), jnp.ones((), jnp.float32))
    if jnp.shape(metric.total) or jnp.shape(metric.weight):
        raise bad_value("step", f"the metric {name!r} must be a Sum or a scalar", metric.total)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.promote_types(jnp.result_type(leaf), jnp.float32)), metric)


train_program = jax.jit(_loop, static_argnums=(0, 1), donate_argnums=2)
"""``(step, transform, carry, data, order, key, where) -> (carry, sums)``; the carry is donated."""


@functools.partial(jax.jit, static_argnums=(0, 1))
def evaluation_program(
    measure: Callable[[Any, Any], Any], transform: Transform | None, variables: Any, data: Any, order: Any, where: Any
) -> dict[str, Sum]:
    """The sums of ``measure(variables, batch)`` over the same loop; nothing is donated."""
    return _loop(lambda carry, batch: (carry, measure(variables, batch)), transform, {}, data, order, None, where)[1]


def add_sums(totals: Totals, sums: dict[str, Sum]) -> None:
    """Add a program's sums to the totals on the host; waits for the program."""
    for name, s in jax.device_get(sums).items():
        totals[name] = totals.get(name, 0) + np.array([s.total, s.weight], np.float64)


def means(totals: Totals) -> dict[str, float]:
    """Each metric's mean, the loss first; nan where nothing had weight."""
    # XLA gives dicts back sorted by name; the loss comes first for people.
    names = sorted(totals, key=lambda name: name != "loss")
    return {name: float(np.divide(*totals[name])) if totals[name][1] else float("nan") for name in names}
