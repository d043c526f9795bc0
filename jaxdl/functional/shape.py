"""Changes of shape."""

import math

import jax

from jaxdl.core.errors import bad_value


def along_last(vector: jax.Array, ndim: int) -> jax.Array:
    """A vector shaped to meet the last axis of an array of ``ndim`` axes; ranks are never promoted in silence."""
    return vector.reshape((1,) * (ndim - 1) + vector.shape)


def flatten(x: jax.Array) -> jax.Array:
    """Join all axes but the first.

    **Shapes** ``x: (batch, …) -> (batch, product of the rest)``.

    Example:
        >>> import jax.numpy as jnp
        >>> flatten(jnp.zeros((2, 3, 4))).shape
        (2, 12)
    """
    if not x.shape:
        raise bad_value("flatten", "input must have a batch axis", x)
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))
