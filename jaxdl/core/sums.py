"""A mean that can be added up: its total and its weight."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxdl.core.errors import bad_value
from jaxdl.core.show import function_name

Finish = Callable[[Any, Any], Any]


def ratio(total: Any, weight: Any) -> Any:
    """``total / weight``: the mean."""
    return total / weight


def count(total: Any, weight: Any) -> Any:
    """The total itself: how often something was."""
    return total


@struct.dataclass
class Sum:
    """A weighted total and its weight. Sums add up exactly over uneven batches; one division at the end gives the mean.

    What is no mean, such as the root of one, an F1 score or a confusion matrix, is a function of totals that add up:
    ``total`` may then be an array of them, and ``finish(total, weight)`` makes the figure. It is called with a weight
    that is not zero, on JAX arrays or, at the end of an epoch, on NumPy's in float64; sums of one metric must have one
    and the same ``finish``: a function of a module, or a frozen record.

    Example:
        >>> import jax.numpy as jnp
        >>> a = Sum.of(jnp.array([1.0, 2.0, 3.0]))
        >>> b = Sum.of(jnp.array([10.0, 99.0]), weight=jnp.array([1.0, 0.0]))   # the second one is masked out
        >>> float((a + b).mean())
        4.0
    """

    total: Any
    weight: Any
    finish: Finish = struct.field(pytree_node=False, default=ratio)

    @classmethod
    def of(cls, values: jax.Array, weight: jax.Array | None = None, finish: Finish = ratio) -> "Sum":
        """Add up values: ``total = Σ wᵢ vᵢ``, ``weight = Σ wᵢ``, in ``promote_types(values.dtype, float32)``.

        **Args** ``weight``: one for each example, or for each leading position of ``values`` (a mask does as well); its
        shape is a prefix of the values' shape. None counts each value once.
        """
        values = jnp.asarray(values)
        dtype = jnp.promote_types(values.dtype, jnp.float32)
        values = values.astype(dtype)
        if weight is None:
            return cls(values.sum(), jnp.asarray(values.size, dtype), finish)
        weight = spread("Sum.of", weight, values.shape, dtype)
        return cls(weighted(values, weight).sum(), weight.sum(), finish)

    def mean(self) -> jax.Array:
        """``finish(total, weight)``, the mean unless said otherwise.

        Where nothing has weight it is that of a weight of 1 and a total of 0, so that an empty batch has mean 0 and a
        zero gradient.
        """
        return self.finish(self.total, jnp.where(self.weight == 0, 1, self.weight))

    def __add__(self, other: "Sum") -> "Sum":
        if self.finish != other.finish:
            names = f"{function_name(self.finish)} and {function_name(other.finish)}"
            raise bad_value("Sum.__add__", "sums that are added must have the same finish", names)
        return Sum(self.total + other.total, self.weight + other.weight, self.finish)


def spread(call: str, weight: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """A weight for each value: ones for None, else the weights of leading positions, laid out; an error for others."""
    if weight is None:
        return jnp.ones(shape, dtype)
    weight = jnp.asarray(weight)
    if weight.shape != shape[: weight.ndim]:
        raise bad_value(call, f"weight's shape must begin the values' shape {shape}", weight)
    return jnp.broadcast_to(weight.astype(dtype).reshape(weight.shape + (1,) * (len(shape) - weight.ndim)), shape)


_CHUNK = 1 << 20
"""How many weights are added up place by place: below the 2²⁴ at which float32 can no longer add 1."""


def tally(places: jax.Array, weights: jax.Array, size: int) -> jax.Array:
    """The sum of the weights at each place from 0 to ``size − 1``: ``(size,)``. Other places are left out.

    Places are added up in chunks, so that counts go on beyond 2²⁴ in float32.
    """
    places, weights = jnp.where(places < 0, size, places).ravel(), weights.ravel()
    chunks = max(1, -(-places.size // _CHUNK))
    counts = jnp.zeros((chunks, size), weights.dtype)
    return counts.at[jnp.arange(places.size) // _CHUNK, places].add(weights, mode="drop").sum(0)


def weighted(values: jax.Array, weight: jax.Array) -> jax.Array:
    """``values · weight``. A masked value may be anything, also inf or nan: it does not reach the product.

    Its gradient is 0, which makes nan of what the value was computed by where the derivative of that is not finite.
    """
    return jnp.where(weight == 0, 0, values) * weight
