"""What the layers of this floor start their parameters with; more stand ready in :mod:`jax.nn.initializers`."""

from collections.abc import Callable
from typing import Any

import jax

from jaxdl.core import child_key

Initializer = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]


def glorot_uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """``U(−a, a)`` with ``a = √(6 / (fan_in + fan_out))``, the window's elements counted in both fans."""
    return jax.nn.initializers.glorot_uniform()(key, shape, dtype)


def lecun_normal(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Normal (cut off at two deviations) with variance ``1 / fan_in``."""
    return jax.nn.initializers.lecun_normal()(key, shape, dtype)


def unit_rows(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Normal with standard deviation ``1 / √features`` for a table ``(…, features)``: rows of length about 1."""
    return jax.nn.initializers.normal(max(shape[-1], 1) ** -0.5)(key, shape, dtype)


def lecun_uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """``U(−a, a)`` with ``a = √(3 / fan_in)``, the window's elements counted."""
    return jax.nn.initializers.lecun_uniform()(key, shape, dtype)


def zeros(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """All zeros."""
    return jax.numpy.zeros(shape, dtype)


def ones(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """All ones."""
    return jax.numpy.ones(shape, dtype)


def draw(key: jax.Array, dtype: Any, **parameters: tuple[Initializer, tuple[int, ...]]) -> dict[str, jax.Array]:
    """Parameters by name, of an initializer and a shape each; the name makes the key."""
    return {name: init(child_key(key, name), shape, dtype) for name, (init, shape) in parameters.items()}
