"""Activations with parameters or choices of their own; those of :mod:`jax.nn` stand in a model as they are."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import no_params, stateless
from jaxdl.core.checks import positive_int
from jaxdl.functional.activation import check_temperature
from jaxdl.functional.linear import check_dense
from jaxdl.layers.initializers import Initializer, draw, lecun_normal, zeros


@stateless
def prelu(*, slope: float = 0.25, param_dtype: Any = jnp.float32) -> Any:
    """A ReLU that learns its slope below zero, one for each channel; see :func:`jaxdl.functional.prelu`.

    **Shapes** ``x: (…, channels) ->`` the same. **Params** ``slope: (channels,)``.

    **Args** ``slope``: where each channel starts; 0.25 as in the paper and PyTorch, between ReLU and the identity
    (Keras starts at 0; Flax at 0.01, with one slope for all).

    **Raises** ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = prelu().init(jax.random.key(0), jnp.ones((1, 2)))
        >>> prelu().apply(params, state, jnp.array([[-2.0, 3.0]]), train=False)[0].tolist()
        [[-0.5, 3.0]]

    **References** He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015.
    """

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        check_dense("prelu", x)
        return {"slope": jnp.full(x.shape[-1:], slope, param_dtype)}

    return init, lambda params, x: F.prelu(x, params["slope"])


@stateless
def maxout(
    features: int,
    pieces: int,
    *,
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal,
    bias_init: Initializer = zeros,
    param_dtype: Any = jnp.float32,
) -> Any:
    """The largest of ``pieces`` dense layers, feature by feature; see :func:`jaxdl.functional.maxout`.

    **Shapes** ``x: (…, in) -> (…, features)``. **Params** ``kernel: (in, pieces · features)``,
    ``bias: (pieces · features,)``, piece after piece.

    **Args** ``kernel_init``: normal with variance ``1 / in``, which the number of pieces does not enter: the larger of
    two such numbers keeps the mean square (the smaller one has the rest of the two).

    **Raises** ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = maxout(4, 3).init(jax.random.key(0), jnp.ones((1, 5)))
        >>> params["kernel"].shape, maxout(4, 3).apply(params, state, jnp.ones((2, 5)), train=False)[0].shape
        ((5, 12), (2, 4))

    **References** Goodfellow, Warde-Farley, Mirza, Courville and Bengio, Maxout networks, 2013.
    """
    positive_int("maxout", "features", features)
    positive_int("maxout", "pieces", pieces)
    return _dense_then(
        "maxout", pieces * features, lambda y: F.maxout(y, pieces), use_bias, kernel_init, bias_init, param_dtype
    )


@stateless
def glu(
    features: int,
    *,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.sigmoid,
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal,
    bias_init: Initializer = zeros,
    param_dtype: Any = jnp.float32,
) -> Any:
    """A gated linear unit, ``y = (x V + c) ⊙ g(x W + b)``; see :func:`jaxdl.functional.glu`.

    **Shapes** ``x: (…, in) -> (…, features)``. **Params** ``kernel: (in, 2 · features)``, V before W,
    ``bias: (2 · features,)``, c before b: one product makes both.

    **Args** ``activation``: g; the sigmoid is GLU, ``jax.nn.silu`` SwiGLU, ``jax.nn.gelu`` GEGLU, ``jax.nn.relu``
    ReGLU. ``kernel_init``: normal with variance ``1 / in``: value and gate have the variance of the input.

    **Raises** ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> swiglu = glu(4, activation=jax.nn.silu)
        >>> params, state = swiglu.init(jax.random.key(0), jnp.ones((1, 5)))
        >>> params["kernel"].shape, swiglu.apply(params, state, jnp.ones((2, 5)), train=False)[0].shape
        ((5, 8), (2, 4))

    **References** Dauphin, Fan, Auli and Grangier, Language modeling with gated convolutional networks, 2016; Shazeer,
    GLU variants improve transformer, 2020.
    """
    positive_int("glu", "features", features)
    return _dense_then(
        "glu", 2 * features, lambda y: F.glu(y, activation=activation), use_bias, kernel_init, bias_init, param_dtype
    )


@stateless
def softmax(*, temperature: float = 1.0) -> Any:
    """``softmax(x / temperature)`` over the last axis; see :func:`jaxdl.functional.softmax`.

    **Shapes** ``x: (…, classes) ->`` the same.

    **Raises** ``ValueError`` for a temperature that is not a positive number.

    Example:
        >>> import jax.numpy as jnp
        >>> softmax(temperature=1e-30).apply({}, {}, jnp.array([1.0, 3.0, 2.0]), train=False)[0].tolist()
        [0.0, 1.0, 0.0]

    **References** Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015.
    """
    check_temperature("softmax", temperature)
    return no_params, lambda params, x: F.softmax(x, temperature=temperature)


def _dense_then(
    kind: str,
    width: int,
    activate: Callable[[jax.Array], jax.Array],
    use_bias: bool,
    kernel_init: Initializer,
    bias_init: Initializer,
    dtype: Any,
) -> Any:
    """``(init, apply)`` of an activation that narrows what one dense product makes."""

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        check_dense(kind, x)
        bias = {"bias": (bias_init, (width,))} if use_bias else {}
        return draw(key, dtype, kernel=(kernel_init, (x.shape[-1], width)), **bias)

    return init, lambda params, x: activate(F.dense(x, params["kernel"], params.get("bias")))
