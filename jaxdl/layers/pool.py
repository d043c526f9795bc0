"""Pooling over any number of spatial axes."""

from typing import Any

import jax

from jaxdl import functional as F
from jaxdl.core import no_params, stateless
from jaxdl.core.checks import window_sizes
from jaxdl.functional.window import Method, Padding, Sizes


@stateless(positionwise=False)
def max_pool(
    window: Sizes,
    *,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    dilation: Sizes = 1,
    method: Method = "auto",
) -> Any:
    """The largest value in each window; see :func:`jaxdl.functional.max_pool`, also for ``method``.

    A ragged batch is refused: windows do not end where its sequences do. :func:`global_max_pool` takes one.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *positions, channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> max_pool(2).apply({}, {}, jnp.ones((1, 28, 28, 3)), train=False)[0].shape
        (1, 14, 14, 3)
    """
    window_sizes("max_pool", window=window, strides=strides, dilation=dilation)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.max_pool(x, window, strides=strides, padding=padding, dilation=dilation, method=method)

    return no_params, apply


@stateless(positionwise=False)
def avg_pool(
    window: Sizes,
    *,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    dilation: Sizes = 1,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window; see :func:`jaxdl.functional.avg_pool`.

    A ragged batch is refused: windows do not end where its sequences do. :func:`global_avg_pool` takes one.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *positions, channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> avg_pool(2).apply({}, {}, jnp.ones((1, 28, 28, 3)), train=False)[0].shape
        (1, 14, 14, 3)
    """
    window_sizes("avg_pool", window=window, strides=strides, dilation=dilation)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation}
        return F.avg_pool(x, window, **options, count_include_pad=count_include_pad)

    return no_params, apply
