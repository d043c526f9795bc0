"""Pooling to a given number of positions."""

from collections.abc import Callable
from typing import Any

import jax

from jaxdl import functional as F
from jaxdl.core import Ragged, layer, no_params, positions, stateless
from jaxdl.core.checks import sizes
from jaxdl.functional.window import Sizes


@layer
def global_avg_pool() -> Any:
    """The mean over all spatial axes; see :func:`jaxdl.functional.global_avg_pool`.

    Of a :class:`jaxdl.Ragged` batch the padded positions do not count; a sequence of length 0 gives zeros.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, channels)``, an array also where ``x`` is ragged.

    Example:
        >>> import jax.numpy as jnp
        >>> global_avg_pool().apply({}, {}, jnp.ones((1, 7, 7, 64)), train=False)[0].shape
        (1, 64)
    """
    return _global("global_avg_pool", F.global_avg_pool)


@layer
def global_max_pool() -> Any:
    """The largest value over all spatial axes; see :func:`jaxdl.functional.global_max_pool`.

    Of a :class:`jaxdl.Ragged` batch the padded positions do not count; a sequence of length 0 gives zeros.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, channels)``, an array also where ``x`` is ragged.

    Example:
        >>> import jax.numpy as jnp
        >>> global_max_pool().apply({}, {}, jnp.ones((1, 7, 7, 64)), train=False)[0].shape
        (1, 64)
    """
    return _global("global_max_pool", F.global_max_pool)


@stateless(positionwise=False)
def adaptive_avg_pool(output_size: Sizes) -> Any:
    """The mean of windows that cover the input evenly; see :func:`jaxdl.functional.adaptive_avg_pool`.

    A ragged batch is refused: windows do not end where its sequences do. :func:`global_avg_pool` takes one.

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

    A ragged batch is refused: windows do not end where its sequences do. :func:`global_max_pool` takes one.

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


def _global(kind: str, pool: Callable[..., jax.Array]) -> Any:
    """``init`` and ``apply`` of a pool over all positions, of which the padded ones do not count."""

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, Any]]:
        where = x.mask(x.x.ndim) if isinstance(x, Ragged) else None
        return pool(positions(kind, x), where=where), state

    return init, apply
