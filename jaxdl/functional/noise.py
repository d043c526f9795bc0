"""Regularising noise."""

import jax
import jax.numpy as jnp

from jaxdl.core.checks import floating, fraction


def dropout(key: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """Set a share ``rate`` of the elements to zero, at random, and scale the rest by ``1 / (1 − rate)``.

    The expectation of each element stays what it was. ``rate`` is the share that is *dropped*.

    **Shapes** ``x`` of any shape ``->`` the same.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = dropout(jax.random.key(0), jnp.ones(1000), 0.25)
        >>> sorted(set(y.tolist())) == [0.0, 1.3333333730697632], bool(abs(y.mean() - 1) < 0.1)
        (True, True)

    **References** Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout, 2014.
    """
    floating("dropout", "input", x)
    fraction("dropout", "rate", rate)
    if rate == 0:
        return x
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0).astype(x.dtype)
