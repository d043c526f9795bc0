"""Activations with parameters or another shape, and softmax with a temperature; :mod:`jax.nn` has the others."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.core.checks import floating, positive_int
from jaxdl.core.errors import bad_value, describe
from jaxdl.functional.shape import along_last


def prelu(x: jax.Array, slope: jax.Array) -> jax.Array:
    """A ReLU that learns its slope below zero, one for each channel: ``y = x`` where ``x > 0``, else ``slope · x``.

    **Shapes** ``x: (…, channels)``, ``slope: (channels,)`` ``->`` the shape of ``x``.

    **Raises** ``ValueError`` unless there is a slope for each channel.

    Example:
        >>> import jax.numpy as jnp
        >>> prelu(jnp.array([[-2.0, -2.0], [3.0, 3.0]]), jnp.array([0.25, 0.5])).tolist()
        [[-0.5, -1.0], [3.0, 3.0]]

    **References** He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015.
    """
    floating("prelu", "input", x)
    if not x.shape or slope.shape != x.shape[-1:]:
        raise bad_value("prelu", f"slope must have one entry for each channel of input {describe(x)}", slope)
    return jnp.where(x > 0, x, along_last(slope, x.ndim) * x)


def maxout(x: jax.Array, pieces: int) -> jax.Array:
    """The largest of ``pieces`` numbers for each feature, ``y[…, f] = max_p x[…, p · features + f]``.

    Equal largest pieces share the gradient.

    **Shapes** ``x: (…, pieces · features) -> (…, features)``.

    **Raises** ``ValueError`` unless the last axis is a multiple of ``pieces``.

    Example:
        >>> import jax.numpy as jnp
        >>> maxout(jnp.array([[1.0, 5.0, 3.0, 4.0]]), 2).tolist()
        [[3.0, 5.0]]

    **References** Goodfellow, Warde-Farley, Mirza, Courville and Bengio, Maxout networks, 2013.
    """
    _check_parts("maxout", x, positive_int("maxout", "pieces", pieces))
    return x.reshape(*x.shape[:-1], pieces, x.shape[-1] // pieces).max(-2)


def glu(x: jax.Array, *, activation: Callable[[jax.Array], jax.Array] = jax.nn.sigmoid) -> jax.Array:
    """A gated linear unit: the first half of the channels times the activation of the second, ``y = a ⊙ g(b)``.

    The sigmoid makes it the GLU of :func:`jax.nn.glu`; ``jax.nn.silu`` SwiGLU, ``jax.nn.gelu`` GEGLU, ``jax.nn.relu``
    ReGLU.

    **Shapes** ``x: (…, 2 · features) -> (…, features)``.

    **Raises** ``ValueError`` unless the last axis is even.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> glu(jnp.array([[2.0, 3.0, 0.0, 1.0]]), activation=jax.nn.relu).tolist()
        [[0.0, 3.0]]

    **References** Dauphin, Fan, Auli and Grangier, Language modeling with gated convolutional networks, 2016; Shazeer,
    GLU variants improve transformer, 2020.
    """
    _check_parts("glu", x, 2)
    value, gate = jnp.split(x, 2, axis=-1)
    return value * activation(gate)


def softmax(x: jax.Array, *, temperature: float | jax.Array = 1.0) -> jax.Array:
    """``softmax(x / T)`` over the last axis: above 1 the temperature evens out, below 1 it sharpens.

    The largest entry is taken off before the division, in ``promote_types(x.dtype, float32)``: towards ``T = 0`` the
    result is finite and goes to one for the largest entry (or is shared among equal ones).

    **Shapes** ``x: (…, classes) ->`` the same. **Args** ``temperature``: a positive number or scalar array. One that is
    traced (a schedule's) cannot be looked at: below the least normal number of the dtype it counts as that.

    **Raises** ``ValueError`` for a temperature that is not a positive number.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([1.0, 2.0, 4.0])
        >>> bool(softmax(x, temperature=2.0)[2] < softmax(x)[2])
        True
        >>> softmax(x, temperature=1e-30).tolist()
        [0.0, 0.0, 1.0]

    **References** Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015.
    """
    floating("softmax", "input", x)
    if not x.shape:
        raise bad_value("softmax", "input must have a class axis, (…, classes)", x)
    check_temperature("softmax", temperature)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    below = wide - lax.stop_gradient(wide.max(-1, keepdims=True, initial=-jnp.inf))
    # Below the least normal number XLA may take it for zero, and the largest entry's 0 / 0 would be NaN.
    divisor = jnp.maximum(jnp.asarray(temperature, wide.dtype), jnp.finfo(wide.dtype).tiny)
    return jax.nn.softmax(below / divisor, axis=-1).astype(x.dtype)


def check_temperature(call: str, temperature: float | jax.Array) -> None:
    """Raise unless it is a scalar, and a positive one where its value is at hand."""
    traced = isinstance(temperature, jax.core.Tracer)
    value: Any = temperature if traced else np.asarray(temperature)
    number = jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)
    if value.shape or not number or not (traced or value > 0):
        got = temperature if traced or value.shape else value.item()
        raise bad_value(call, "temperature must be a positive number or a scalar array", got)


def _check_parts(call: str, x: jax.Array, parts: int) -> None:
    floating(call, "input", x)
    if not x.shape or x.shape[-1] % parts:
        raise bad_value(call, f"the input's last axis must be a multiple of {parts}", x)
