"""Products with a kernel."""

import math

import jax

from jaxdl.core.checks import floating
from jaxdl.core.errors import bad_value, describe
from jaxdl.functional.shape import along_last


def dense(x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """A fully connected layer, ``y = x W + b``, over the last axis.

    Leading axes are flattened into one before the product and restored after it: XLA on CPU transposes the operands of
    a product that contracts more than one axis, as the kernel's gradient would otherwise be.

    **Shapes** ``x: (…, in)``, ``kernel: (in, out)``, ``bias: (out,)`` ``-> (…, out)``.

    **Raises** ``ValueError`` for sizes that do not fit, ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> dense(jnp.array([[1.0, 2.0]]), jnp.array([[1.0], [10.0]]), jnp.array([0.5]))
        Array([[21.5]], dtype=float32)
    """
    check_dense("dense", x)
    if kernel.ndim != 2 or kernel.shape[0] != x.shape[-1]:
        raise bad_value("dense", f"kernel must have shape ({x.shape[-1]}, features) for input {describe(x)}", kernel)
    if bias is not None and bias.shape != kernel.shape[1:]:
        raise bad_value("dense", f"bias must have shape ({kernel.shape[1]},)", bias)
    y = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) @ kernel
    y = y.reshape(*x.shape[:-1], kernel.shape[1])
    return y if bias is None else y + along_last(bias, y.ndim)


def check_dense(call: str, x: jax.Array) -> None:
    """Raise unless ``x`` is a floating array with at least one axis."""
    floating(call, "input", x)
    if not x.shape:
        raise bad_value(call, "input must have at least one axis, (…, features)", x)
