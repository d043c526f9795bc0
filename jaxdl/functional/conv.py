"""Convolution over any number of spatial axes, channels last."""

import functools
import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.core.checks import floating, positive_int
from jaxdl.core.errors import bad_value, describe
from jaxdl.functional.shape import along_last
from jaxdl.functional.window import Padding, Window, check_spatial, make_window

Method = Literal["auto", "lax"]

# The rule for the choice of form. On CPU, `benchmarks/lowerings.py` prints the step of a loop for each form: there the
# kernel's gradient through lax.conv costs 3 to 90 times that of patches times a product, over all shapes tried; the
# forward pass alone is as fast through lax in one and two dimensions, and up to 10 times slower in three.
PATCHES_LIMIT_BYTES = 1 << 30


def conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    method: Method = "auto",
) -> jax.Array:
    """Convolution (a cross-correlation, as everywhere in deep learning) of any rank.

    ``y[b, p, o] = Σ_t Σ_i x[b, p·stride + t·dilation − low, i] · kernel[t, i, o] + bias[o]``, zero outside of ``x``.

    **Shapes** ``x: (batch, *spatial, in)``, ``kernel: (*window, in / groups, out)``, ``bias: (out,)``
    ``-> (batch, *positions, out)``.

    **Args** ``strides``, ``dilation``: an int or one for each spatial axis. ``padding``: ``"VALID"``, ``"SAME"`` (the
    odd element at the high end, as in Keras and Flax; PyTorch has no such padding for strides above 1), an int, or a
    pair (low, high) for each axis. ``groups``: channels in as many parts that do not meet. ``method``: ``"auto"`` takes
    the fastest form for the platform, with a derivative of its own (reverse mode); ``"lax"`` is the plain
    ``lax.conv_general_dilated``, which has forward mode as well.

    **Raises** ``ValueError`` for a wrong rank or sizes that do not fit, ``TypeError`` for an input that is not
    floating.

    Example:
        >>> import jax.numpy as jnp
        >>> conv(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4))).shape
        (1, 3, 3, 4)

    **References** Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.
    """
    check_conv("conv", x, groups)
    rank = len(x.shape) - 2
    if kernel.ndim != rank + 2:
        needs = f"kernel must have shape (*window, in / groups, out) with {rank} spatial axes for input {describe(x)}"
        raise bad_value("conv", needs, kernel)
    if kernel.shape[-2] * groups != x.shape[-1]:
        needs = f"input must have {kernel.shape[-2] * groups} channels for kernel {describe(kernel)}, groups={groups}"
        raise bad_value("conv", needs, x)
    if kernel.shape[-1] % groups:
        raise bad_value("conv", f"the kernel's output channels must be a multiple of groups={groups}", kernel)
    if bias is not None and bias.shape != kernel.shape[-1:]:
        raise bad_value("conv", f"bias must have shape ({kernel.shape[-1]},)", bias)
    if method not in ("auto", "lax"):
        raise bad_value("conv", 'method must be "auto" or "lax"', repr(method))
    window = make_window("conv", x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    dtype = jnp.promote_types(x.dtype, kernel.dtype)
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    if method == "auto" and groups == 1 and _patches_bytes(x, window) <= PATCHES_LIMIT_BYTES:
        y = _conv(window, x, kernel)
    else:
        y = _lax_conv(window, groups, x, kernel)
    return y if bias is None else y + along_last(bias, y.ndim)


def check_conv(call: str, x: jax.Array, groups: int) -> None:
    """Raise unless ``x`` is a floating array ``(batch, *spatial, channels)`` whose channels divide into ``groups``."""
    floating(call, "input", x)
    check_spatial(call, x)
    if x.shape[-1] % positive_int(call, "groups", groups):
        raise bad_value(call, f"the input's channels must be a multiple of groups={groups}", x)


def _patches_bytes(x: jax.Array, window: Window) -> int:
    positions = math.prod(window.positions(x.shape[1:-1]))
    return x.shape[0] * positions * math.prod(window.size) * x.shape[-1] * x.dtype.itemsize


def _lax_conv(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    # Any letters do for the spatial axes, as long as they differ.
    axes = "0123456789"[: window.rank]
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=window.strides,
        padding=window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
    )


def _patches(window: Window, x: jax.Array) -> jax.Array:
    """The window's inputs at each position, ``(batch, *positions, taps · in)``, in the order of the kernel's axes."""
    return jnp.concatenate(list(window.taps(window.pad(x))), axis=-1)


def _rows(array: jax.Array) -> jax.Array:
    """All axes but the last as one."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _patches_conv(window: Window, x: jax.Array, kernel: jax.Array) -> jax.Array:
    patches = _patches(window, x)
    return (_rows(patches) @ _rows(kernel)).reshape(*patches.shape[:-1], kernel.shape[-1])


def _patches_gradients(window: Window, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    patches = _patches(window, x)
    dkernel = (_rows(patches).T @ _rows(dy)).reshape(kernel.shape)
    dpatches = (_rows(dy) @ _rows(kernel).T).reshape(patches.shape)
    # Each input's gradient is a sum over taps: of wide numbers, where the input is narrow.
    wide = jnp.promote_types(x.dtype, jnp.float32)
    spec = jax.ShapeDtypeStruct(x.shape, wide)
    (dx,) = jax.linear_transpose(functools.partial(_patches, window), spec)(dpatches.astype(wide))
    return dx.astype(x.dtype), dkernel


def _lax_gradients(window: Window, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.vjp(functools.partial(_lax_conv, window, 1), x, kernel)[1](dy)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv(window: Window, x: jax.Array, kernel: jax.Array) -> jax.Array:
    plain = functools.partial(_lax_conv, window, 1)
    if window.rank < 3:
        return plain(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=functools.partial(_patches_conv, window), default=plain)


def _conv_forward(window: Window, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # The same patches serve the gradient: within one program XLA builds them once.
    y = lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_patches_conv, window),
        default=functools.partial(_lax_conv, window, 1),
    )
    return y, (x, kernel)


def _conv_backward(window: Window, saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    return lax.platform_dependent(
        *saved,
        dy,
        cpu=functools.partial(_patches_gradients, window),
        default=functools.partial(_lax_gradients, window),
    )


_conv.defvjp(_conv_forward, _conv_backward)
