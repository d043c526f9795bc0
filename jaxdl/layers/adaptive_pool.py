"""Pooling to a given number of positions."""

from typing import Any

import jax

from jaxdl import functional as F
from jaxdl.core import no_params, stateless
from jaxdl.core.checks import sizes
from jaxdl.functional.window import Sizes


@stateless(positionwise=False)
def global_avg_pool() -> Any:
    """The mean over all spatial axes; see :func:`jaxdl.functional.global_avg_pool`.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> global_avg_pool().apply({}, {}, jnp.ones((1, 7, 7, 64)), train=False)[0].shape
        (1, 64)
    """
    return no_params, lambda params, x: F.global_avg_pool(x)


@stateless(positionwise=False)
def global_max_pool() -> Any:
    """The largest value over all spatial axes; see :func:`jaxdl.functional.global_max_pool`.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> global_max_pool().apply({}, {}, jnp.ones((1, 7, 7, 64)), train=False)[0].shape
        (1, 64)
    """
    return no_params, lambda params, x: F.global_max_pool(x)


@stateless(positionwise=False)
def adaptive_avg_pool(output_size: Sizes) -> Any:
    """The mean of windows that cover the input evenly; see :func:`jaxdl.functional.adaptive_avg_pool`.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *output_size, channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> adaptive_avg_pool(7).apply({}, {}, jnp.ones((1, 17, 15, 64)), train=False)[0].shape
        (1, 7, 7, 64)
    """
    sizes("adaptive_avg_pool", "output_size", output_size)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.adaptive_avg_pool(x, output_size)

    return no_params, apply


@stateless(positionwise=False)
def adaptive_max_pool(output_size: Sizes) -> Any:
    """The largest value of windows that cover the input evenly; see :func:`jaxdl.functional.adaptive_max_pool`.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *output_size, channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> adaptive_max_pool((3, 5)).apply({}, {}, jnp.ones((1, 17, 15, 64)), train=False)[0].shape
        (1, 3, 5, 64)
    """
    sizes("adaptive_max_pool", "output_size", output_size)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.adaptive_max_pool(x, output_size)

    return no_params, apply
