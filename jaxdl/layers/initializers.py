"""What the layers of this floor start their parameters with; more stand ready in :mod:`jax.nn.initializers`."""

from collections.abc import Callable
from typing import Any

import jax

from jaxdl.core import child_key

Initializer = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]


def glorot_uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """``U(−a, a)`` with ``a = √(6 / (fan_in + fan_out))``, the window's elements counted in both fans."""
    return jax.nn.initializers.glorot_uniform()(key, shape, dtype)


def zeros(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """All zeros."""
    return jax.numpy.zeros(shape, dtype)


def ones(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """All ones."""
    return jax.numpy.ones(shape, dtype)


def bias_tree(use_bias: bool, init: Initializer, key: jax.Array, features: int, dtype: Any) -> dict[str, jax.Array]:
    """``{"bias": …}`` or nothing; its key differs from the kernel's."""
    return {"bias": init(child_key(key, "bias"), (features,), dtype)} if use_bias else {}
