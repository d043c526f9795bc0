"""Products with a kernel."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.core.checks import floating
from jaxdl.core.errors import bad_value, describe
from jaxdl.core.spread import is_spread
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
    if is_spread():
        y = jnp.matmul(x, kernel)
        return y if bias is None else y + along_last(bias, y.ndim)
    y = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) @ kernel
    y = y if bias is None else y + _repeated(bias, y.shape[0])
    return y.reshape(*x.shape[:-1], kernel.shape[1])


# XLA on CPU sums rows of so many numbers column by column, far apart in memory: 256 rows of 50,000 in 141 ms of a round
# of a loop, where a product with ones takes 27; with 4,096 columns neither gains.
# `python -m benchmarks.lowerings --only bias_gradient`
WIDE_COLUMNS = 8192
MANY_NUMBERS = 1 << 21


def _repeated(bias: jax.Array, rows: int) -> jax.Array:
    """The bias for each row, to be added: one row where the sum over all is fast, else all, which XLA never makes."""
    if bias.size < WIDE_COLUMNS or rows * bias.size < MANY_NUMBERS:
        return bias[None]
    return _wide_rows(rows, bias)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _wide_rows(rows: int, bias: jax.Array) -> jax.Array:
    """The bias for each row; its gradient, the sum over the rows, is a product with a row of ones."""
    return jnp.broadcast_to(bias[None], (rows, bias.size))


@_wide_rows.defjvp
def _wide_rows_jvp(rows: int, primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    ones = jnp.ones((rows, 1), primals[0].dtype)
    return _wide_rows(rows, *primals), jnp.matmul(ones, tangents[0][None], precision=lax.Precision.HIGHEST)


def bilinear(x1: jax.Array, x2: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """A bilinear form for each feature, ``y[o] = x1ᵀ W[:, :, o] x2 + b[o]``, over the last axes of two inputs.

    Leading axes are flattened into one. The product with ``x1`` comes first, as one of two dimensions; what lies
    between is ``(batch, in2 · out)``, never ``(batch, in1, in2, out)``.

    **Shapes** ``x1: (…, in1)``, ``x2: (…, in2)`` with the same leading axes, ``kernel: (in1, in2, out)``,
    ``bias: (out,)`` ``-> (…, out)``. (PyTorch's weight is ``(out, in1, in2)``.)

    **Raises** ``ValueError`` for sizes that do not fit, ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> bilinear(jnp.array([[1.0, 2.0]]), jnp.array([[3.0]]), jnp.array([[[1.0]], [[10.0]]]))
        Array([[63.]], dtype=float32)

    **References** Tenenbaum and Freeman, Separating style and content with bilinear models, 2000.
    """
    check_bilinear("bilinear", x1, x2)
    if kernel.ndim != 3 or kernel.shape[:2] != (x1.shape[-1], x2.shape[-1]):
        needs = f"kernel must have shape ({x1.shape[-1]}, {x2.shape[-1]}, features)"
        raise bad_value("bilinear", f"{needs} for inputs {describe(x1)} and {describe(x2)}", kernel)
    if bias is not None and bias.shape != kernel.shape[2:]:
        raise bad_value("bilinear", f"bias must have shape ({kernel.shape[2]},)", bias)
    in1, in2, features = kernel.shape
    leading = x1.shape[:-1]
    rows = math.prod(leading)
    between = (x1.reshape(rows, in1) @ kernel.reshape(in1, in2 * features)).reshape(rows, in2, features)
    y = (x2.reshape(rows, 1, in2) @ between).reshape(*leading, features)
    return y if bias is None else y + along_last(bias, y.ndim)


def check_bilinear(call: str, x1: jax.Array, x2: jax.Array) -> None:
    """Raise unless both are floating arrays whose axes but the last agree."""
    for name, x in (("x1", x1), ("x2", x2)):
        floating(call, name, x)
        if not x.shape:
            raise bad_value(call, f"{name} must have at least one axis, (…, features)", x)
    if x1.shape[:-1] != x2.shape[:-1]:
        raise bad_value(call, f"x1 and x2 must have the same axes but the last, {tuple(x1.shape[:-1])}", x2)


def check_dense(call: str, x: jax.Array) -> None:
    """Raise unless ``x`` is a floating array with at least one axis."""
    floating(call, "input", x)
    if not x.shape:
        raise bad_value(call, "input must have at least one axis, (…, features)", x)
