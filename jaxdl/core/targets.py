"""Checks of targets against predictions: nothing is broadcast, nothing is out of range; and how losses and metrics
say what they take."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core.checks import floating
from jaxdl.core.errors import bad_type, bad_value, describe
from jaxdl.core.ragged import Ragged

F = TypeVar("F", bound=Callable[..., Any])
_REDUCES, _TAKES_RAGGED = "__reduces__", "__takes_ragged__"


def reducing(metric: F) -> F:
    """Mark a metric as one that adds up for itself: ``metric(prediction, target, weight=None) -> Sum``.

    ``weight`` is None, or one for each example or position, zero where it is masked: :func:`jaxdl.core.sums.spread`
    lays it out over the values, and :func:`jaxdl.core.sums.weighted` multiplies.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxdl import Sum
        >>> @reducing
        ... def bias(prediction, target, weight=None):
        ...     return Sum.of(prediction - target, weight)
        >>> float(bias(jnp.array([1.0, 2.0]), jnp.array([0.0, 4.0])).mean())
        -0.5
    """
    setattr(metric, _REDUCES, True)
    return metric


def takes_ragged(loss: F) -> F:
    """Mark a loss or metric as one of whole sequences: it is given a :class:`jaxdl.Ragged` as it is, and gives a value
    for each example.

    Others are given the array in it, and their values at padded positions are masked.

    Example:
        >>> import jax.numpy as jnp
        >>> @takes_ragged
        ... def last_error(prediction, target):
        ...     last = jnp.take_along_axis(prediction.x, prediction.lengths[:, None] - 1, axis=1)[:, 0]
        ...     return jnp.abs(last - target)
        >>> from jaxdl import Ragged
        >>> last_error(Ragged(jnp.array([[1.0, 2.0], [3.0, 0.0]]), jnp.array([2, 1])), jnp.array([2.0, 2.0])).tolist()
        [0.0, 1.0]
    """
    setattr(loss, _TAKES_RAGGED, True)
    return loss


def unbound(function: Any) -> Any:
    """The function under partials."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def is_reducing(metric: Any) -> bool:
    return hasattr(unbound(metric), _REDUCES)


def is_of_sequences(loss: Any) -> bool:
    return hasattr(unbound(loss), _TAKES_RAGGED)


def without_masked(target: Any, weight: Any) -> Any:
    """A data set's targets on the host, with zeros where nobody looks: where the weight is 0, and in padding.

    A weight that does not begin a target's shape masks nothing of it.
    """
    masked = None if weight is None else np.asarray(weight) == 0

    def hide(array: Any, hidden: Any) -> Any:
        if hidden is None or hidden.shape != array.shape[: hidden.ndim] or not hidden.any():
            return array
        over = np.expand_dims(hidden, tuple(range(hidden.ndim, array.ndim)))
        return np.where(over, np.zeros((), array.dtype), np.asarray(array))

    def clean(leaf: Any) -> Any:
        if not isinstance(leaf, Ragged):
            return hide(leaf, masked)
        padded = np.arange(leaf.x.shape[1])[None] >= np.asarray(leaf.lengths)[:, None]
        return Ragged(hide(hide(leaf.x, padded), masked), leaf.lengths)

    return jax.tree.map(clean, target, is_leaf=lambda leaf: isinstance(leaf, Ragged))


def as_array(target: Any) -> Any:
    """A target as an array, of NumPy unless it is one of JAX: its values stay at hand also while others are traced."""
    return target if hasattr(target, "dtype") else np.asarray(target)


def _range(labels: Any) -> tuple[Any, Any]:
    """The least and the greatest value, where the values are at hand; else two zeros, which are in every range."""
    if isinstance(labels, jax.core.Tracer) or not labels.size:
        return 0, 0
    values = np.asarray(labels)
    return values.min(), values.max()


def check_labels(call: str, logits: Any, labels: Any) -> None:
    """Raise unless the labels suit the logits: on shapes and dtypes always, on values where they are at hand."""
    if len(logits.shape) < 1 or logits.shape[-1] < 2:
        needs = "logits must have an axis of 2 or more classes, (…, classes)"
        raise bad_value(call, needs, logits, "Did you mean binary_cross_entropy?")
    needs = f"labels must be integers of shape {tuple(logits.shape[:-1])} or one-hot of shape {tuple(logits.shape)}"
    if labels.shape == logits.shape and labels.ndim:
        low, high = _range(labels)
        if low < 0 or high > 1:
            raise bad_value(call, "one-hot or soft labels must be from 0 to 1", f"labels from {low} to {high}")
        return
    if labels.shape == (*logits.shape[:-1], 1):
        raise bad_value(
            call, needs, labels, "Did you mean labels[:, 0]?" if labels.ndim == 2 else "Did you mean labels[..., 0]?"
        )
    if labels.shape != logits.shape[:-1]:
        raise bad_value(call, needs, labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise bad_value(call, needs, labels, "Did you mean labels.astype(jnp.int32)?")
    check_range(call, labels, logits.shape[-1])


def check_range(call: str, labels: Any, classes: int, excluded: int | None = None) -> None:
    """Raise for integer labels outside of 0 to ``classes − 1``, or ``excluded``, where the values are at hand.

    Of a :class:`Ragged` only the real positions count.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(labels)):
        return
    if isinstance(labels, Ragged):
        labels = np.asarray(labels.x)[np.arange(labels.x.shape[1])[None] < np.asarray(labels.lengths)[:, None]]
    low, high = _range(labels)
    if low < 0 or high >= classes:
        needs = f"labels must be from 0 to {classes - 1} for {classes} classes"
        hint = "Did you mean labels - 1?" if low == 1 and high == classes else ""
        raise bad_value(call, needs, f"labels from {low} to {high}", hint)
    if excluded is not None and (np.asarray(labels) == excluded).any():
        raise bad_value(call, f"labels must not be the blank, {excluded}", f"labels from {low} to {high}")


def classes_of(call: str, logits: jax.Array, labels: Any) -> Any:
    """The integer class of each label, whether given as such or one-hot; an error where it does not suit the logits."""
    floating(call, "logits", logits)
    labels = as_array(labels)
    check_labels(call, logits, labels)
    return labels.argmax(-1) if labels.shape == logits.shape else labels


def check_same_shape(call: str, prediction: jax.Array, target: jax.Array) -> None:
    """Raise unless a floating prediction and its target have one shape."""
    floating(call, "prediction", prediction)
    if prediction.shape == target.shape:
        return
    hint = ""
    if prediction.shape == (*target.shape, 1):
        hint = "Did you mean target[..., None]?"
    if target.shape == (*prediction.shape, 1):
        hint = "Did you mean target[..., 0]?"
    raise bad_value(call, f"target must have the prediction's shape, {describe(prediction)}", target, hint)


def wide_pair(call: str, prediction: jax.Array, target: Any) -> tuple[jax.Array, jax.Array]:
    """A prediction and a target of numbers, of one shape, both in ``promote_types(prediction.dtype, float32)``."""
    target = as_array(target)
    if not jnp.issubdtype(target.dtype, jnp.number):
        raise bad_type(call, "target must be an array of numbers", target)
    check_same_shape(call, prediction, target)
    wide = jnp.promote_types(prediction.dtype, jnp.float32)
    return prediction.astype(wide), target.astype(wide)


def absolute_error(call: str, prediction: jax.Array, target: Any) -> jax.Array:
    """``|ŷ − y|``, element by element, whose gradient at 0 is 0: ``jnp.abs`` has 1 there."""
    prediction, target = wide_pair(call, prediction, target)
    error = prediction - target
    return error * jnp.sign(error)


def wide_binary(call: str, logits: jax.Array, labels: Any) -> tuple[jax.Array, jax.Array]:
    """Logits and labels from 0 to 1, of one shape, both in ``promote_types(logits.dtype, float32)``."""
    labels = as_array(labels)
    check_same_shape(call, logits, labels)
    check_binary_labels(call, labels)
    wide = jnp.promote_types(logits.dtype, jnp.float32)
    return logits.astype(wide), labels.astype(wide)


def check_at_least_zero(call: str, target: Any) -> None:
    """Raise for negative targets, where the values are at hand."""
    low, _ = _range(target)
    if low < 0:
        raise bad_value(call, "target must be 0 or more", f"targets from {low}")


def check_binary_labels(call: str, labels: Any) -> None:
    """Raise for labels outside of [0, 1], where the values are at hand."""
    low, high = _range(labels)
    if low < 0 or high > 1:
        raise bad_value(call, "labels must be from 0 to 1", f"labels from {low} to {high}")
