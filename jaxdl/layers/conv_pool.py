"""Convolution and the max pool after it as one layer."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import stateless
from jaxdl.core.checks import window_sizes
from jaxdl.functional.conv import PaddingMode
from jaxdl.functional.window import Method, Padding, Sizes
from jaxdl.layers.conv import conv
from jaxdl.layers.initializers import Initializer, glorot_uniform, zeros


@stateless(positionwise=False)
def conv_max_pool(
    features: int,
    kernel_size: Sizes,
    *,
    window: Sizes = 2,
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
    """:func:`conv` and :func:`max_pool` in one, for speed; see :func:`jaxdl.functional.conv_max_pool`.

    ``y = max_pool(conv(x), window)``, for a network's first layers on CPU. ReLU stands after it:
    ``sequential(conv_max_pool(32, 3), jax.nn.relu)`` is ``sequential(conv(32, 3), jax.nn.relu, max_pool(2))``.

    **Shapes** ``x: (batch, *spatial, in) -> (batch, *positions, features)``.
    **Params** as of :func:`conv`, with the same initial values: ``kernel: (*kernel_size, in / groups, features)``,
    ``bias: (features,)``.

    **Args** ``window``: the pool's. ``method``: as of :func:`jaxdl.functional.conv_max_pool`. All others as of
    :func:`conv`.

    **Raises** ``ValueError`` for an input of the wrong rank or channels, ``TypeError`` for one that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer, x = conv_max_pool(32, 3), jnp.ones((1, 28, 28, 1))
        >>> params, state = layer.init(jax.random.key(0), x)
        >>> params["kernel"].shape, layer.apply(params, state, x, train=False)[0].shape
        ((3, 3, 1, 32), (1, 13, 13, 32))

    **References** LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """
    options: dict[str, Any] = {
        "strides": strides,
        "padding": padding,
        "padding_mode": padding_mode,
        "dilation": dilation,
        "groups": groups,
    }
    inits: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "param_dtype": param_dtype}
    convolution = conv(features, kernel_size, use_bias=use_bias, **options, **inits)
    window_sizes("conv_max_pool", window=window)

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        params: dict[str, Any] = convolution.init(key, x)[0]
        return params

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.conv_max_pool(x, params["kernel"], params.get("bias"), window=window, method=method, **options)

    return init, apply
