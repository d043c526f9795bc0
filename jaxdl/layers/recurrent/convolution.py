"""The LSTM whose products are convolutions."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import layer
from jaxdl.core.checks import per_axis, positive_int, window_sizes
from jaxdl.functional.recurrent.convolution import check_conv_sequence
from jaxdl.functional.window import Padding, Sizes
from jaxdl.layers.initializers import Initializer, draw, glorot_uniform
from jaxdl.layers.recurrent.reading import Outputs, array_of, check_outputs, each_gate, forget_one, orthogonal, reading


@layer
def conv_lstm(
    features: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    outputs: Outputs = "all",
    reverse: bool = False,
    use_bias: bool = True,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    bias_init: Initializer = forget_one,
    param_dtype: Any = jnp.float32,
) -> Any:
    """A convolutional LSTM over images in time, of any rank; see :func:`jaxdl.functional.conv_lstm`.

    It starts from zeros, stops at each sequence's length, and reads piece by piece as :func:`simple_rnn` does: the
    cache is (h, c).

    **Shapes** ``x: (batch, time, *spatial, in) -> (batch, time, *positions, features)``, ragged where x is, or
    ``(batch, *positions, features)``. **Params** ``kernel: (*kernel_size, in, 4 · features)``,
    ``recurrent_kernel: (*kernel_size, features, 4 · features)``, ``bias: (4 · features,)``.

    **Args** ``kernel_size``: an int, for as many spatial axes as the input has, or one int for each. ``strides``,
    ``padding``: of the input's convolution (Keras' default padding is ``VALID``); the state's keeps its size.
    ``outputs``, ``reverse`` and the initializers as in :func:`lstm`.

    **Raises** as :func:`simple_rnn`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> film = jnp.ones((2, 4, 8, 8, 1))
        >>> net = conv_lstm(16, 3, outputs="last")
        >>> params, state = net.init(jax.random.key(0), film)
        >>> net.apply(params, state, film, train=False)[0].shape
        (2, 8, 8, 16)

    **References** Shi et al., Convolutional LSTM network, 2015.
    """
    positive_int("conv_lstm", "features", features)
    window_sizes("conv_lstm", kernel_size=kernel_size, strides=strides)
    check_outputs("conv_lstm", outputs)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        shape = array_of(x).shape
        check_conv_sequence("conv_lstm", array_of(x))
        window = per_axis("conv_lstm", "kernel_size", kernel_size, len(shape) - 3)
        kernel = (each_gate(kernel_init, 4), (*window, shape[-1], 4 * features))
        recurrent_kernel = (each_gate(recurrent_init, 4), (*window, features, 4 * features))
        bias = {"bias": (bias_init, (4 * features,))} if use_bias else {}
        return draw(key, param_dtype, kernel=kernel, recurrent_kernel=recurrent_kernel, **bias), {}

    def run(params: dict[str, Any], x: jax.Array, **options: Any) -> tuple[jax.Array, Any]:
        weights = params["kernel"], params["recurrent_kernel"], params.get("bias")
        return F.conv_lstm(x, *weights, strides=strides, padding=padding, reverse=reverse, **options)

    return init, *reading("conv_lstm", run, outputs, reverse)
