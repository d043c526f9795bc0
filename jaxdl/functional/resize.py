"""Larger and smaller grids, channels last."""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from jaxdl.core.checks import floating, per_axis
from jaxdl.core.errors import bad_value
from jaxdl.functional.window import Sizes, check_spatial

Interpolation = Literal["nearest", "linear", "cubic"]


def upsample(x: jax.Array, factor: Sizes, *, interpolation: Interpolation = "nearest") -> jax.Array:
    """Each spatial axis ``factor`` times as long, by interpolation between the elements' centres.

    Element i of the result lies at ``(i + ½) / factor − ½`` of the input. ``"nearest"`` repeats each element;
    ``"linear"`` (bilinear, trilinear) is that of PyTorch with ``align_corners=False`` and of Keras; ``"cubic"`` is
    Keys' with ``a = −½`` and weights that are scaled to a sum of 1 at the edge, as in :func:`jax.image.resize` and
    TensorFlow, where PyTorch has ``a = −¾`` and repeats the edge. Computed in ``promote_types(x.dtype, float32)``.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *(spatial · factor), channels)``.

    **Args** ``factor``: an int or one for each spatial axis.

    **Raises** ``ValueError`` for a wrong rank, factor or word, ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> upsample(jnp.array([0.0, 4.0]).reshape(1, 2, 1), 2, interpolation="linear").ravel()
        Array([0., 1., 3., 4.], dtype=float32)

    **References** Keys, Cubic convolution interpolation for digital image processing, 1981.
    """
    factors = _factors("upsample", x, factor)
    if interpolation not in ("nearest", "linear", "cubic"):
        needs = 'interpolation must be "nearest", "linear" or "cubic"'
        raise bad_value("upsample", needs, repr(interpolation))
    spatial = [n * f for n, f in zip(x.shape[1:-1], factors, strict=True)]
    shape = (x.shape[0], *spatial, x.shape[-1])
    if interpolation == "nearest":
        # The gradient of a broadcast is a sum; that of jax.image.resize here would be a scatter.
        return jnp.broadcast_to(jnp.expand_dims(x, _within(len(factors))), _split(x.shape, factors)).reshape(shape)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return jax.image.resize(wide, shape, interpolation).astype(x.dtype)


def pixel_shuffle(x: jax.Array, factor: Sizes) -> jax.Array:
    """Channels laid out in space: each element becomes a block of ``factor`` along every axis.

    ``y[b, p·factor + r, c] = x[b, p, c·Π factor + r]``, the offsets r within a block counted row by row. The channels'
    order is that of ``torch.nn.PixelShuffle`` (whose layout is channels first); ``tf.nn.depth_to_space`` has
    ``r·channels + c``.

    **Shapes** ``x: (batch, *spatial, channels · Π factor) -> (batch, *(spatial · factor), channels)``.

    **Args** ``factor``: an int or one for each spatial axis.

    **Raises** ``ValueError`` for a wrong rank or channels that are no multiple of ``Π factor``, ``TypeError`` for an
    input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> pixel_shuffle(jnp.arange(4.0).reshape(1, 1, 1, 4), 2)[0, :, :, 0]
        Array([[0., 1.],
               [2., 3.]], dtype=float32)

    **References** Shi et al., Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network, 2016.
    """
    factors = _factors("pixel_shuffle", x, factor)
    rank, block = len(factors), math.prod(factors)
    if x.shape[-1] % block:
        raise bad_value("pixel_shuffle", f"the input's channels must be a multiple of {block}, the block's size", x)
    channels = x.shape[-1] // block
    parts = x.reshape(*x.shape[:-1], channels, *factors)
    order = [0, *(axis for i in range(rank) for axis in (1 + i, rank + 2 + i)), rank + 1]
    spatial = [n * f for n, f in zip(x.shape[1:-1], factors, strict=True)]
    return parts.transpose(order).reshape(x.shape[0], *spatial, channels)


def pixel_unshuffle(x: jax.Array, factor: Sizes) -> jax.Array:
    """The inverse of :func:`pixel_shuffle`: blocks of space laid out in the channels, without loss.

    **Shapes** ``x: (batch, *(spatial · factor), channels) -> (batch, *spatial, channels · Π factor)``.

    **Args** ``factor``: an int or one for each spatial axis.

    **Raises** ``ValueError`` for a wrong rank or spatial sizes that are no multiples of ``factor``, ``TypeError`` for
    an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> pixel_unshuffle(jnp.ones((1, 8, 6, 3)), 2).shape
        (1, 4, 3, 12)
    """
    factors = _factors("pixel_unshuffle", x, factor)
    if any(n % f for n, f in zip(x.shape[1:-1], factors, strict=True)):
        raise bad_value("pixel_unshuffle", f"the spatial sizes must be multiples of {factors}", x)
    rank, spatial = len(factors), [n // f for n, f in zip(x.shape[1:-1], factors, strict=True)]
    parts = x.reshape(_split((x.shape[0], *spatial, x.shape[-1]), factors))
    order = [0, *range(1, 2 * rank, 2), 2 * rank + 1, *_within(rank)]
    return parts.transpose(order).reshape(x.shape[0], *spatial, x.shape[-1] * math.prod(factors))


def _factors(call: str, x: jax.Array, factor: Sizes) -> tuple[int, ...]:
    floating(call, "input", x)
    check_spatial(call, x)
    return per_axis(call, "factor", factor, len(x.shape) - 2)


def _within(rank: int) -> tuple[int, ...]:
    """The axes within blocks, where each follows the axis that counts the blocks."""
    return tuple(range(2, 2 * rank + 1, 2))


def _split(shape: tuple[int, ...], factors: tuple[int, ...]) -> tuple[int, ...]:
    """``(batch, blocks, block, blocks, block, …, channels)``."""
    pairs = zip(shape[1:-1], factors, strict=True)
    return (shape[0], *(size for pair in pairs for size in pair), shape[-1])
