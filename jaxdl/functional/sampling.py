"""Drawing from the scores of a model: temperature, and what is left out before."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core.checks import floating, positive_int
from jaxdl.core.errors import bad_value


def sample(
    key: jax.Array | None, logits: jax.Array, *, temperature: Any = 1.0, top_k: int | None = None, top_p: Any = None
) -> jax.Array:
    """An id for each row of scores, drawn with ``p = softmax(logits / temperature)`` of those that are left in.

    First the temperature, then :func:`top_k_logits`, then :func:`top_p_logits`. A temperature of 0 gives the id with
    the highest score, of equal ones the first: the limit of ever lower temperatures. Each row is drawn alone.

    **Shapes** ``logits: (…, ids) -> (…)`` of int32.

    **Args** ``key``: may be None where the temperature is the number 0. ``temperature``: below 1 it favours what is
    likely, above 1 it levels; a number, or a scalar array, which one program takes at any value. ``top_k``,
    ``top_p``: what is left in, all by default.

    **Raises** ``ValueError`` for a temperature below 0, one above it without a key, and as the two filters.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.25, 0.6, 0.15], [0.8, 0.1, 0.1]]))
        >>> sample(None, logits, temperature=0).tolist()
        [1, 0]
        >>> keys = jax.random.split(jax.random.key(0), 1000)
        >>> drawn = jax.vmap(lambda key: sample(key, logits[0], top_k=2))(keys)
        >>> print((jnp.bincount(drawn, length=3) / 1000).round(1))  # 0.25 and 0.6 of 0.85
        [0.3 0.7 0. ]

    **References** Ackley, Hinton and Sejnowski, A learning algorithm for Boltzmann machines, 1985 (temperature); Fan,
    Lewis and Dauphin, Hierarchical neural story generation, 2018; Holtzman, Buys, Du, Forbes and Choi, The curious case
    of neural text degeneration, 2019.
    """
    check_logits("sample", logits)
    greedy = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    if check_temperature("sample", temperature) == 0:
        return greedy
    if key is None:
        needs = f"a temperature of {temperature} needs a key"
        raise bad_value("sample", needs, None, "Did you mean key=jax.random.key(0), or temperature=0?")
    warm = jnp.asarray(temperature, jnp.promote_types(logits.dtype, jnp.float32))
    wide = logits.astype(warm.dtype)
    highest = wide.max(axis=-1, keepdims=True)
    # The highest is 0 first, so that no division by a low temperature overflows; a row of −∞ alone stays what it is.
    scores = (wide - jnp.where(jnp.isfinite(highest), highest, 0)) / jnp.maximum(warm, jnp.finfo(warm.dtype).tiny)
    if top_k is not None:
        scores = top_k_logits(scores, top_k)
    if top_p is not None:
        scores = top_p_logits(scores, top_p)
    return jnp.where(warm > 0, jax.random.categorical(key, scores).astype(jnp.int32), greedy)


def top_k_logits(logits: jax.Array, k: int) -> jax.Array:
    """The ``k`` highest scores of each row, and −∞ in place of the others.

    Just ``k`` are left, of equal ones the first; all are where there are no more.

    **Shapes** ``logits: (…, ids) ->`` the same.

    **Raises** ``ValueError`` for a ``k`` that is no positive int, ``TypeError`` for scores that are not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> top_k_logits(jnp.array([1.0, 4.0, 3.0, 3.0]), 2).tolist()
        [-inf, 4.0, 3.0, -inf]

    **References** Fan, Lewis and Dauphin, Hierarchical neural story generation, 2018.
    """
    check_logits("top_k_logits", logits)
    if positive_int("top_k_logits", "k", k) >= logits.shape[-1]:
        return logits
    return _left(logits, jax.lax.top_k(logits, k)[1], True)


def top_p_logits(logits: jax.Array, p: Any) -> jax.Array:
    """The highest scores of each row whose probabilities together reach ``p``, and −∞ in place of the others.

    The fewest that do, at least one; of equal ones the first. Probabilities are ``softmax(logits)``, added up in
    ``promote_types(logits.dtype, float32)``. It is also called nucleus sampling.

    **Shapes** ``logits: (…, ids) ->`` the same.

    **Args** ``p``: a number above 0 and up to 1, which leaves all, or a scalar array (traced, 0 or less leaves one).

    **Raises** ``ValueError`` for another ``p``, ``TypeError`` for scores that are not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> print(top_p_logits(jnp.log(jnp.array([0.125, 0.5, 0.25, 0.125])), 0.7).round(1))
        [-inf -0.7 -1.4 -inf]

    **References** Holtzman, Buys, Du, Forbes and Choi, The curious case of neural text degeneration, 2019.
    """
    check_logits("top_p_logits", logits)
    check_top_p("top_p_logits", "p", p)
    order = jnp.argsort(logits, axis=-1, descending=True)
    probability = jax.nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
    reached = jnp.cumsum(jnp.take_along_axis(probability, order, axis=-1), axis=-1)
    # The first stays whatever p is. What adds up to 1 may by rounding reach it too soon.
    short = jnp.pad(reached[..., :-1] < p, [(0, 0)] * (logits.ndim - 1) + [(1, 0)], constant_values=True)
    return _left(logits, order, short | (jnp.asarray(p) >= 1))


def _left(logits: jax.Array, ids: jax.Array, chosen: Any) -> jax.Array:
    """The scores of those ids that are chosen, −∞ elsewhere."""
    none = jnp.zeros(logits.shape, bool)
    return jnp.where(jnp.put_along_axis(none, ids, chosen, axis=-1, inplace=False), logits, -jnp.inf)


def check_logits(call: str, logits: Any) -> None:
    """Raise unless they are scores of at least one id along the last axis."""
    floating(call, "logits", logits)
    if not logits.shape or not logits.shape[-1]:
        raise bad_value(call, "logits must have shape (…, ids), with at least one id", logits)


def check_temperature(call: str, temperature: Any) -> float | None:
    """The temperature as a number, None for a traced one; an error unless it is a scalar, and of 0 or more."""
    needs = "temperature must be a number of 0 or more"
    number = _number(call, needs, temperature)
    if number is not None and not 0 <= number < math.inf:
        raise bad_value(call, needs, number)
    return number


def check_top_p(call: str, name: str, p: Any) -> None:
    """Raise unless it is a scalar, above 0 and up to 1 where it is not traced."""
    needs = f"{name} must be a number above 0 and up to 1"
    number = _number(call, needs, p)
    if number is not None and not 0 < number <= 1:
        raise bad_value(call, needs, number)


def _number(call: str, needs: str, value: Any) -> float | None:
    """The number that a scalar is, None for a traced one; an error for what is no scalar."""
    if hasattr(value, "dtype") and value.shape == () and jnp.issubdtype(value.dtype, jnp.number):
        if isinstance(value, jax.core.Tracer):
            return None
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad_value(call, needs, value)
    return value
