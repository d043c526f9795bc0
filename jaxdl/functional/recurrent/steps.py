"""What every recurrence shares: the checks, and the loop over time in which a padded step changes nothing."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.core.checks import floating
from jaxdl.core.errors import bad_value, describe

Step = Callable[..., Any]
"""``step(carry, z, *weights) -> carry``: one step, given the input's product with its kernel."""


def check_input(call: str, x: Any, axes: str) -> None:
    """Raise unless ``x`` is a floating array with axes such as ``(batch, time, in)``."""
    floating(call, "input", x)
    if len(x.shape) != axes.count(",") + 1:
        raise bad_value(call, f"input must have shape {axes}", x)


def check_weights(
    call: str, x: Any, kernel: Any, recurrent_kernel: Any, gates: int, **vectors: tuple[Any, int]
) -> None:
    """Raise unless the kernels fit the input and each other; ``vectors`` come with their size in gates."""
    features = recurrent_kernel.shape[0] if recurrent_kernel.ndim == 2 else 0
    if not features or recurrent_kernel.shape[1] != gates * features:
        raise bad_value(call, f"recurrent_kernel must have shape (H, {_times(gates)}H)", recurrent_kernel)
    shape = (x.shape[-1], gates * features)
    if kernel.shape != shape:
        raise bad_value(call, f"kernel must have shape {shape} for input {describe(x)} and H = {features}", kernel)
    for name, (vector, count) in vectors.items():
        if vector is not None and vector.shape != (count * features,):
            raise bad_value(call, f"{name} must have shape ({count * features},)", vector)


def _times(gates: int) -> str:
    return "" if gates == 1 else f"{gates} · "


def in_one_dtype(x: Any, kernel: Any, *others: Any) -> tuple[Any, ...]:
    """All of them in the dtype that the input's product with its kernel has: the carry's, from step to step."""
    dtype = jnp.promote_types(x.dtype, kernel.dtype)
    return tuple(None if array is None else jnp.asarray(array, dtype) for array in (x, kernel, *others))


def check_carry(call: str, name: str, carry: Any, shape: tuple[int, ...], parts: int, dtype: Any) -> Any:
    """The carry, one array of that shape or a tuple of ``parts`` of them, in that dtype; zeros for None."""
    if carry is None:
        zeros = jnp.zeros(shape, dtype)
        return zeros if parts == 1 else (zeros,) * parts
    leaves = (carry,) if parts == 1 else carry
    fits = isinstance(leaves, tuple | list) and len(leaves) == parts
    if not fits or any(getattr(leaf, "shape", None) != shape for leaf in leaves):
        needs = f"{name} must be an array of shape {shape}" if parts == 1 else f"{name} must be (h, c), each {shape}"
        raise bad_value(call, needs, carry)
    cast = tuple(jnp.asarray(leaf, dtype) for leaf in leaves)
    return cast[0] if parts == 1 else cast


def time_first(x: jax.Array, lengths: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
    """``x`` with time in front, zero where it is padded, and where it is real, ``(time, batch, 1, …)``; None for
    everywhere."""
    x = jnp.moveaxis(x, 1, 0)
    if lengths is None:
        return x, None
    real = jnp.arange(x.shape[0])[:, None] < lengths[None]
    real = real.reshape(*real.shape, *[1] * (x.ndim - 2))
    return jnp.where(real, x, 0), real


def batch_first(hs: jax.Array, real: jax.Array | None) -> jax.Array:
    """Outputs with the batch in front, zero where they are padded."""
    return jnp.moveaxis(hs if real is None else jnp.where(real, hs, 0), 0, 1)


def hidden(carry: Any) -> jax.Array:
    """The output that a carry holds: the h of h, or of (h, c)."""
    return jax.tree.leaves(carry)[0]


def plain_scan(
    step: Step, reverse: bool, z: jax.Array, weights: tuple[jax.Array, ...], carry: Any, real: jax.Array | None
) -> tuple[jax.Array, Any]:
    """The loop over time: the h of each step and the last carry.

    Backwards in time, what is padded on the right comes first and leaves the carry as it was: so each sequence is read
    from its own end.
    """

    def body(carry: Any, inputs: Any) -> tuple[Any, jax.Array]:
        z, real = inputs
        new = step(carry, z, *weights)
        if real is not None:
            new = jax.tree.map(lambda new, old: jnp.where(real, new, old), new, carry)
        return new, hidden(new)

    carry, hs = lax.scan(body, carry, (z, real), reverse=reverse)
    return hs, carry
