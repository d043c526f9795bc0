"""Checks of targets against predictions: nothing is broadcast, nothing is out of range."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core.checks import floating
from jaxdl.core.errors import bad_value, describe


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
    low, high = _range(labels)
    if low < 0 or high >= logits.shape[-1]:
        needs = f"labels must be from 0 to {logits.shape[-1] - 1} for {logits.shape[-1]} classes"
        hint = "Did you mean labels - 1?" if low == 1 and high == logits.shape[-1] else ""
        raise bad_value(call, needs, f"labels from {low} to {high}", hint)


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


def check_binary_labels(call: str, labels: Any) -> None:
    """Raise for labels outside of [0, 1], where the values are at hand."""
    low, high = _range(labels)
    if low < 0 or high > 1:
        raise bad_value(call, "labels must be from 0 to 1", f"labels from {low} to {high}")
