"""Changes of shape."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import bad_value, no_params, stateless
from jaxdl.core.checks import is_int
from jaxdl.functional.window import check_spatial

Widths = int | Sequence[int | tuple[int, int]]


@stateless(positionwise=False)
def flatten() -> Any:
    """Join all axes but the first; see :func:`jaxdl.functional.flatten`.

    **Shapes** ``x: (batch, …) -> (batch, product of the rest)``.

    Example:
        >>> import jax.numpy as jnp
        >>> flatten().apply({}, {}, jnp.ones((2, 13, 13, 32)), train=False)[0].shape
        (2, 5408)
    """
    return no_params, lambda params, x: F.flatten(x)


@stateless(positionwise=False)
def reshape(*shape: int) -> Any:
    """Other axes for each example, as :func:`jax.numpy.reshape` makes them; the batch axis stays.

    **Shapes** ``x: (batch, …) -> (batch, *shape)``. **Args** ``shape``: sizes, of which one may be −1: what is left.

    **Raises** ``ValueError`` for an example that does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> reshape(7, 7, -1).apply({}, {}, jnp.ones((2, 98)), train=False)[0].shape
        (2, 7, 7, 2)
    """
    for size in shape:
        if not is_int(size) or size < -1:
            raise bad_value("reshape", "each size must be an int, 0 or greater, or -1", size)
    if shape.count(-1) > 1:
        raise bad_value("reshape", "at most one size may be -1", repr(shape))
    known = math.prod(size for size in shape if size != -1)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        _check_batch("reshape", x)
        size = math.prod(x.shape[1:])
        fits = known and size % known == 0 if -1 in shape else size == known
        if not fits:
            raise bad_value("reshape", f"an example must have the size of {shape}, {known}", f"{size} in {x.shape}")
        # Not left to jax.numpy, which cannot tell what is left in a batch of no examples.
        return x.reshape(x.shape[0], *(size // known if entry == -1 else entry for entry in shape))

    return no_params, apply


@stateless(positionwise=False)
def permute(*axes: int) -> Any:
    """Another order of the axes, as :func:`jax.numpy.transpose` makes it; the batch axis stays.

    **Shapes** ``x: (batch, …) ->`` axis i of the result is axis ``axes[i − 1]`` of ``x``. **Args** ``axes``: the axes
    1, 2, … of ``x`` in their new order, as in Keras.

    **Raises** ``ValueError`` unless each axis but the batch's is named once.

    Example:
        >>> import jax.numpy as jnp
        >>> permute(3, 1, 2).apply({}, {}, jnp.ones((2, 28, 30, 3)), train=False)[0].shape
        (2, 3, 28, 30)
    """
    if not all(map(is_int, axes)) or sorted(axes) != list(range(1, len(axes) + 1)):
        raise bad_value("permute", "axes must be 1, 2, … in any order, each once", repr(axes))

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        _check_batch("permute", x)
        if len(x.shape) != len(axes) + 1:
            raise bad_value("permute", f"input must have a batch axis and {len(axes)} more", x)
        return jnp.transpose(x, (0, *axes))

    return no_params, apply


@stateless(positionwise=False)
def pad(widths: Widths, *, mode: Literal["constant", "edge", "reflect", "wrap"] = "constant", value: float = 0) -> Any:
    """Make the spatial axes longer, as :func:`jax.numpy.pad` does.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *(low + spatial + high), channels)``.

    **Args** ``widths``: an int for both ends of each spatial axis, or for each axis an int or a pair (low, high).
    ``mode``: ``"constant"`` puts ``value`` there, ``"edge"`` the nearest entry (PyTorch: replicate), ``"reflect"`` the
    mirror image without the edge, ``"wrap"`` the other end (PyTorch: circular).

    **Raises** ``ValueError`` for another number of widths than spatial axes, a ``value`` with another mode than
    ``"constant"``, or such a mode over an axis without entries.

    Example:
        >>> import jax.numpy as jnp
        >>> pad((1, (0, 2))).apply({}, {}, jnp.ones((1, 4, 4, 3)), train=False)[0].shape
        (1, 6, 6, 3)
        >>> pad(2, mode="reflect").apply({}, {}, jnp.arange(3.0).reshape(1, 3, 1), train=False)[0].ravel().tolist()
        [2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0]
    """
    _check_widths("pad", widths)
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise bad_value("pad", 'mode must be "constant", "edge", "reflect" or "wrap"', repr(mode))
    if mode != "constant" and value != 0:
        raise bad_value("pad", f'value is for mode="constant": mode="{mode}" takes entries of the input', value)
    options = {"constant_values": value} if mode == "constant" else {}

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        ends = _ends("pad", widths, x)
        if mode != "constant" and any(n == 0 and any(end) for n, end in zip(x.shape[1:-1], ends, strict=True)):
            raise bad_value("pad", f'mode="{mode}" needs at least one entry along an axis that it makes longer', x)
        return jnp.pad(x, ((0, 0), *ends, (0, 0)), mode=mode, **options)

    return no_params, apply


@stateless(positionwise=False)
def crop(widths: Widths) -> Any:
    """Cut off the ends of the spatial axes: what :func:`pad` adds.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *(spatial − low − high), channels)``.

    **Args** ``widths``: an int for both ends of each spatial axis, or for each axis an int or a pair (low, high).

    **Raises** ``ValueError`` where nothing would be left.

    Example:
        >>> import jax.numpy as jnp
        >>> crop((1, (0, 2))).apply({}, {}, jnp.ones((1, 6, 6, 3)), train=False)[0].shape
        (1, 4, 4, 3)
    """
    _check_widths("crop", widths)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        ends = _ends("crop", widths, x)
        if any(low + high and low + high >= size for (low, high), size in zip(ends, x.shape[1:-1], strict=True)):
            raise bad_value("crop", f"widths {ends} must leave something of each spatial axis", x)
        kept = (slice(low, size - high) for (low, high), size in zip(ends, x.shape[1:-1], strict=True))
        return x[(slice(None), *kept, slice(None))]

    return no_params, apply


def _check_batch(kind: str, x: jax.Array) -> None:
    if not x.shape:
        raise bad_value(kind, "input must have a batch axis", x)


def _check_widths(kind: str, widths: Any) -> None:
    entries = widths if isinstance(widths, list | tuple) else (widths,)
    for entry in entries:
        pair = entry if isinstance(entry, list | tuple) and len(entry) == 2 else (entry,)
        if not all(is_int(end) and end >= 0 for end in pair):
            raise bad_value(kind, "widths must be an int, or ints and pairs (low, high), none negative", repr(widths))


def _ends(kind: str, widths: Any, x: jax.Array) -> tuple[tuple[int, int], ...]:
    """A pair (low, high) for each spatial axis."""
    check_spatial(kind, x)
    rank = len(x.shape) - 2
    entries = tuple(widths) if isinstance(widths, list | tuple) else (widths,) * rank
    if len(entries) != rank:
        raise bad_value(kind, f"widths must be an int or {rank} entries, one for each spatial axis", repr(widths))
    return tuple((entry, entry) if is_int(entry) else (entry[0], entry[1]) for entry in entries)
