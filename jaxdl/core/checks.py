"""Checks of arguments that several rooms share."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core.errors import bad_type, bad_value


def is_int(value: Any) -> bool:
    """Whether it is an integer and not a bool (``True`` is an ``int`` to Python, never to us)."""
    return hasattr(value, "__index__") and not isinstance(value, bool) and not getattr(value, "shape", ())


def positive_int(call: str, name: str, value: Any) -> int:
    """The value as an ``int``, or an error that names it."""
    if not is_int(value) or int(value) < 1:
        raise bad_value(call, f"{name} must be a positive int", value)
    return int(value)


def check_seed(call: str, seed: Any) -> int:
    """The seed as an ``int`` that a key can be made of, or an error that names it."""
    if not is_int(seed) or not 0 <= int(seed) < 2**32:
        raise bad_value(call, "seed must be an int from 0 to 2³² − 1", seed)
    return int(seed)


def fraction(call: str, name: str, value: Any) -> float:
    """The value as a float in ``[0, 1)``, or an error that names it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise bad_value(call, f"{name} must be a number from 0 up to, but not including, 1", value)
    return float(value)


def within(call: str, name: str, value: Any) -> float:
    """The value as a float in ``(0, 1)``, or an error that names it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise bad_value(call, f"{name} must be between 0 and 1", value)
    return float(value)


def positive(call: str, name: str, value: Any) -> float:
    """The value as a float above 0, or an error that names it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise bad_value(call, f"{name} must be a positive number", value)
    return float(value)


def not_negative(call: str, name: str, value: Any) -> float:
    """The value as a float of 0 or more, or an error that names it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise bad_value(call, f"{name} must be a number of 0 or more", value)
    return float(value)


def per_axis(call: str, name: str, value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """``rank`` positive ints: an int repeated, or a sequence of just that length."""
    if is_int(value):
        return (positive_int(call, name, value),) * rank
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != rank:
        raise bad_value(call, f"{name} must be an int or {rank} ints, one for each spatial axis", value)
    return tuple(positive_int(call, name, item) for item in value)


def sizes(call: str, name: str, value: int | Sequence[int]) -> int | tuple[int, ...]:
    """An int or a non-empty tuple of ints, all positive: what a constructor can check before it knows the rank."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value):
        return tuple(positive_int(call, name, item) for item in value)
    return positive_int(call, name, value)


def window_sizes(call: str, **values: int | Sequence[int] | None) -> None:
    """Raise unless each is an int or ints, all positive; None stands for a default."""
    for name, value in values.items():
        if value is not None:
            sizes(call, name, value)


def floating(call: str, name: str, x: Any) -> None:
    """Raise unless ``x`` is an array (or a spec) of a floating dtype."""
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        raise bad_type(call, f"{name} must be an array", x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        counts = any(jnp.issubdtype(x.dtype, kind) for kind in (jnp.integer, jnp.bool_))
        hint = f"Did you mean {name}.astype(jnp.float32)?" if counts else ""
        raise bad_type(call, f"{name} must be a floating array", x, hint)


def check_lengths(call: str, lengths: Any, x: Any) -> jax.Array | None:
    """The lengths of the sequences ``x: (batch, time, …)`` as an int32 array, None for none.

    Raise unless there is one for each sequence and, where their values are at hand, from 0 to the time.
    """
    if lengths is None:
        return None
    values = lengths if hasattr(lengths, "dtype") else np.asarray(lengths)
    if values.shape != x.shape[:1] or not jnp.issubdtype(values.dtype, jnp.integer):
        raise bad_value(call, f"lengths must be integers of shape {tuple(x.shape[:1])}", values)
    if not isinstance(values, jax.core.Tracer) and values.size:
        low, high = np.asarray(values).min(), np.asarray(values).max()
        if low < 0 or high > x.shape[1]:
            raise bad_value(call, f"lengths must be from 0 to the time, {x.shape[1]}", f"lengths from {low} to {high}")
    return jnp.asarray(values, jnp.int32)
