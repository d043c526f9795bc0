"""A mean that can be added up: its total and its weight."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxdl.core.errors import bad_value


@struct.dataclass
class Sum:
    """A weighted total and its weight. Sums add up exactly over uneven batches; one division at the end gives the mean.

    Example:
        >>> import jax.numpy as jnp
        >>> a = Sum.of(jnp.array([1.0, 2.0, 3.0]))
        >>> b = Sum.of(jnp.array([10.0, 99.0]), weight=jnp.array([1.0, 0.0]))   # the second one is masked out
        >>> float((a + b).mean())
        4.0
    """

    total: Any
    weight: Any

    @classmethod
    def of(cls, values: jax.Array, weight: jax.Array | None = None) -> "Sum":
        """Add up values: ``total = Σ wᵢ vᵢ``, ``weight = Σ wᵢ``, in ``promote_types(values.dtype, float32)``.

        **Args** ``weight``: one for each example, or for each leading position of ``values`` (a mask does as well); its
        shape is a prefix of the values' shape. None counts each value once.
        """
        values = jnp.asarray(values)
        dtype = jnp.promote_types(values.dtype, jnp.float32)
        values = values.astype(dtype)
        if weight is None:
            return cls(values.sum(), jnp.asarray(values.size, dtype))
        weight = jnp.asarray(weight)
        if weight.shape != values.shape[: weight.ndim]:
            raise bad_value("Sum.of", f"weight's shape must begin the values' shape {values.shape}", weight)
        weight = weight.astype(dtype).reshape(weight.shape + (1,) * (values.ndim - weight.ndim))
        # A masked value may be anything, also inf or nan: it must not reach the product.
        return cls((jnp.where(weight == 0, 0, values) * weight).sum(), jnp.broadcast_to(weight, values.shape).sum())

    def mean(self) -> jax.Array:
        """``total / weight``, and 0 where nothing has weight, so that an empty batch has a zero gradient."""
        return self.total / jnp.where(self.weight == 0, 1, self.weight)

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.total + other.total, self.weight + other.weight)
