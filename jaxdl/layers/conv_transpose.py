"""Transposed convolution over any number of spatial axes."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import bad_value, stateless
from jaxdl.core.checks import per_axis, positive_int, window_sizes
from jaxdl.functional.conv import check_conv
from jaxdl.functional.window import Method, Padding, Sizes
from jaxdl.layers.initializers import Initializer, draw, glorot_uniform, zeros


@stateless(positionwise=False)
def conv_transpose(
    features: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    use_bias: bool = True,
    kernel_init: Initializer = glorot_uniform,
    bias_init: Initializer = zeros,
    method: Method = "auto",
    param_dtype: Any = jnp.float32,
) -> Any:
    """Transposed convolution of any rank; see :func:`jaxdl.functional.conv_transpose` for the formula and conventions.

    **Shapes** ``x: (batch, *spatial, in) -> (batch, *larger, features)``.
    **Params** ``kernel: (*kernel_size, in / groups, features)``, ``bias: (features,)``.

    **Args** ``kernel_size``: an int, for as many spatial axes as the input has, or one int for each. ``kernel_init``:
    Glorot uniform, as in Keras. ``method``: as of :func:`jaxdl.functional.conv_transpose`.

    **Raises** ``ValueError`` for an input of the wrong rank or channels, ``TypeError`` for one that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> up = conv_transpose(16, 3, strides=2, padding="SAME")
        >>> params, state = up.init(jax.random.key(0), jnp.ones((1, 7, 7, 32)))
        >>> up.apply(params, state, jnp.ones((1, 7, 7, 32)), train=False)[0].shape
        (1, 14, 14, 16)

    **References** Zeiler, Krishnan, Taylor and Fergus, Deconvolutional networks, 2010.
    """
    positive_int("conv_transpose", "features", features)
    positive_int("conv_transpose", "groups", groups)
    if features % groups:
        raise bad_value("conv_transpose", "features must be a multiple of groups", f"{features} and {groups}")
    window_sizes("conv_transpose", kernel_size=kernel_size, strides=strides, dilation=dilation)

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        check_conv("conv_transpose", x, groups)
        window = per_axis("conv_transpose", "kernel_size", kernel_size, len(x.shape) - 2)
        bias = {"bias": (bias_init, (features,))} if use_bias else {}
        return draw(key, param_dtype, kernel=(kernel_init, (*window, x.shape[-1] // groups, features)), **bias)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.conv_transpose(
            x,
            params["kernel"],
            params.get("bias"),
            strides=strides,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
            method=method,
        )

    return init, apply
