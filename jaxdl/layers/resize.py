"""Larger and smaller grids."""

from typing import Any

import jax

from jaxdl import functional as F
from jaxdl.core import no_params, stateless
from jaxdl.core.checks import sizes
from jaxdl.functional.resize import Interpolation
from jaxdl.functional.window import Sizes


@stateless(positionwise=False)
def upsample(factor: Sizes, *, interpolation: Interpolation = "nearest") -> Any:
    """Each spatial axis ``factor`` times as long; see :func:`jaxdl.functional.upsample`.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *(spatial · factor), channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> upsample(2, interpolation="linear").apply({}, {}, jnp.ones((1, 7, 7, 8)), train=False)[0].shape
        (1, 14, 14, 8)
    """
    sizes("upsample", "factor", factor)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.upsample(x, factor, interpolation=interpolation)

    return no_params, apply


@stateless(positionwise=False)
def pixel_shuffle(factor: Sizes) -> Any:
    """Channels laid out in space; see :func:`jaxdl.functional.pixel_shuffle`.

    **Shapes** ``x: (batch, *spatial, channels · Π factor) -> (batch, *(spatial · factor), channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> pixel_shuffle(2).apply({}, {}, jnp.ones((1, 7, 7, 12)), train=False)[0].shape
        (1, 14, 14, 3)
    """
    sizes("pixel_shuffle", "factor", factor)
    return no_params, lambda params, x: F.pixel_shuffle(x, factor)


@stateless(positionwise=False)
def pixel_unshuffle(factor: Sizes) -> Any:
    """Blocks of space laid out in the channels; see :func:`jaxdl.functional.pixel_unshuffle`.

    **Shapes** ``x: (batch, *(spatial · factor), channels) -> (batch, *spatial, channels · Π factor)``.

    Example:
        >>> import jax.numpy as jnp
        >>> pixel_unshuffle(2).apply({}, {}, jnp.ones((1, 14, 14, 3)), train=False)[0].shape
        (1, 7, 7, 12)
    """
    sizes("pixel_unshuffle", "factor", factor)
    return no_params, lambda params, x: F.pixel_unshuffle(x, factor)
