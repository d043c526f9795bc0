"""Sequences of different length in one array."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Ragged:
    """A batch of sequences of different length, padded on the right.

    A padded position changes no result, no gradient and no statistic. Layers that act on each position map over ``x``
    and keep ``lengths``. What is given as padding must be finite: a product multiplies it by a gradient of zero.

    **Shapes** ``x: (batch, time, …)``, ``lengths: (batch,)`` of integers from 0 to ``time``.

    Example:
        >>> import jax.numpy as jnp
        >>> words = Ragged(jnp.array([[5, 7, 0], [3, 0, 0]]), lengths=jnp.array([2, 1]))
        >>> words.mask().astype(int).tolist()
        [[1, 1, 0], [1, 0, 0]]
    """

    x: Any
    lengths: Any

    def mask(self, ndim: int = 2) -> jax.Array:
        """True where a position is real: ``(batch, time)``, then axes of size 1 up to ``ndim`` in all."""
        real = jnp.arange(self.x.shape[1])[None] < jnp.asarray(self.lengths)[:, None]
        return real.reshape(*real.shape, *(1,) * (ndim - 2))
