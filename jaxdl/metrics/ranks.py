"""Metrics of an order: whether what is true was scored higher."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core import Sum
from jaxdl.core.checks import positive_int
from jaxdl.core.sums import spread, tally
from jaxdl.core.targets import reducing, wide_binary


@reducing
def roc_auc(logits: jax.Array, labels: Any, weight: Any = None, *, bins: int = 2048) -> Sum:
    """The area under the receiver operating characteristic: how probably a positive is scored above a negative.

    Scores are counted on the device, in equal bins of ``z / (1 + |z|)``, which is finest near 0 and still tells 20 from
    30. Two scores in one bin count ½, as a tie does: the error is at most half of the share of pairs, a positive and a
    negative, that fall into one bin. For the exact figure give the predictions to ``sklearn.metrics.roc_auc_score``.

    **Shapes** ``logits``, ``labels``: the same shape, labels 0 or 1; ``weight``: of leading positions.

    **Returns** nan, as a figure, where all labels are the same, or a score is nan.

    **Raises** ``ValueError`` for unlike shapes, labels out of range (outside of ``jit``), or ``bins`` that are no
    positive int.

    Example:
        >>> import jax.numpy as jnp
        >>> float(roc_auc(jnp.array([-1.0, 2.0, 0.5, 3.0]), jnp.array([0, 0, 1, 1])).mean())
        0.75

    **References** Fawcett, An introduction to ROC analysis, 2006.
    """
    positive_int("roc_auc", "bins", bins)
    scores, truth = wide_binary("roc_auc", logits, labels)
    weights = spread("roc_auc", weight, scores.shape, scores.dtype)
    unknown = jnp.isnan(scores) & (weights != 0)
    largest = jnp.finfo(scores.dtype).max  # soft_sign makes nan of inf
    scores = jnp.clip(jnp.where(jnp.isnan(scores), 0, scores), -largest, largest)
    place = jnp.clip(jnp.floor((jax.nn.soft_sign(scores) + 1) * (bins / 2)), 0, bins - 1).astype(jnp.int32)
    slot = jnp.where(truth > 0.5, bins, 0) + place
    counts = jnp.where(unknown.any(), jnp.nan, tally(slot, weights, 2 * bins))
    return Sum(counts.reshape(2, bins), weights.sum(), _area)


def _area(total: Any, weight: Any) -> Any:
    """The area of weights ``(2, bins)``: of negatives and of positives, by rising score."""
    xp = total.__array_namespace__()
    negative, positive = total
    below = xp.cumsum(negative) - negative / 2
    pairs = negative.sum() * positive.sum()
    return xp.where(pairs == 0, xp.nan, (positive * below).sum() / xp.where(pairs == 0, 1, pairs))
