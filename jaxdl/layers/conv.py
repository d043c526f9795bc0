"""Convolution over any number of spatial axes."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import bad_value, stateless
from jaxdl.core.checks import per_axis, positive_int, sizes
from jaxdl.functional.conv import check_conv
from jaxdl.functional.window import Padding
from jaxdl.layers.initializers import Initializer, draw, glorot_uniform, zeros


@stateless(positionwise=False)
def conv(
    features: int,
    kernel_size: int | Sequence[int],
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    use_bias: bool = True,
    kernel_init: Initializer = glorot_uniform,
    bias_init: Initializer = zeros,
    param_dtype: Any = jnp.float32,
) -> Any:
    """Convolution of any rank, channels last; see :func:`jaxdl.functional.conv` for the formula and the arguments.

    **Shapes** ``x: (batch, *spatial, in) -> (batch, *positions, features)``.
    **Params** ``kernel: (*kernel_size, in / groups, features)``, ``bias: (features,)``.

    **Args** ``kernel_size``: an int, for as many spatial axes as the input has, or one int for each.

    **Raises** ``ValueError`` for an input of the wrong rank or channels, ``TypeError`` for one that is not floating.

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
    for name, value in (("kernel_size", kernel_size), ("strides", strides), ("dilation", dilation)):
        sizes("conv", name, value)

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        check_conv("conv", x, groups)
        window = per_axis("conv", "kernel_size", kernel_size, len(x.shape) - 2)
        bias = {"bias": (bias_init, (features,))} if use_bias else {}
        return draw(key, param_dtype, kernel=(kernel_init, (*window, x.shape[-1] // groups, features)), **bias)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.conv(
            x,
            params["kernel"],
            params.get("bias"),
            strides=strides,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )

    return init, apply
