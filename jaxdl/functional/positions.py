"""Positions in a sequence: what tells attention the order of its input."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core.checks import floating, positive_int
from jaxdl.core.errors import bad_value, describe


def sinusoidal_positions(positions: jax.Array, features: int, *, base: float = 10_000.0) -> jax.Array:
    """A wave of its own frequency for each pair of features: ``sin(p / base^(2i/features))`` at feature 2i, and the
    cosine of the same at feature 2i + 1.

    Sines and cosines alternate, as in the paper (tensor2tensor puts all sines before all cosines).

    **Shapes** ``positions``: integers, ``(…) -> (…, features)``, in float64 where jax has it enabled, else in float32.

    Example:
        >>> import jax.numpy as jnp
        >>> [round(float(wave), 2) for wave in sinusoidal_positions(jnp.arange(2), 4)[1]]
        [0.84, 0.54, 0.01, 1.0]

    **References** Vaswani et al., Attention is all you need, 2017.
    """
    positive_int("sinusoidal_positions", "features", features)
    angles = _angles("sinusoidal_positions", positions, features, base)
    waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return waves.reshape(*positions.shape, 2 * angles.shape[-1])[..., :features]


def rotary(x: jax.Array, positions: jax.Array, *, base: float = 10_000.0) -> jax.Array:
    """Turn pairs of features by an angle that grows with the position, so that the product of a query and a key
    depends on their distance alone.

    Feature i and feature ``i + features/2`` make the complex number that is multiplied by
    ``exp(𝕚 p / base^(2i/features))``: the halves convention of GPT-NeoX, Llama and Flax's Gemma. RoFormer and GPT-J
    pair neighbours, 2i with 2i + 1; the two differ by a fixed permutation of the features of query and key kernel.

    **Shapes** ``x: (batch, time, heads, features)``, ``positions``: integers ``(batch, time)`` or ``(1, time)`` ``->``
    the shape of ``x``. Angles are in ``promote_types(x.dtype, float32)``.

    **Raises** ``ValueError`` for an odd number of features.

    Example:
        >>> import jax.numpy as jnp
        >>> y = rotary(jnp.ones((1, 2, 1, 2)), jnp.array([[0, 1]]))
        >>> [round(float(part), 2) for part in y[0, 1, 0]]
        [-0.3, 1.38]

    **References** Su et al., RoFormer: enhanced transformer with rotary position embedding, 2021.
    """
    floating("rotary", "input", x)
    if x.ndim != 4 or x.shape[-1] % 2:
        raise bad_value("rotary", "input must have shape (batch, time, heads, an even number of features)", x)
    if positions.ndim != 2 or positions.shape[0] not in (1, x.shape[0]) or positions.shape[1] != x.shape[1]:
        needs = f"positions must have shape (1 or {x.shape[0]}, {x.shape[1]}) for input {describe(x)}"
        raise bad_value("rotary", needs, positions)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    angles = _angles("rotary", positions, x.shape[-1], base)[:, :, None].astype(dtype)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    real, imaginary = jnp.split(x.astype(dtype), 2, axis=-1)
    return jnp.concatenate([real * cos - imaginary * sin, real * sin + imaginary * cos], axis=-1).astype(x.dtype)


def alibi_slopes(heads: int) -> np.ndarray:
    """How fast each head forgets with distance: ``2^(−8 (h + 1) / heads)`` for head h.

    Where the number of heads is no power of two, the largest power below it gives the first slopes, and every second
    one of twice that power the rest, as in the authors' code.

    **Shapes** ``-> (heads,)``, of NumPy in float64.

    Example:
        >>> alibi_slopes(4).tolist(), alibi_slopes(3).tolist()
        ([0.25, 0.0625, 0.015625, 0.00390625], [0.0625, 0.00390625, 0.25])

    **References** Press, Smith and Lewis, Train short, test long: attention with linear biases enables input length
    extrapolation, 2021.
    """
    positive_int("alibi_slopes", "heads", heads)
    power = 2 ** int(math.log2(heads))
    first = 2.0 ** (-8 * np.arange(1, power + 1) / power)
    rest = 2.0 ** (-4 * np.arange(1, 2 * power, 2) / power)
    return np.concatenate([first, rest[: heads - power]])


def alibi(heads: int, query_positions: jax.Array, key_positions: jax.Array) -> jax.Array:
    """A bias on attention's scores that falls with distance: ``−slope_h · |p_query − p_key|``; see
    :func:`alibi_slopes`.

    **Shapes** ``query_positions: (batch, time)``, ``key_positions: (batch, keys)``, integers, each with a batch or 1
    ``-> (batch, heads, time, keys)``.

    Example:
        >>> import jax.numpy as jnp
        >>> alibi(2, jnp.array([[2]]), jnp.arange(3)[None])[0, :, 0].tolist()
        [[-0.125, -0.0625, 0.0], [-0.0078125, -0.00390625, 0.0]]

    **References** Press, Smith and Lewis, Train short, test long, 2021.
    """
    for name, positions in (("query_positions", query_positions), ("key_positions", key_positions)):
        if positions.ndim != 2 or not jnp.issubdtype(positions.dtype, jnp.integer):
            raise bad_value("alibi", f"{name} must be integers of two axes, (batch, time)", positions)
    queries, keys = query_positions.astype(jnp.int32), key_positions.astype(jnp.int32)  # unsigned ones would wrap
    nearness = -jnp.abs(queries[:, None, :, None] - keys[:, None, None, :])
    slopes = jnp.asarray(alibi_slopes(heads)).reshape(1, heads, 1, 1)
    return slopes * nearness.astype(slopes.dtype)


def _angles(call: str, positions: jax.Array, features: int, base: float) -> jax.Array:
    """``p / base^(2i/features)`` for each pair i of features: (…, ⌈features / 2⌉), as wide as jax has floats."""
    if not jnp.issubdtype(positions.dtype, jnp.integer):
        raise bad_value(call, "positions must be integers", positions)
    if base <= 0:
        raise bad_value(call, "base must be positive", base)
    rates = jnp.asarray(float(base) ** (-np.arange(0, features, 2) / features))
    return positions[..., None].astype(rates.dtype) * rates.reshape((1,) * positions.ndim + rates.shape)
