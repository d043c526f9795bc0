"""Losses of overlap, one value for each example."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core import Ragged, bad_value
from jaxdl.core.checks import floating, not_negative
from jaxdl.core.targets import as_array, check_labels, takes_ragged, wide_binary


@takes_ragged
def dice(logits: Any, labels: Any, *, smooth: float = 1.0) -> jax.Array:
    """Dice loss of classes, ``1 − (2 Σ p t + s) / (Σ p + Σ t + s)`` with ``p = softmax(z)``: sums over an example's
    positions, mean over the classes.

    Other than cross entropy it does not let a large background outweigh a small object.

    **Shapes** ``logits: (batch, …, classes)``; ``labels``: integers ``(batch, …)``, or one-hot or soft as the logits
    ``-> (batch,)``. Either may be a :class:`jaxdl.Ragged`: its padded positions count nothing.

    **Args** ``smooth``: s, which gives a class that is neither there nor predicted a loss of 0.

    **Raises** ``ValueError`` for labels of another shape or (outside of ``jit``) out of range, or a negative
    ``smooth``.

    Example:
        >>> import jax.numpy as jnp
        >>> sure = 50 * jnp.eye(2)[jnp.array([[0, 0, 1, 1]])]
        >>> dice(sure, jnp.array([[0, 0, 1, 1]])), dice(sure, jnp.array([[0, 1, 1, 1]]), smooth=0.0).round(4)
        (Array([0.], dtype=float32), Array([0.2667], dtype=float32))

    **References** Milletari, Navab and Ahmadi, V-Net, 2016.
    """
    not_negative("dice", "smooth", smooth)
    logits, labels, real = _unpadded("dice", logits, labels)
    if logits.ndim < 2:
        raise bad_value("dice", "logits must be (batch, …, classes)", logits)
    check_labels("dice", logits, labels)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    if labels.shape != logits.shape:
        labels = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return _overlap(jax.nn.softmax(logits), labels, smooth, real)


@takes_ragged
def binary_dice(logits: Any, labels: Any, *, smooth: float = 1.0) -> jax.Array:
    """Dice loss of one class, ``1 − (2 Σ p y + s) / (Σ p + Σ y + s)`` with ``p = σ(z)``: sums over all of an example.

    **Shapes** ``logits``, ``labels``: ``(batch, …)`` alike, labels from 0 to 1 ``-> (batch,)``. Either may be a
    :class:`jaxdl.Ragged`: its padded positions count nothing.

    **Args** ``smooth``: s, which gives an example without the class, in labels and prediction, a loss of 0.

    **Raises** ``ValueError`` for unlike shapes, labels out of range (outside of ``jit``), or a negative ``smooth``.

    Example:
        >>> import jax.numpy as jnp
        >>> binary_dice(jnp.array([[50.0, 50.0, -50.0, -50.0]]), jnp.array([[1, 0, 0, 0]]), smooth=0.0).round(4)
        Array([0.3333], dtype=float32)

    **References** Milletari, Navab and Ahmadi, V-Net, 2016.
    """
    not_negative("binary_dice", "smooth", smooth)
    logits, labels, real = _unpadded("binary_dice", logits, labels)
    logits, labels = wide_binary("binary_dice", logits, labels)
    if not logits.ndim:
        raise bad_value("binary_dice", "logits must be (batch, …)", logits)
    return _overlap(jax.nn.sigmoid(logits)[..., None], labels[..., None], smooth, real)


def _unpadded(call: str, logits: Any, labels: Any) -> tuple[jax.Array, Any, jax.Array | None]:
    """The arrays, with zeros in the padding of a ragged batch, and its mask: None where all is real."""
    ragged = next((x for x in (logits, labels) if isinstance(x, Ragged)), None)
    logits, labels = (x.x if isinstance(x, Ragged) else x for x in (logits, labels))
    floating(call, "logits", logits)
    labels = as_array(labels)
    if ragged is None:
        return logits, labels, None
    real = ragged.mask()
    if not logits.shape[:2] == labels.shape[:2] == real.shape:
        needs = f"logits and labels must both begin with the shape {real.shape} of the ragged one"
        raise bad_value(call, needs, (logits, labels))
    return _masked(logits, real), _masked(labels, real), real


def _masked(x: Any, real: jax.Array) -> jax.Array:
    return jnp.where(jnp.expand_dims(real, range(2, x.ndim)), x, 0)


def _overlap(p: jax.Array, shares: jax.Array, smooth: float, real: jax.Array | None) -> jax.Array:
    shares = shares.astype(p.dtype)
    if real is not None:
        p, shares = _masked(p, real), _masked(shares, real)
    axes = tuple(range(1, p.ndim - 1))
    both, either = (p * shares).sum(axes), p.sum(axes) + shares.sum(axes)
    return (1 - (2 * both + smooth) / (either + smooth)).mean(-1)
