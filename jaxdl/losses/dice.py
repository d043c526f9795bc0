"""Losses of overlap, one value for each example."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl.core import bad_value
from jaxdl.core.checks import floating, not_negative
from jaxdl.core.targets import as_array, check_labels, wide_binary


def dice(logits: jax.Array, labels: Any, *, smooth: float = 1.0) -> jax.Array:
    """Dice loss of classes, ``1 − (2 Σ p t + s) / (Σ p + Σ t + s)`` with ``p = softmax(z)``: sums over an example's
    positions, mean over the classes.

    Other than cross entropy it does not let a large background outweigh a small object.

    **Shapes** ``logits: (batch, …, classes)``; ``labels``: integers ``(batch, …)``, or one-hot or soft as the logits
    ``-> (batch,)``.

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
    floating("dice", "logits", logits)
    if logits.ndim < 2:
        raise bad_value("dice", "logits must be (batch, …, classes)", logits)
    labels = as_array(labels)
    check_labels("dice", logits, labels)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    if labels.shape != logits.shape:
        labels = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return _overlap(logits, labels, smooth)


def binary_dice(logits: jax.Array, labels: Any, *, smooth: float = 1.0) -> jax.Array:
    """Dice loss of one class, ``1 − (2 Σ p y + s) / (Σ p + Σ y + s)`` with ``p = σ(z)``: sums over all of an example.

    **Shapes** ``logits``, ``labels``: ``(batch, …)`` alike, labels from 0 to 1 ``-> (batch,)``.

    **Args** ``smooth``: s, which gives an example without the class, in labels and prediction, a loss of 0.

    **Raises** ``ValueError`` for unlike shapes, labels out of range (outside of ``jit``), or a negative ``smooth``.

    Example:
        >>> import jax.numpy as jnp
        >>> binary_dice(jnp.array([[50.0, 50.0, -50.0, -50.0]]), jnp.array([[1, 0, 0, 0]]), smooth=0.0).round(4)
        Array([0.3333], dtype=float32)

    **References** Milletari, Navab and Ahmadi, V-Net, 2016.
    """
    not_negative("binary_dice", "smooth", smooth)
    logits, labels = wide_binary("binary_dice", logits, labels)
    if not logits.ndim:
        raise bad_value("binary_dice", "logits must be (batch, …)", logits)
    return _overlap(logits[..., None], labels[..., None], smooth)


def _overlap(logits: jax.Array, shares: jax.Array, smooth: float) -> jax.Array:
    # optax has (Σ p t + s) / (½ Σ p + ½ Σ t + s): twice of it is the formula above.
    return optax.losses.dice_loss(logits, shares.astype(logits.dtype), smooth=smooth / 2)
