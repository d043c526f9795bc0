"""A batch in parts, one after the other, with the gradient of the whole."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.core import Sum
from jaxdl.core.spread import spread_parts
from jaxdl.data.split import count_examples

Metrics = dict[str, Any]
Objective = Callable[[Any, Any, Any, jax.Array], tuple[jax.Array, tuple[jax.Array, Any, Metrics]]]
"""``(params, state, batch, key) -> (mean, (weight, state, metrics))``."""


def accumulated(
    objective: Objective, parts: int, params: Any, state: Any, batch: Any, key: jax.Array
) -> tuple[Any, Any, Metrics]:
    """The gradient of the mean over a batch, the state after its last part, and the metrics' sums.

    Each part's gradient is that of its mean, as in a step of its own, so that half precision sees numbers of the same
    size; it counts by the part's weight: ``Σ wᵢ ∇meanᵢ / Σ wᵢ``. They add up in float32 or better: a half could hold
    neither the sum of many nor a weight of more than 65,504.
    """
    gradient = jax.value_and_grad(objective, has_aux=True)

    def add(carry: tuple[Any, Any], part: tuple[Any, jax.Array]) -> tuple[tuple[Any, Any], tuple[jax.Array, Metrics]]:
        total, state = carry
        batch, number = part
        (_, (weight, state, metrics)), more = gradient(params, state, batch, jax.random.fold_in(key, number))
        total = jax.tree.map(lambda a, b: a + weight.astype(a.dtype) * b, total, more)
        sums = {name: metric if isinstance(metric, Sum) else Sum(metric, 1) for name, metric in metrics.items()}
        return (total, state), (weight, jax.tree.map(jnp.asarray, sums))

    count = count_examples("make_step", batch)
    size = max(1, -(-count // parts))
    whole = count // size
    carry, seen = (jax.tree.map(_wide_zeros, params), state), []
    if whole:
        stacked = jax.tree.map(lambda leaf: leaf[: whole * size].reshape(whole, size, *leaf.shape[1:]), batch)
        stacked = spread_parts(stacked)
        carry, sums = lax.scan(add, carry, (stacked, jnp.arange(whole)))
        seen.append(jax.tree.map(lambda leaf: leaf.sum(0), sums))
    if whole * size < count or not count:
        carry, sums = add(carry, (jax.tree.map(lambda leaf: leaf[whole * size :], batch), jnp.asarray(whole)))
        seen.append(sums)
    weight, metrics = jax.tree.map(lambda *leaves: sum(leaves[1:], start=leaves[0]), *seen)
    weight = jnp.where(weight == 0, 1, weight)
    mean = jax.tree.map(lambda total, leaf: (total / weight.astype(total.dtype)).astype(leaf.dtype), carry[0], params)
    return mean, carry[1], metrics


def _wide_zeros(leaf: Any) -> jax.Array:
    return jnp.zeros(jnp.shape(leaf), jnp.promote_types(jnp.result_type(leaf), jnp.float32))
