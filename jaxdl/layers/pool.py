"""Pooling over any number of spatial axes."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxdl import functional as F
from jaxdl.core import no_params, stateless
from jaxdl.core.checks import sizes
from jaxdl.functional.window import Padding


@stateless(positionwise=False)
def max_pool(
    window: int | Sequence[int], *, strides: int | Sequence[int] | None = None, padding: Padding = "VALID"
) -> Any:
    """The largest value in each window; see :func:`jaxdl.functional.max_pool`.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *positions, channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> max_pool(2).apply({}, {}, jnp.ones((1, 28, 28, 3)), train=False)[0].shape
        (1, 14, 14, 3)
    """
    _check("max_pool", window, strides)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.max_pool(x, window, strides=strides, padding=padding)

    return no_params, apply


@stateless(positionwise=False)
def avg_pool(
    window: int | Sequence[int],
    *,
    strides: int | Sequence[int] | None = None,
    padding: Padding = "VALID",
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window; see :func:`jaxdl.functional.avg_pool`.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *positions, channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> avg_pool(2).apply({}, {}, jnp.ones((1, 28, 28, 3)), train=False)[0].shape
        (1, 14, 14, 3)
    """
    _check("avg_pool", window, strides)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.avg_pool(x, window, strides=strides, padding=padding, count_include_pad=count_include_pad)

    return no_params, apply


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


def _check(kind: str, window: Any, strides: Any) -> None:
    sizes(kind, "window", window)
    if strides is not None:
        sizes(kind, "strides", strides)
