"""Products with a kernel."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import bad_type, stateless
from jaxdl.core.checks import positive_int
from jaxdl.functional.linear import check_bilinear, check_dense
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

    **Args** ``kernel_init``: Glorot uniform, as in Keras: it keeps the variance of activations and of gradients, as far
    as one number can (PyTorch draws from ``U(−1/√in, 1/√in)``, a third of the variance). Before ReLU,
    ``jax.nn.initializers.he_normal()`` makes up for the half that is cut off; before SELU, ``lecun_normal()``.

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


@stateless
def bilinear(
    features: int,
    *,
    use_bias: bool = True,
    kernel_init: Initializer = glorot_uniform,
    bias_init: Initializer = zeros,
    param_dtype: Any = jnp.float32,
) -> Any:
    """A bilinear form of two inputs for each feature, ``y = x1ᵀ W x2 + b``; see :func:`jaxdl.functional.bilinear`.

    **Shapes** a tuple of ``x1: (…, in1)`` and ``x2: (…, in2)`` ``-> (…, features)``.
    **Params** ``kernel: (in1, in2, features)``, ``bias: (features,)``.

    **Args** ``kernel_init``: Glorot uniform; its fans are ``in1 · in2``, the terms of an output, and
    ``in1 · features``, those of a gradient to ``x2`` (PyTorch draws from ``U(−1/√in1, 1/√in1)``).

    **Raises** ``TypeError`` for an input that is not a tuple of two floating arrays.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> pair = jnp.ones((2, 3)), jnp.ones((2, 4))
        >>> params, state = bilinear(5).init(jax.random.key(0), pair)
        >>> params["kernel"].shape, bilinear(5).apply(params, state, pair, train=False)[0].shape
        ((3, 4, 5), (2, 5))

    **References** Tenenbaum and Freeman, Separating style and content with bilinear models, 2000.
    """
    positive_int("bilinear", "features", features)

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        x1, x2 = _two(x)
        check_bilinear("bilinear", x1, x2)
        bias = {"bias": (bias_init, (features,))} if use_bias else {}
        return draw(key, param_dtype, kernel=(kernel_init, (x1.shape[-1], x2.shape[-1], features)), **bias)

    def apply(params: dict[str, Any], x: Any) -> jax.Array:
        return F.bilinear(*_two(x), params["kernel"], params.get("bias"))

    return init, apply


def _two(x: Any) -> tuple[Any, Any]:
    if not isinstance(x, tuple) or len(x) != 2:
        raise bad_type("bilinear", "input must be a tuple of two arrays, (x1, x2)", x)
    return x
