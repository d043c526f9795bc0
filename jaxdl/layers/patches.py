"""Windows of the input as rows, and back."""

from typing import Any

import jax

from jaxdl import functional as F
from jaxdl.core import no_params, stateless
from jaxdl.core.checks import window_sizes
from jaxdl.functional.window import Padding, Sizes


@stateless(positionwise=False)
def patches(window: Sizes, *, strides: Sizes = 1, padding: Padding = "VALID", dilation: Sizes = 1) -> Any:
    """What a window sees at each position, one after the other; see :func:`jaxdl.functional.patches`.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *positions, taps · channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> patches(4, strides=4).apply({}, {}, jnp.ones((1, 32, 32, 3)), train=False)[0].shape
        (1, 8, 8, 48)
    """
    window_sizes("patches", window=window, strides=strides, dilation=dilation)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.patches(x, window, strides=strides, padding=padding, dilation=dilation)

    return no_params, apply


@stateless(positionwise=False)
def fold(window: Sizes, spatial: Sizes, *, strides: Sizes = 1, padding: Padding = "VALID", dilation: Sizes = 1) -> Any:
    """The sum of patches in their places; see :func:`jaxdl.functional.fold`.

    **Shapes** ``x: (batch, *positions, taps · channels) -> (batch, *spatial, channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> fold(4, 32, strides=4).apply({}, {}, jnp.ones((1, 8, 8, 48)), train=False)[0].shape
        (1, 32, 32, 3)
    """
    window_sizes("fold", window=window, spatial=spatial, strides=strides, dilation=dilation)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.fold(x, window, spatial, strides=strides, padding=padding, dilation=dilation)

    return no_params, apply
