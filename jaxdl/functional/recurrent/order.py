"""Sequences in their own order: turned round, and their first and last step."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core.checks import check_lengths
from jaxdl.core.errors import bad_value


def flip_sequence(x: jax.Array, lengths: Any = None) -> jax.Array:
    """Each sequence from its own last step to its first; the padding stays where it is.

    ``y[b, t] = x[b, lengths[b] − 1 − t]`` for ``t < lengths[b]``. Twice is the identity.

    **Shapes** ``x: (batch, time, …)``, ``lengths: (batch,)``, None for the whole time ``-> (batch, time, …)``.

    **Raises** ``ValueError`` for an input without a time axis, and for lengths out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> flip_sequence(jnp.array([[1, 2, 3, 0], [4, 5, 6, 7]]), lengths=[3, 4]).tolist()
        [[3, 2, 1, 0], [7, 6, 5, 4]]
    """
    _check("flip_sequence", x)
    lengths = check_lengths("flip_sequence", lengths, x)
    if lengths is None:
        return jnp.flip(x, 1)
    last, time = lengths[:, None] - 1, jnp.arange(x.shape[1])[None]
    return _rows(x, jnp.where(time <= last, last - time, time))


def first_step(x: jax.Array, lengths: Any = None) -> jax.Array:
    """The first step of each sequence; zeros for an empty one.

    **Shapes** ``x: (batch, time, …)``, ``lengths: (batch,)``, None for the whole time ``-> (batch, …)``.

    **Raises** ``ValueError`` for an input without a time axis, or without a position, and for lengths out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> first_step(jnp.array([[1, 2, 3, 0], [4, 5, 6, 7], [8, 8, 8, 8]]), lengths=[3, 4, 0]).tolist()
        [1, 4, 0]
    """
    if len(x.shape) < 2 or not x.shape[1]:
        raise bad_value("first_step", "input must have shape (batch, time, …) and a position", x)
    return _real(x[:, 0], check_lengths("first_step", lengths, x))


def last_step(x: jax.Array, lengths: Any = None) -> jax.Array:
    """The last real step of each sequence; zeros for an empty one.

    **Shapes** ``x: (batch, time, …)``, ``lengths: (batch,)``, None for the whole time ``-> (batch, …)``.

    **Raises** ``ValueError`` for an input without a time axis, and for lengths out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> last_step(jnp.array([[1, 2, 3, 0], [4, 5, 6, 7], [8, 8, 8, 8]]), lengths=[3, 4, 0]).tolist()
        [3, 7, 0]
    """
    _check("last_step", x)
    lengths = check_lengths("last_step", lengths, x)
    if not x.shape[1]:
        return jnp.zeros((x.shape[0], *x.shape[2:]), x.dtype)
    if lengths is None:
        return x[:, -1]
    return _real(_rows(x, jnp.maximum(lengths - 1, 0)[:, None])[:, 0], lengths)


def _check(call: str, x: jax.Array) -> None:
    if len(x.shape) < 2:
        raise bad_value(call, "input must have shape (batch, time, …)", x)


def _real(step: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """A step of each sequence, zeros where it is empty."""
    return step if lengths is None else jnp.where((lengths > 0).reshape(-1, *[1] * (step.ndim - 1)), step, 0)


def _rows(x: jax.Array, time: jax.Array) -> jax.Array:
    """``x[b, time[b, t]]``, whole rows at a time."""
    return x[jnp.arange(x.shape[0])[:, None], time]
