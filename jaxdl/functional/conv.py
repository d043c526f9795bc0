"""Convolution over any number of spatial axes, channels last."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from jaxdl.core.checks import floating, positive_int
from jaxdl.core.errors import bad_value, describe
from jaxdl.functional.conv_plan import conv_plan
from jaxdl.functional.forms import LAX, Plan, planned
from jaxdl.functional.shape import along_last
from jaxdl.functional.window import Method, Padding, Sizes, check_spatial, make_window

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


def conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    padding_mode: PaddingMode = "zeros",
    dilation: Sizes = 1,
    groups: int = 1,
    method: Method = "auto",
) -> jax.Array:
    """Convolution (a cross-correlation, as everywhere in deep learning) of any rank.

    ``y[b, p, o] = Σ_t Σ_i x[b, p·stride + t·dilation − low, i] · kernel[t, i, o] + bias[o]``, zero outside of ``x``.

    **Shapes** ``x: (batch, *spatial, in)``, ``kernel: (*window, in / groups, out)``, ``bias: (out,)``
    ``-> (batch, *positions, out)``.

    **Args** ``strides``, ``dilation``: an int or one for each spatial axis. ``padding``: ``"VALID"``, ``"SAME"`` (the
    odd element at the high end, as in Keras and Flax; PyTorch has no such padding for strides above 1), ``"CAUSAL"``
    (one spatial axis alone, as in Keras and Flax: as many positions, none of which sees a later one), an int, or a pair
    (low, high) for each axis. ``padding_mode``, in PyTorch's words, what stands there: ``"zeros"``; ``"reflect"``, the
    input mirrored at its first and last element, which are not doubled; ``"replicate"``, those elements again;
    ``"circular"``, the other end of the input. Flax's ``"CIRCULAR"`` and ``"REFLECT"`` are ``"SAME"`` with such a mode,
    where the stride is 1. ``groups``: channels in as many parts that do not meet. ``method``: ``"auto"`` takes the
    fastest form for the platform, with a derivative of its own (reverse mode); ``"lax"`` is the plain
    ``lax.conv_general_dilated``, which has forward mode as well, but more than three spatial axes only on CPU (where
    ``"auto"`` adds up three-dimensional convolutions elsewhere).

    On CPU, ``"auto"`` filters float32 images with windows of 3 × 3 and stride 1 as Winograd did, where channels (16 or
    more) and positions are many: result and gradients are within 5e-5 of the largest entry, as against 1e-5 of the
    direct forms, which any other dtype and ``jax.default_matmul_precision("highest")`` take. What its forms make of a
    large batch they make chunk by chunk of the batch axis, so that memory stays bounded.

    **Raises** ``ValueError`` for a wrong rank or sizes that do not fit, ``TypeError`` for an input that is not
    floating.

    Example:
        >>> import jax.numpy as jnp
        >>> conv(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4))).shape
        (1, 3, 3, 4)
        >>> conv(jnp.ones((1, 5, 1)), jnp.ones((3, 1, 1)), padding="CAUSAL").ravel()
        Array([1., 2., 3., 3., 3.], dtype=float32)

    **References** Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016; Lavin and Gray, Fast
    algorithms for convolutional neural networks, 2016.
    """
    return _convolve("conv", x, kernel, bias, strides, padding, padding_mode, dilation, groups, method)


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    padding_mode: PaddingMode = "zeros",
    dilation: Sizes = 1,
    method: Method = "auto",
) -> jax.Array:
    """Convolution of each channel by itself, with ``multiplier`` kernels each: :func:`conv` with ``groups=in``.

    ``y[b, p, i·multiplier + m] = Σ_t x[b, p·stride + t·dilation − low, i] · kernel[t, 0, i·multiplier + m] + bias[…]``.
    The outputs of one input channel lie together, as in Keras, PyTorch and TensorFlow. Keras has
    ``(*window, in, multiplier)`` for a kernel, the same numbers in the same order.

    **Shapes** ``x: (batch, *spatial, in)``, ``kernel: (*window, 1, in · multiplier)``, ``bias: (in · multiplier,)``
    ``-> (batch, *positions, in · multiplier)``.

    **Args**, **Raises** as in :func:`conv`.

    Example:
        >>> import jax.numpy as jnp
        >>> depthwise_conv(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 1, 6))).shape
        (1, 3, 3, 6)

    **References** Sifre, Rigid-motion scattering for image classification, 2014.
    """
    _check_depthwise("depthwise_conv", "kernel", x, kernel)
    options = (strides, padding, padding_mode, dilation, x.shape[-1], method)
    return _convolve("depthwise_conv", x, kernel, bias, *options)


def separable_conv(
    x: jax.Array,
    depthwise_kernel: jax.Array,
    pointwise_kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    padding_mode: PaddingMode = "zeros",
    dilation: Sizes = 1,
    method: Method = "auto",
) -> jax.Array:
    """A :func:`depthwise_conv`, then a :func:`conv` with a window of 1 that mixes the channels; nothing between them.

    **Shapes** ``x: (batch, *spatial, in)``, ``depthwise_kernel: (*window, 1, in · multiplier)``,
    ``pointwise_kernel: (1, …, 1, in · multiplier, out)``, ``bias: (out,)`` ``-> (batch, *positions, out)``.

    **Args**, **Raises** as in :func:`conv`; strides, padding and dilation are the depthwise part's.

    Example:
        >>> import jax.numpy as jnp
        >>> separable_conv(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 1, 6)), jnp.ones((1, 1, 6, 4))).shape
        (1, 3, 3, 4)

    **References** Chollet, Xception: deep learning with depthwise separable convolutions, 2017.
    """
    _check_depthwise("separable_conv", "depthwise_kernel", x, depthwise_kernel)
    window, between = (1,) * (x.ndim - 2), depthwise_kernel.shape[-1]
    if pointwise_kernel.shape[:-1] != (*window, between):
        needs = f"pointwise_kernel must have shape ({', '.join(map(str, window))}, {between}, out)"
        raise bad_value("separable_conv", needs, pointwise_kernel)
    options = (strides, padding, padding_mode, dilation, x.shape[-1], method)
    middle = _convolve("separable_conv", x, depthwise_kernel, None, *options)
    return _convolve("separable_conv", middle, pointwise_kernel, bias, 1, "VALID", "zeros", 1, 1, method)


def check_conv(call: str, x: jax.Array, groups: int) -> None:
    """Raise unless ``x`` is a floating array ``(batch, *spatial, channels)`` whose channels divide into ``groups``."""
    floating(call, "input", x)
    check_spatial(call, x)
    if x.shape[-1] % positive_int(call, "groups", groups):
        raise bad_value(call, f"the input's channels must be a multiple of groups={groups}", x)


def check_kernel(
    call: str, x: jax.Array, kernel: jax.Array, bias: jax.Array | None, groups: int, method: Method
) -> None:
    """Raise unless input, kernel ``(*window, in / groups, out)`` and bias fit together."""
    check_conv(call, x, groups)
    rank = len(x.shape) - 2
    if kernel.ndim != rank + 2:
        needs = f"kernel must have shape (*window, in / groups, out) with {rank} spatial axes for input {describe(x)}"
        raise bad_value(call, needs, kernel)
    if kernel.shape[-2] * groups != x.shape[-1]:
        needs = f"input must have {kernel.shape[-2] * groups} channels for kernel {describe(kernel)}, groups={groups}"
        raise bad_value(call, needs, x)
    if kernel.shape[-1] % groups:
        raise bad_value(call, f"the kernel's output channels must be a multiple of groups={groups}", kernel)
    if bias is not None and bias.shape != kernel.shape[-1:]:
        raise bad_value(call, f"bias must have shape ({kernel.shape[-1]},)", bias)
    if method not in ("auto", "lax"):
        raise bad_value(call, 'method must be "auto" or "lax"', repr(method))


def _check_depthwise(call: str, name: str, x: jax.Array, kernel: jax.Array) -> None:
    check_conv(call, x, 1)
    if kernel.ndim != len(x.shape) or kernel.shape[-2] != 1 or kernel.shape[-1] % x.shape[-1]:
        needs = f"{name} must have shape (*window, 1, {x.shape[-1]} · multiplier) for input {describe(x)}"
        raise bad_value(call, needs, kernel)


def _convolve(
    call: str,
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    strides: Sizes,
    padding: Padding,
    padding_mode: PaddingMode,
    dilation: Sizes,
    groups: int,
    method: Method,
) -> jax.Array:
    check_kernel(call, x, kernel, bias, groups, method)
    window = make_window(call, x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    dtype = jnp.promote_types(x.dtype, kernel.dtype)
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    if padding_mode != "zeros":
        x = _pad_from_inside(call, x, window.padding, padding_mode)
        window = dataclasses.replace(window, padding=((0, 0),) * window.rank)
    plan = conv_plan(window, groups, x, kernel) if method == "auto" else Plan.everywhere(window, groups, LAX)
    y = planned(plan, x, kernel)
    return y if bias is None else y + along_last(bias, y.ndim)


_NUMPY_WORDS = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pad_from_inside(call: str, x: jax.Array, amounts: Sequence[tuple[int, int]], mode: PaddingMode) -> jax.Array:
    """Pad the spatial axes with elements of the input itself."""
    if mode not in _NUMPY_WORDS:
        raise bad_value(call, 'padding_mode must be "zeros", "reflect", "replicate" or "circular"', repr(mode))
    for n, pad in zip(x.shape[1:-1], map(max, amounts), strict=True):
        least = {"reflect": pad + 1, "replicate": 1, "circular": pad}[mode] if pad else 0
        if n < least:
            needs = f'padding_mode="{mode}" needs at least {least} elements along an axis padded by {pad}'
            raise bad_value(call, needs, f"spatial sizes {x.shape[1:-1]}")
    return jnp.pad(x, [(0, 0), *amounts, (0, 0)], mode=_NUMPY_WORDS[mode])
