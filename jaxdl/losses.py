"""Losses: ``loss(prediction, target) -> values``, one for each example or element, never reduced and never broadcast.

The mean is taken by whoever adds up: ``Sum.of(loss(prediction, target), weight).mean()``, where ``weight`` is an
example weight or a mask; :func:`jaxdl.supervised` does so with the batch's ``weight``.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxdl.core import bad_type, bad_value
from jaxdl.core.checks import floating
from jaxdl.core.targets import as_array, check_binary_labels, check_labels, check_same_shape

Loss = Callable[[Any, Any], jax.Array]


def cross_entropy(logits: jax.Array, labels: jax.Array, *, label_smoothing: float = 0.0) -> jax.Array:
    """Categorical cross entropy from logits, ``−Σ_c t_c log softmax(z)_c``.

    Computed through log-sum-exp in ``promote_types(logits.dtype, float32)``, so that large logits do not overflow.

    **Shapes** ``logits: (…, classes)``; ``labels``: integers ``(…,)`` from 0 to classes − 1, or one-hot or soft labels
    ``(…, classes)`` ``-> (…,)``.

    **Args** ``label_smoothing``: the share s of each target that is spread over all classes, ``t ← (1 − s) t + s /
    classes``, as in Keras and PyTorch.

    **Raises** ``ValueError`` for labels of another shape, floating, or (outside of ``jit``) out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> cross_entropy(jnp.array([[2.0, 0.0], [0.0, 0.0]]), jnp.array([0, 1])).round(4)
        Array([0.1269, 0.6931], dtype=float32)

    **References** Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, Rethinking the Inception architecture (smoothing), 2015.
    """
    floating("cross_entropy", "logits", logits)
    labels = as_array(labels)
    if not 0 <= label_smoothing < 1:
        raise bad_value("cross_entropy", "label_smoothing must be from 0 up to, but not including, 1", label_smoothing)
    check_labels("cross_entropy", logits, labels)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    if labels.shape != logits.shape and not label_smoothing:
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    if labels.shape != logits.shape:
        labels = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    labels = labels.astype(logits.dtype)
    if label_smoothing:
        labels = (1 - label_smoothing) * labels + label_smoothing / logits.shape[-1]
    return optax.losses.safe_softmax_cross_entropy(logits, labels)


def binary_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Binary cross entropy from logits, ``−y log σ(z) − (1 − y) log(1 − σ(z))``, element by element.

    **Shapes** ``logits``, ``labels``: the same shape, labels from 0 to 1 ``->`` that shape.

    **Raises** ``ValueError`` for unlike shapes or (outside of ``jit``) labels out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> binary_cross_entropy(jnp.array([0.0, 2.0]), jnp.array([1, 0])).round(4)
        Array([0.6931, 2.1269], dtype=float32)
    """
    labels = as_array(labels)
    check_same_shape("binary_cross_entropy", logits, labels)
    check_binary_labels("binary_cross_entropy", labels)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return optax.losses.sigmoid_binary_cross_entropy(logits, labels.astype(logits.dtype))


def mean_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Squared error ``(ŷ − y)²``, element by element; its mean over all elements is the mean squared error.

    **Shapes** ``prediction``, ``target``: the same shape ``->`` that shape.

    **Raises** ``ValueError`` for unlike shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxdl import Sum
        >>> float(Sum.of(mean_squared_error(jnp.array([1.0, 2.0]), jnp.array([0.0, 4.0]))).mean())
        2.5
    """
    target = as_array(target)
    if not jnp.issubdtype(target.dtype, jnp.number):
        raise bad_type("mean_squared_error", "target must be an array of numbers", target)
    check_same_shape("mean_squared_error", prediction, target)
    wide = jnp.promote_types(prediction.dtype, jnp.float32)
    return jnp.square(prediction.astype(wide) - target.astype(wide))


def check_targets(loss: Any, prediction: Any, target: Any) -> None:
    """Check a whole data set's targets on the host, for the losses of this page: inside ``jit`` values are not seen.

    **Args** ``prediction``: an array or spec of a prediction, for its shape; ``target``: the real targets of a data
    set, with any number of examples.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> check_targets(cross_entropy, jax.ShapeDtypeStruct((32, 10), jnp.float32), np.array([0, 10]))
        Traceback (most recent call last):
        ValueError: cross_entropy: labels must be from 0 to 9 for 10 classes; got labels from 0 to 10
    """
    while hasattr(loss, "func"):
        loss = loss.func
    check = _HOST_CHECKS.get(loss)
    if check is not None:
        target = np.asarray(target)
        check(jax.ShapeDtypeStruct((target.shape[0], *prediction.shape[1:]), prediction.dtype), target)


_HOST_CHECKS: dict[Any, Callable[[Any, Any], None]] = {
    cross_entropy: functools.partial(check_labels, "cross_entropy"),
    binary_cross_entropy: lambda prediction, labels: check_binary_labels("binary_cross_entropy", labels),
}
