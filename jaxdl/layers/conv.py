"""Convolution over any number of spatial axes."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import Ragged, bad_type, bad_value, layer, stateless
from jaxdl.core.checks import per_axis, positive_int, sizes, window_sizes
from jaxdl.functional.conv import PaddingMode, check_conv
from jaxdl.functional.window import Method, Padding, Sizes
from jaxdl.layers.initializers import Initializer, draw, glorot_uniform, lecun_uniform, zeros


@layer
def conv(
    features: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    padding_mode: PaddingMode = "zeros",
    dilation: Sizes = 1,
    groups: int = 1,
    use_bias: bool = True,
    kernel_init: Initializer = glorot_uniform,
    bias_init: Initializer = zeros,
    method: Method = "auto",
    param_dtype: Any = jnp.float32,
) -> Any:
    """Convolution of any rank, channels last; see :func:`jaxdl.functional.conv` for the formula and the arguments.

    **Shapes** ``x: (batch, *spatial, in) -> (batch, *positions, features)``.
    **Params** ``kernel: (*kernel_size, in / groups, features)``, ``bias: (features,)``.

    **Args** ``kernel_size``: an int, for as many spatial axes as the input has, or one int for each. ``kernel_init``:
    Glorot uniform, as in Keras. ``method``: as of :func:`jaxdl.functional.conv`.

    A :class:`jaxdl.Ragged` batch keeps its lengths, and each sequence is as if alone, zeros beside it, where a position
    has an output: with ``padding="SAME"`` or ``"CAUSAL"``, zeros as the padding and strides of 1. Otherwise it is
    refused.

    **Raises** ``ValueError`` for an input of the wrong rank or channels, ``TypeError`` for one that is not floating, or
    ragged where that is refused.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = conv(32, 3).init(jax.random.key(0), jnp.ones((1, 28, 28, 1)))
        >>> params["kernel"].shape
        (3, 3, 1, 32)

    **References** LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """
    positive_int("conv", "features", features)
    positive_int("conv", "groups", groups)
    if features % groups:
        raise bad_value("conv", "features must be a multiple of groups", f"{features} and {groups}")
    window_sizes("conv", kernel_size=kernel_size, strides=strides, dilation=dilation)
    options: dict[str, Any] = {
        "strides": strides,
        "padding": padding,
        "padding_mode": padding_mode,
        "dilation": dilation,
        "groups": groups,
    }

    steps = sizes("conv", "strides", strides)
    one_to_one = {1} == ({steps} if isinstance(steps, int) else {*steps})
    zeros_beside = isinstance(padding, str) and padding in ("SAME", "CAUSAL") and padding_mode == "zeros"
    keeps_positions = one_to_one and zeros_beside

    def array_of(x: Any) -> Any:
        if isinstance(x, Ragged) and not keeps_positions:
            hint = 'A ragged batch needs padding="SAME" or "CAUSAL", padding_mode="zeros" and strides=1'
            raise bad_type("conv", "input must be an array: this layer mixes positions", x, hint)
        return x.x if isinstance(x, Ragged) else x

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        array = array_of(x)
        check_conv("conv", array, groups)
        window = per_axis("conv", "kernel_size", kernel_size, len(array.shape) - 2)
        bias = {"bias": (bias_init, (features,))} if use_bias else {}
        return draw(key, param_dtype, kernel=(kernel_init, (*window, array.shape[-1] // groups, features)), **bias), {}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        array = array_of(x)
        if isinstance(x, Ragged):
            array = jnp.where(x.mask(array.ndim), array, 0)
        y = F.conv(array, params["kernel"], params.get("bias"), method=method, **options)
        return (Ragged(y, x.lengths) if isinstance(x, Ragged) else y), state

    return init, apply


@stateless(positionwise=False)
def depthwise_conv(
    kernel_size: Sizes,
    *,
    multiplier: int = 1,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    padding_mode: PaddingMode = "zeros",
    dilation: Sizes = 1,
    use_bias: bool = True,
    kernel_init: Initializer = lecun_uniform,
    bias_init: Initializer = zeros,
    method: Method = "auto",
    param_dtype: Any = jnp.float32,
) -> Any:
    """Convolution of each channel by itself, with ``multiplier`` kernels each; see
    :func:`jaxdl.functional.depthwise_conv`.

    **Shapes** ``x: (batch, *spatial, in) -> (batch, *positions, in · multiplier)``.
    **Params** ``kernel: (*kernel_size, 1, in · multiplier)``, ``bias: (in · multiplier,)``.

    **Args** ``kernel_init``: LeCun uniform, since an output sees one channel's window: it keeps the variance, where
    Glorot's (which Keras takes) would count the outputs of all channels. ``method``: as of
    :func:`jaxdl.functional.depthwise_conv`.

    **Raises** ``ValueError`` for an input of the wrong rank, ``TypeError`` for one that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = depthwise_conv(3, multiplier=2).init(jax.random.key(0), jnp.ones((1, 28, 28, 16)))
        >>> params["kernel"].shape
        (3, 3, 1, 32)

    **References** Sifre, Rigid-motion scattering for image classification, 2014.
    """
    positive_int("depthwise_conv", "multiplier", multiplier)
    window_sizes("depthwise_conv", kernel_size=kernel_size, strides=strides, dilation=dilation)
    options: dict[str, Any] = {
        "strides": strides,
        "padding": padding,
        "padding_mode": padding_mode,
        "dilation": dilation,
    }

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        check_conv("depthwise_conv", x, 1)
        window = per_axis("depthwise_conv", "kernel_size", kernel_size, len(x.shape) - 2)
        features = x.shape[-1] * multiplier
        bias = {"bias": (bias_init, (features,))} if use_bias else {}
        return draw(key, param_dtype, kernel=(kernel_init, (*window, 1, features)), **bias)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.depthwise_conv(x, params["kernel"], params.get("bias"), method=method, **options)

    return init, apply


@stateless(positionwise=False)
def separable_conv(
    features: int,
    kernel_size: Sizes,
    *,
    multiplier: int = 1,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    padding_mode: PaddingMode = "zeros",
    dilation: Sizes = 1,
    use_bias: bool = True,
    depthwise_init: Initializer = lecun_uniform,
    pointwise_init: Initializer = glorot_uniform,
    bias_init: Initializer = zeros,
    method: Method = "auto",
    param_dtype: Any = jnp.float32,
) -> Any:
    """Convolution of each channel by itself, then a mix of the channels; see :func:`jaxdl.functional.separable_conv`.

    **Shapes** ``x: (batch, *spatial, in) -> (batch, *positions, features)``.
    **Params** ``depthwise_kernel: (*kernel_size, 1, in · multiplier)``,
    ``pointwise_kernel: (1, …, 1, in · multiplier, features)``, ``bias: (features,)``.

    **Args** ``depthwise_init``, ``pointwise_init``: as in :func:`depthwise_conv` and :func:`conv`.
    ``method``: as of :func:`jaxdl.functional.separable_conv`.

    **Raises** ``ValueError`` for an input of the wrong rank, ``TypeError`` for one that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = separable_conv(32, 3).init(jax.random.key(0), jnp.ones((1, 28, 28, 16)))
        >>> params["depthwise_kernel"].shape, params["pointwise_kernel"].shape
        ((3, 3, 1, 16), (1, 1, 16, 32))

    **References** Chollet, Xception: deep learning with depthwise separable convolutions, 2017.
    """
    positive_int("separable_conv", "features", features)
    positive_int("separable_conv", "multiplier", multiplier)
    window_sizes("separable_conv", kernel_size=kernel_size, strides=strides, dilation=dilation)
    options: dict[str, Any] = {
        "strides": strides,
        "padding": padding,
        "padding_mode": padding_mode,
        "dilation": dilation,
    }

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        check_conv("separable_conv", x, 1)
        window = per_axis("separable_conv", "kernel_size", kernel_size, len(x.shape) - 2)
        middle = x.shape[-1] * multiplier
        bias = {"bias": (bias_init, (features,))} if use_bias else {}
        return draw(
            key,
            param_dtype,
            depthwise_kernel=(depthwise_init, (*window, 1, middle)),
            pointwise_kernel=(pointwise_init, (*(1,) * len(window), middle, features)),
            **bias,
        )

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        kernels = params["depthwise_kernel"], params["pointwise_kernel"]
        return F.separable_conv(x, *kernels, params.get("bias"), method=method, **options)

    return init, apply
