"""Transposed convolution over any number of spatial axes, channels last."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.core.checks import is_int, per_axis
from jaxdl.core.errors import bad_value
from jaxdl.functional.conv import check_kernel
from jaxdl.functional.forms import Form, Pair, Plan, by_group, by_images, fits, planned, rows
from jaxdl.functional.shape import along_last
from jaxdl.functional.window import SLICES_LIMIT, Method, Padding, Sizes, Window, pad_amounts


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    method: Method = "auto",
) -> jax.Array:
    """Transposed convolution (fractionally strided; not an inverse) of any rank: each input stamps the kernel.

    ``y[b, p·stride + t·dilation − low, o] += Σ_i x[b, p, i] · kernel[t, i, o]``, then ``bias[o]`` everywhere. It is the
    transpose of the :func:`conv` with the same arguments from ``y``'s sizes to ``x``'s.

    **Shapes** ``x: (batch, *spatial, in)``, ``kernel: (*window, in / groups, out)``, ``bias: (out,)`` ``-> (batch,
    *larger, out)``; an axis of n becomes ``(n − 1)·stride + (window − 1)·dilation + 1 − low − high + output_padding``.

    **Args** ``padding``: how much of the stamped array to cut off: ``"VALID"`` nothing; ``"SAME"`` so much that
    ``n·stride`` remain, the odd element at the high end; an int; or pairs (low, high). ``output_padding``: how much to
    give back (or to add, beyond the last stamp) at the high end, an int or one for each axis. The rest as in
    :func:`conv`.

    Where libraries differ: the kernel is not flipped, as in PyTorch and Keras; Flax's ``ConvTranspose`` wants it
    flipped along the window. Keras' kernel is ``(*window, out, in)``, PyTorch's ``(in, out / groups, *window)``.
    ``"SAME"`` is that of Keras and Flax. ``"VALID"`` is PyTorch's ``padding=0``: Keras and Flax add
    ``stride − window`` zeros where the stride is the larger, here ``output_padding=stride − window``.

    **Raises** ``ValueError`` for a wrong rank or sizes that do not fit, ``TypeError`` for an input that is not
    floating.

    Example:
        >>> import jax.numpy as jnp
        >>> conv_transpose(jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 8)), strides=2, padding="SAME").shape
        (1, 8, 8, 8)
        >>> conv_transpose(jnp.array([1.0, 10.0]).reshape(1, 2, 1), jnp.arange(1.0, 4.0).reshape(3, 1, 1)).ravel()
        Array([ 1., 12., 23., 30.], dtype=float32)

    **References** Zeiler, Krishnan, Taylor and Fergus, Deconvolutional networks, 2010; Dumoulin and Visin, A guide to
    convolution arithmetic for deep learning, 2016.
    """
    check_kernel("conv_transpose", x, kernel, bias, groups, method)
    window = _window(x.shape[1:-1], kernel.shape[:-2], strides, padding, output_padding, dilation)
    dtype = jnp.promote_types(x.dtype, kernel.dtype)
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    plan = _plan(window, groups, x, kernel.shape[-1]) if method == "auto" else Plan.everywhere(window, groups, LAX)
    y = planned(plan, x, kernel)
    return y if bias is None else y + along_last(bias, y.ndim)


def _plan(window: Window, groups: int, x: jax.Array, features: int) -> Plan:
    """The rule for the choice of form.

    On CPU, ``python -m benchmarks.lowerings --only conv_transpose`` prints each beside lax, whose gradients are many
    times slower in every row, and whose vmapped form is slow, as XLA sees groups in it. XLA's convolution stays where
    stamps would be many slices, and where those of one image would not fit.
    """
    elsewhere = LAX if window.rank <= 3 else STAMPS  # cuDNN convolves at most three axes
    if not all(x.shape[1:-1]):
        return Plan.everywhere(window, groups, LAX)
    many = math.prod(window.size) > SLICES_LIMIT and not window.apart
    if many or not fits(_stamps_bytes(window, x, features)):
        return Plan(window, groups, LAX, LAX, elsewhere)
    return Plan(window, groups, STAMPS, STAMPS, elsewhere)


def _window(
    spatial: Sequence[int],
    size: tuple[int, ...],
    strides: Sizes,
    padding: Padding,
    output_padding: Sizes,
    dilation: Sizes,
) -> Window:
    """The window of the convolution that leads from the result's sizes back to ``spatial``.

    Its padding at the high end is less by ``output_padding``, and below zero where that is the larger.
    """
    call, rank = "conv_transpose", len(spatial)
    size = per_axis(call, "kernel_size", size, rank)
    steps = per_axis(call, "strides", strides, rank)
    spread = per_axis(call, "dilation", dilation, rank)
    more = _amounts(output_padding, rank)
    reach = tuple((k - 1) * d + 1 for k, d in zip(size, spread, strict=True))
    word = padding if isinstance(padding, str) else ""
    if word == "CAUSAL":
        needs = 'padding must be "VALID", "SAME", an int or pairs (low, high)'
        raise bad_value(call, needs, repr(padding), 'Did you mean "SAME", or ((0, high),)?')
    whole = [n * s for n, s in zip(spatial, steps, strict=True)]
    cut = pad_amounts(call, padding, whole, reach, steps)
    if word == "SAME":  # n · stride positions, also where the windows leave gaps between them
        more = tuple(m + max(s - r, 0) for m, s, r in zip(more, steps, reach, strict=True))
    window = Window(size, steps, tuple((low, high - m) for (low, high), m in zip(cut, more, strict=True)), spread)
    result = sizes_after(window, spatial)
    if any(n and m < 1 for n, m in zip(spatial, result, strict=True)):
        raise bad_value(call, "the padding must leave something of the result", f"sizes {result} with padding {cut}")
    return window


def _amounts(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """``rank`` ints of 0 or more."""
    amounts: tuple[Any, ...] = tuple(value) if isinstance(value, Sequence) else (value,) * rank
    if len(amounts) != rank or not all(is_int(n) and n >= 0 for n in amounts):
        needs = f"output_padding must be an int of 0 or more, or {rank} of them, one for each spatial axis"
        raise bad_value("conv_transpose", needs, repr(value))
    return tuple(map(int, amounts))


def sizes_after(window: Window, spatial: Sequence[int]) -> tuple[int, ...]:
    """The sizes of the array that the window has these positions over."""
    ends = zip(spatial, window.reach, window.strides, window.padding, strict=True)
    return tuple(max((n - 1) * s + r - low - high, 0) for n, r, s, (low, high) in ends)


def _lax_transpose(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """XLA's convolution of the input with gaps, with the flipped kernel."""
    if not all(x.shape[1:-1]):  # To XLA, an axis of nothing has as many gaps as one of one element.
        return jnp.zeros((x.shape[0], *sizes_after(window, x.shape[1:-1]), kernel.shape[-1]), x.dtype)
    axes = "0123456789"[: window.rank]
    return lax.conv_general_dilated(
        x,
        jnp.flip(kernel, range(window.rank)),
        window_strides=(1,) * window.rank,
        padding=[(r - 1 - low, r - 1 - high) for r, (low, high) in zip(window.reach, window.padding, strict=True)],
        lhs_dilation=window.strides,
        rhs_dilation=window.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
    )


def _stamps_bytes(window: Window, x: jax.Array, features: int) -> int:
    """How many bytes the stamps of one image are, which are wide."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return math.prod(x.shape[1:-1]) * math.prod(window.size) * features * wide.itemsize


def _stamps(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """All stamps as one product, then each in its place; wide until they are summed."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    spatial = sizes_after(window, x.shape[1:-1])

    def one(x: jax.Array, kernel: jax.Array) -> jax.Array:
        side = jnp.moveaxis(kernel, -2, 0)
        stamps = rows(x) @ side.reshape(x.shape[-1], math.prod(side.shape[1:]))
        return window.fold(stamps.reshape(*x.shape[:-1], stamps.shape[-1]), spatial)

    def some(x: jax.Array) -> tuple[jax.Array, tuple[()]]:
        return by_group(one, groups, x.astype(wide), kernel.astype(wide)).astype(x.dtype), ()

    return by_images(some, _stamps_bytes(window, x, kernel.shape[-1]), x)[0]


def _stamps_gradients(window: Window, groups: int, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
    """The gradients of :func:`_stamps`: patches of ``dy`` times the kernel, and times the input."""
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def one(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
        side = kernel.swapaxes(-1, -2)
        patches = rows(window.patches(dy))
        dside = (patches.T @ rows(x)).reshape(side.shape)
        return (patches @ rows(side)).reshape(x.shape), dside.swapaxes(-1, -2).astype(wide)

    made = _stamps_bytes(window, x, kernel.shape[-1])  # patches of dy, as many as the stamps
    dx, dkernel = by_images(lambda x, dy: by_group(one, groups, x, kernel, dy), made, x, dy)
    return dx, dkernel.astype(kernel.dtype)


LAX = Form(_lax_transpose)
STAMPS = Form(_stamps, _stamps_gradients)
