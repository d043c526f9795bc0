"""Losses of logits against classes."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl.core import bad_value
from jaxdl.core.checks import floating, fraction, not_negative
from jaxdl.core.targets import as_array, check_labels, wide_binary
from jaxdl.functional.shape import along_last

Weights = Sequence[float] | jax.Array


def cross_entropy(
    logits: jax.Array, labels: Any, *, label_smoothing: float = 0.0, class_weights: Weights | None = None
) -> jax.Array:
    """Categorical cross entropy from logits, ``−Σ_c w_c t_c log softmax(z)_c``.

    Computed through log-sum-exp in ``promote_types(logits.dtype, float32)``, so that large logits do not overflow.
    Integer labels are never spread out to one-hot rows: large vocabularies cost their logits alone.
    Inside of ``jit``, where values are not seen, an integer label out of range gives nan, and a gradient of nan.

    **Shapes** ``logits: (…, classes)``; ``labels``: integers ``(…,)`` from 0 to classes − 1, or one-hot or soft labels
    ``(…, classes)`` ``-> (…,)``.

    **Args** ``label_smoothing``: the share s of each target that is spread over all classes, ``t ← (1 − s) t + s /
    classes``, as in Keras and PyTorch. ``class_weights``: ``w``, one for each class (in a partial, a tuple: it compares
    equal). The mean over a batch divides by the number of examples, as Keras' does; PyTorch's divides by ``Σ w_y``,
    which here is a batch's ``weight`` of ``w_y`` for each example.

    **Raises** ``ValueError`` for labels of another shape, floating, or (outside of ``jit``) out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[2.0, 0.0], [0.0, 0.0]])
        >>> cross_entropy(logits, jnp.array([0, 1])).round(4)
        Array([0.1269, 0.6931], dtype=float32)
        >>> cross_entropy(logits, jnp.array([0, 1]), class_weights=(1.0, 10.0)).round(4)
        Array([0.1269, 6.9315], dtype=float32)

    **References** Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, Rethinking the Inception architecture (smoothing), 2015.
    """
    fraction("cross_entropy", "label_smoothing", label_smoothing)
    logits, labels = _wide_logits("cross_entropy", logits, labels)
    weights = None if class_weights is None else _last_axis("cross_entropy", "class_weights", class_weights, logits)
    if labels.shape == logits.shape:
        labels = labels.astype(logits.dtype)
        if label_smoothing:
            labels = (1 - label_smoothing) * labels + label_smoothing / logits.shape[-1]
        labels = labels if weights is None else labels * along_last(weights, labels.ndim)
        return optax.losses.safe_softmax_cross_entropy(logits, labels)
    plain = _surprise(logits, labels)
    sharp = plain if weights is None else plain * weights[labels]
    if not label_smoothing:
        return sharp
    normalizer = jax.nn.logsumexp(logits, axis=-1)
    if weights is None:
        uniform = normalizer - logits.mean(-1)
    else:
        uniform = normalizer * weights.mean() - (logits * along_last(weights, logits.ndim)).mean(-1)
    return (1 - label_smoothing) * sharp + label_smoothing * uniform


def binary_cross_entropy(
    logits: jax.Array, labels: Any, *, label_smoothing: float = 0.0, positive_weight: float | Weights = 1.0
) -> jax.Array:
    """Binary cross entropy from logits, ``−p y log σ(z) − (1 − y) log(1 − σ(z))``, element by element.

    **Shapes** ``logits``, ``labels``: the same shape, labels from 0 to 1 ``->`` that shape.

    **Args** ``label_smoothing``: s in ``y ← (1 − s) y + s / 2``, as in Keras. ``positive_weight``: p, a number, or one
    for each entry of the last axis (PyTorch's ``pos_weight``): above 1 it favours recall, below 1 precision.

    **Raises** ``ValueError`` for unlike shapes or (outside of ``jit``) labels out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> binary_cross_entropy(jnp.array([0.0, 2.0]), jnp.array([1, 0])).round(4)
        Array([0.6931, 2.1269], dtype=float32)
    """
    fraction("binary_cross_entropy", "label_smoothing", label_smoothing)
    logits, labels = wide_binary("binary_cross_entropy", logits, labels)
    if label_smoothing:
        labels = (1 - label_smoothing) * labels + label_smoothing / 2
    if isinstance(positive_weight, int | float):
        weight: Any = not_negative("binary_cross_entropy", "positive_weight", positive_weight)
        if weight == 1:
            return optax.losses.sigmoid_binary_cross_entropy(logits, labels)
    else:
        weight = _last_axis("binary_cross_entropy", "positive_weight", positive_weight, logits)
        weight = along_last(weight, logits.ndim)
    return -weight * labels * jax.nn.log_sigmoid(logits) - (1 - labels) * jax.nn.log_sigmoid(-logits)


def focal(logits: jax.Array, labels: Any, *, gamma: float = 2.0, class_weights: Weights | None = None) -> jax.Array:
    """Categorical focal loss from logits, ``−Σ_c w_c t_c (1 − p_c)^γ log p_c`` with ``p = softmax(z)``: cross entropy
    in which what is already right counts little.

    **Shapes** as in :func:`cross_entropy`.

    **Args** ``gamma``: 0 is cross entropy. ``class_weights``: one for each class, the paper's α.

    **Raises** ``ValueError`` as :func:`cross_entropy`, and for a negative ``gamma``.

    Example:
        >>> import jax.numpy as jnp
        >>> focal(jnp.array([[2.0, 0.0], [0.0, 0.0]]), jnp.array([0, 1])).round(4)
        Array([0.0018, 0.1733], dtype=float32)

    **References** Lin, Goyal, Girshick, He and Dollár, Focal loss for dense object detection, 2017.
    """
    not_negative("focal", "gamma", gamma)
    logits, labels = _wide_logits("focal", logits, labels)
    weights = None if class_weights is None else _last_axis("focal", "class_weights", class_weights, logits)
    if labels.shape != logits.shape:
        loss = _surprise(logits, labels)
        loss = loss * _doubt(-loss, gamma)
        return loss if weights is None else loss * weights[labels]
    shares = labels.astype(logits.dtype)
    shares = shares if weights is None else shares * along_last(weights, shares.ndim)
    log_p = jnp.where(shares == 0, 0, jax.nn.log_softmax(logits))
    return -(shares * _doubt(log_p, gamma) * log_p).sum(-1)


def binary_focal(logits: jax.Array, labels: Any, *, gamma: float = 2.0, alpha: float | None = None) -> jax.Array:
    """Binary focal loss from logits, ``−α_t (1 − p_t)^γ log p_t``, element by element, where ``p_t`` is the probability
    of what is true.

    **Shapes** ``logits``, ``labels``: the same shape, labels from 0 to 1 ``->`` that shape.

    **Args** ``gamma``: 0 is binary cross entropy. ``alpha``: the weight of label 1, while ``1 − alpha`` is that of
    label 0; None gives both a weight of 1. The paper's best are γ = 2 and α = 0.25.

    **Raises** ``ValueError`` for unlike shapes, labels out of range (outside of ``jit``), a negative ``gamma``, or an
    ``alpha`` outside of 0 to 1.

    Example:
        >>> import jax.numpy as jnp
        >>> binary_focal(jnp.array([0.0, 2.0]), jnp.array([1, 0]), alpha=0.25).round(4)
        Array([0.0433, 1.2376], dtype=float32)

    **References** Lin, Goyal, Girshick, He and Dollár, Focal loss for dense object detection, 2017.
    """
    not_negative("binary_focal", "gamma", gamma)
    if alpha is not None and (isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 <= alpha <= 1):
        raise bad_value("binary_focal", "alpha must be None or a number from 0 to 1", alpha)
    logits, labels = wide_binary("binary_focal", logits, labels)
    return optax.losses.sigmoid_focal_loss(logits, labels, alpha=alpha, gamma=gamma)


def hinge(scores: jax.Array, labels: Any) -> jax.Array:
    """Hinge loss, ``max(0, 1 − s z)`` with ``s = 2 y − 1``, element by element.

    Labels are 0 and 1, as for each binary loss here; optax and PyTorch take the sign ``s`` itself, and so −1 and 1.

    **Shapes** ``scores``, ``labels``: the same shape ``->`` that shape.

    **Raises** ``ValueError`` for unlike shapes or (outside of ``jit``) labels out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> hinge(jnp.array([0.5, 0.5, 2.0]), jnp.array([1, 0, 1]))
        Array([0.5, 1.5, 0. ], dtype=float32)

    **References** Cortes and Vapnik, Support-vector networks, 1995.
    """
    scores, labels = wide_binary("hinge", scores, labels)
    return optax.losses.hinge_loss(scores, 2 * labels - 1)


def _wide_logits(call: str, logits: jax.Array, labels: Any) -> tuple[jax.Array, Any]:
    """Logits in ``promote_types(logits.dtype, float32)``, and labels that suit them: integers of any type with room for
    the number of classes."""
    floating(call, "logits", logits)
    labels = as_array(labels)
    check_labels(call, logits, labels)
    if labels.shape != logits.shape and labels.dtype.itemsize < 4:
        labels = labels.astype(jnp.int32)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), labels


def _surprise(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """``−log softmax(z)_y`` for integer labels; nan, and a gradient of nan, for a label out of range."""
    inside = (labels >= 0) & (labels < logits.shape[-1])
    loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, jnp.where(inside, labels, 0))
    return loss * jnp.where(inside, 1, jnp.nan).astype(logits.dtype)


def _last_axis(call: str, name: str, weights: Any, logits: jax.Array) -> jax.Array:
    """Weights for the entries of the last axis, ``(classes,)``."""
    weights = jnp.asarray(weights, logits.dtype)
    if weights.shape != logits.shape[-1:]:
        raise bad_value(call, f"{name} must have the shape {logits.shape[-1:]}", weights)
    return weights


def _doubt(log_p: jax.Array, gamma: float) -> jax.Array:
    """``(1 − p)^γ``, whose gradient at ``p = 1`` is 0 also for a γ below 1."""
    doubt = -jnp.expm1(log_p)
    sure = doubt <= 0
    return jnp.where(sure, 0.0**gamma, jnp.where(sure, 1, doubt) ** gamma)
