"""Products with a kernel."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import stateless
from jaxdl.core.checks import positive_int
from jaxdl.functional.linear import check_dense
from jaxdl.layers.initializers import Initializer, draw, glorot_uniform, zeros


@stateless
def dense(
    features: int,
    *,
    use_bias: bool = True,
    kernel_init: Initializer = glorot_uniform,
    bias_init: Initializer = zeros,
    param_dtype: Any = jnp.float32,
) -> Any:
    """A fully connected layer, ``y = x W + b``, over the last axis; see :func:`jaxdl.functional.dense`.

    **Shapes** ``x: (…, in) -> (…, features)``. **Params** ``kernel: (in, features)``, ``bias: (features,)``.

    **Args** ``kernel_init``: Glorot uniform, as in Keras (PyTorch draws from ``U(−1/√in, 1/√in)``).

    **Raises** ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = dense(10).init(jax.random.key(0), jnp.ones((1, 784)))
        >>> params["kernel"].shape, params["bias"].shape
        ((784, 10), (10,))

    **References** Rosenblatt, The perceptron, 1958; Glorot and Bengio, Understanding the difficulty of training deep
    feedforward neural networks, 2010.
    """
    positive_int("dense", "features", features)

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        check_dense("dense", x)
        bias = {"bias": (bias_init, (features,))} if use_bias else {}
        return draw(key, param_dtype, kernel=(kernel_init, (x.shape[-1], features)), **bias)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.dense(x, params["kernel"], params.get("bias"))

    return init, apply
