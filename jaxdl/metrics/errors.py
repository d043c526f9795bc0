"""Metrics of a number against a number, and of a distribution against what came."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxdl.core import Sum, bad_value
from jaxdl.core.checks import floating
from jaxdl.core.sums import spread, weighted
from jaxdl.core.targets import absolute_error, as_array, check_labels, reducing, wide_pair


def mean_absolute_error(prediction: jax.Array, target: Any) -> jax.Array:
    """``|ŷ − y|``, whose mean is over all elements: the loss of that name.

    **Shapes** ``prediction``, ``target``: the same shape ``->`` that shape.

    **Raises** ``ValueError`` for unlike shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> mean_absolute_error(jnp.array([1.0, 2.0]), jnp.array([0.0, 4.0]))
        Array([1., 2.], dtype=float32)
    """
    return absolute_error("mean_absolute_error", prediction, target)


@reducing
def root_mean_squared_error(prediction: jax.Array, target: Any, weight: Any = None) -> Sum:
    """``√ mean (ŷ − y)²`` over all elements; not the mean of batches' roots.

    **Shapes** ``prediction``, ``target``: the same shape; ``weight``: of leading positions.

    **Raises** ``ValueError`` for unlike shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(root_mean_squared_error(jnp.array([3.0, 0.0]), jnp.array([0.0, 4.0])).mean()), 4)
        3.5355
    """
    prediction, target = wide_pair("root_mean_squared_error", prediction, target)
    return Sum.of(jnp.square(prediction - target), weight, _root)


def _root(total: Any, weight: Any) -> Any:
    """``√(total / weight)``."""
    return (total / weight) ** 0.5


@reducing
def r_squared(prediction: jax.Array, target: Any, weight: Any = None, *, center: float = 0.0) -> Sum:
    """The coefficient of determination, ``R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)²``: 1 is perfect, 0 as good as the mean.

    Of several outputs (the last axis of two or more) it is the mean of each one's, as in scikit-learn and Keras; one
    whose targets are all the same counts 1 where they are met and else 0. They are taken to be the same where their
    variance is below 1e-6 of their mean square, which float32's sums do not tell from 0.

    **Shapes** ``prediction``, ``target``: ``(batch,)`` or ``(…, outputs)`` alike; ``weight``: of leading positions,
    without the outputs.

    **Args** ``center``: a number near the targets' mean. ``Σ (y − ȳ)²`` comes from ``Σ (y − center)`` and its square,
    which loses about ``(ȳ − center)² / variance`` units of float32's last place: standardised targets need none.

    **Raises** ``ValueError`` for unlike shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> float(r_squared(jnp.array([1.0, 2.0, 2.0]), jnp.array([1.0, 2.0, 3.0])).mean())
        0.5
    """
    prediction, target = wide_pair("r_squared", prediction, target)
    if not target.ndim:
        raise bad_value("r_squared", "target must be (batch,) or (…, outputs)", target)
    if target.ndim == 1:
        prediction, target = prediction[:, None], target[:, None]
    weights = spread("r_squared", weight, target.shape[:-1], target.dtype)
    each, over = weights[..., None], range(target.ndim - 1)
    offset, error = target - center, target - prediction
    total = jnp.stack([weighted(v, each).sum(over) for v in (offset, jnp.square(offset), jnp.square(error))])
    return Sum(total, weights.sum(), _determined)


_SAME = 8 * float(np.finfo(np.float32).eps)


def _determined(total: Any, weight: Any) -> Any:
    """R² of ``(3, outputs)``: the sums of targets, of their squares and of squared errors."""
    xp = total.__array_namespace__()
    offset, square, error = total
    spread_ = square - offset**2 / weight
    constant = spread_ <= _SAME * square
    share = xp.where(constant, error > 0, error / xp.where(constant, 1, spread_))
    return 1 - share.mean()


@reducing
def perplexity(logits: jax.Array, labels: Any, weight: Any = None) -> Sum:
    """``exp`` of the mean cross entropy: between how many equally likely classes the model would be as unsure.

    **Shapes** ``logits: (…, classes)``, ``labels``: integers ``(…,)``, or one-hot or soft as the logits; ``weight``: of
    leading positions.

    **Raises** ``ValueError`` for labels of another shape, or out of range (outside of ``jit``).

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(perplexity(jnp.zeros((2, 5)), jnp.array([0, 3])).mean()), 4)
        5.0
    """
    floating("perplexity", "logits", logits)
    labels = as_array(labels)
    check_labels("perplexity", logits, labels)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    if labels.shape == logits.shape:
        values = optax.losses.safe_softmax_cross_entropy(logits, jnp.asarray(labels, logits.dtype))
    else:
        values = optax.losses.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(labels))
    return Sum.of(values, weight, _exponential)


def _exponential(total: Any, weight: Any) -> Any:
    """``exp(total / weight)``."""
    return total.__array_namespace__().exp(total / weight)
