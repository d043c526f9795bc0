"""Penalties of activations: that few units are active at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core.checks import not_negative, within
from jaxdl.core.sums import spread, weighted


@dataclass(frozen=True)
class Activity:
    """``strength · measure(x, weight)``: a penalty of activations ``x: (…, units)``, where ``weight`` is None or a mask
    of leading positions. Equal to one that is made alike.
    """

    measure: Callable[[jax.Array, Any], jax.Array]
    strength: float

    def __call__(self, x: jax.Array, weight: Any = None) -> jax.Array:
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return self.strength * self.measure(x, weight)


def activity_l1(strength: float) -> Activity:
    """``strength ·`` the mean over examples and positions of ``Σ_j |h_j|``, the sum over the units of the last axis.

    Keras' ``ActivityRegularization`` divides by the examples alone.

    **Raises** ``ValueError`` for a negative strength.

    Example:
        >>> import jax.numpy as jnp
        >>> float(activity_l1(0.5)(jnp.array([[1.0, -3.0], [0.0, 2.0]])))
        1.5
    """
    return Activity(_mean_l1, not_negative("activity_l1", "strength", strength))


def activity_kl(strength: float, *, rate: float = 0.05) -> Activity:
    """``strength · Σ_j KL(ρ ‖ ρ̂_j)``, where ``ρ̂_j`` is unit j's mean over examples and positions and ρ the target
    rate: ``KL = ρ log(ρ / ρ̂) + (1 − ρ) log((1 − ρ) / (1 − ρ̂))``.

    For activations from 0 to 1, such as a sigmoid's. Means are kept off 0 and 1 by one unit of the dtype's last place.

    **Raises** ``ValueError`` for a negative strength or a rate that is not between 0 and 1.

    Example:
        >>> import jax.numpy as jnp
        >>> penalty = activity_kl(1.0, rate=0.25)
        >>> round(float(penalty(jnp.array([[0.5], [0.5]]))), 4)
        0.1308

    **References** Ng, Sparse autoencoder, 2011.
    """
    not_negative("activity_kl", "strength", strength)
    return Activity(_Rate(within("activity_kl", "rate", rate)), float(strength))


def _means(x: jax.Array, weight: Any) -> tuple[jax.Array, jax.Array]:
    """Each unit's mean over the positions that count, and whether any does."""
    weights = spread("activity penalty", weight, x.shape[:-1], x.dtype)
    count = weights.sum()
    total = weighted(x, weights[..., None]).sum(range(x.ndim - 1))
    return total / jnp.where(count == 0, 1, count), count > 0


def _mean_l1(x: jax.Array, weight: Any) -> jax.Array:
    return _means(x * jnp.sign(x), weight)[0].sum()  # jnp.abs has gradient 1 at 0


@dataclass(frozen=True)
class _Rate:
    rate: float

    def __call__(self, x: jax.Array, weight: Any) -> jax.Array:
        means, some = _means(x, weight)
        least = jnp.finfo(x.dtype).eps
        means = jnp.where(some, jnp.clip(means, least, 1 - least), self.rate)
        on, off = self.rate, 1 - self.rate
        apart = on * (jnp.log(on) - jnp.log(means)) + off * (jnp.log(off) - jnp.log1p(-means))
        return jnp.where(some, apart.sum(), 0)
