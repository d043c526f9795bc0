"""Metrics of counts: how often which class was said of which."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core import Sum, bad_value
from jaxdl.core.sums import spread, tally
from jaxdl.core.targets import classes_of, reducing, wide_binary

_OUT_OF = {
    "precision": lambda hits, said, true: said,
    "recall": lambda hits, said, true: true,
    "f1": lambda hits, said, true: (said + true) / 2,
    "iou": lambda hits, said, true: said + true - hits,
}
"""What the hits of a class are divided by."""


@dataclass(frozen=True)
class _Score:
    """The figure of ``(3, classes)`` weights: of hits, of what was said to be of the class, and of what truly is."""

    kind: str
    average: str | None

    def __call__(self, total: Any, weight: Any) -> Any:
        xp = total.__array_namespace__()
        hits, said, true = total.sum(-1, keepdims=True) if self.average == "micro" else total
        whole = _OUT_OF[self.kind](hits, said, true)
        scores = hits / xp.where(whole == 0, 1, whole)
        if self.average is None:
            return scores
        occurs = said + true > 0
        return scores.sum() / xp.maximum(occurs.sum(), 1)


@reducing
def precision(logits: jax.Array, labels: Any, weight: Any = None, *, average: str | None = "binary") -> Sum:
    """Of what was said to be of a class, the share that truly is: ``TP / (TP + FP)``, and 0 where nothing was.

    **Shapes** for ``average="binary"``: ``logits``, ``labels`` alike, a logit above 0 says 1; else ``logits: (…,
    classes)``, ``labels`` integers ``(…,)`` or one-hot. ``weight``: of leading positions.

    **Args** ``average``: ``"binary"``, the class 1 alone; ``"macro"``, the mean over the classes that occur in labels
    or predictions, as in scikit-learn; ``"micro"``, of the classes' counts added up; None, an array of each class's.
    Of these three, labels out of range that ``jit`` hides count nothing.

    **Raises** ``ValueError`` for other shapes, labels out of range (outside of ``jit``) or another ``average``.

    Example:
        >>> import jax.numpy as jnp
        >>> float(precision(jnp.array([2.0, 1.0, -1.0]), jnp.array([1, 0, 1])).mean())
        0.5
    """
    return _score("precision", logits, labels, weight, average)


@reducing
def recall(logits: jax.Array, labels: Any, weight: Any = None, *, average: str | None = "binary") -> Sum:
    """Of what truly is of a class, the share that was said to be: ``TP / (TP + FN)``, and 0 where nothing is.

    **Shapes**, **Args** and **Raises** as in :func:`precision`.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(recall(jnp.array([2.0, 1.0, -1.0, -3.0]), jnp.array([1, 0, 1, 1])).mean()), 4)
        0.3333
    """
    return _score("recall", logits, labels, weight, average)


@reducing
def f1(logits: jax.Array, labels: Any, weight: Any = None, *, average: str | None = "binary") -> Sum:
    """The harmonic mean of precision and recall, ``2 TP / (2 TP + FP + FN)``, and 0 where a class does not occur.

    ``average="macro"`` is the mean of the classes' F1, as in scikit-learn and Keras, not the F1 of mean precision and
    recall; ``"micro"`` is the accuracy.

    **Shapes**, **Args** and **Raises** as in :func:`precision`.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.eye(3)[jnp.array([0, 1, 1, 2])]
        >>> f1(logits, jnp.array([0, 1, 1, 2]), average=None).mean()
        Array([1., 1., 1.], dtype=float32)
    """
    return _score("f1", logits, labels, weight, average)


@reducing
def iou(logits: jax.Array, labels: Any, weight: Any = None, *, average: str | None = "macro") -> Sum:
    """Intersection over union (Jaccard's index), ``TP / (TP + FP + FN)``: of segmentations, each position counts.

    The mean over classes, ``average="macro"``, leaves out those that occur in neither labels nor predictions, as in
    Keras.

    **Shapes**, **Args** and **Raises** as in :func:`precision`.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.eye(2)[jnp.array([[0, 0, 1, 1]])]                        # (image, position, class)
        >>> iou(logits, jnp.array([[0, 0, 0, 0]]), average=None).mean()
        Array([0.5, 0. ], dtype=float32)
    """
    return _score("iou", logits, labels, weight, average)


@reducing
def confusion_matrix(logits: jax.Array, labels: Any, weight: Any = None) -> Sum:
    """How often (by weight) each class was said of each: rows are true classes, columns predicted ones.

    **Shapes** ``logits: (…, classes)``, ``labels``: integers ``(…,)`` or one-hot; the figure is ``(classes, classes)``,
    in the history a NumPy array.

    **Raises** ``ValueError`` for labels of another shape, or out of range (outside of ``jit``).

    Example:
        >>> import jax.numpy as jnp
        >>> confusion_matrix(jnp.eye(2)[jnp.array([0, 1, 1])], jnp.array([0, 0, 1])).mean()
        Array([[1., 1.],
               [0., 1.]], dtype=float32)
    """
    true, said, weights = _labelled("confusion_matrix", logits, labels, weight)
    classes = logits.shape[-1]
    counts = tally(true * classes + said, weights, classes**2)
    return Sum(counts.reshape(classes, classes), weights.sum(), _counts)


def _counts(total: Any, weight: Any) -> Any:
    """The totals as they are."""
    return total


def _score(kind: str, logits: jax.Array, labels: Any, weight: Any, average: str | None) -> Sum:
    if average not in ("binary", "macro", "micro", None):
        raise bad_value(kind, 'average must be "binary", "macro", "micro" or None', repr(average))
    if average == "binary":
        scores, truth = wide_binary(kind, logits, labels)
        weights = spread(kind, weight, scores.shape, scores.dtype)
        said, true = (scores > 0) * weights, (truth > 0.5) * weights
        hits = jnp.where(truth > 0.5, said, 0)
        total = jnp.stack([hits.sum(), said.sum(), true.sum()])[:, None]
    else:
        true, said, weights = _labelled(kind, logits, labels, weight)
        hits = jnp.where(true == said, weights, 0)
        pairs = (true, hits), (said, weights), (true, weights)
        total = jnp.stack([tally(classes, counted, logits.shape[-1]) for classes, counted in pairs])
    return Sum(total, weights.sum(), _Score(kind, average))


def _labelled(call: str, logits: jax.Array, labels: Any, weight: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """For each position its true class, the one predicted, and its weight, which is 0 for a label out of range."""
    true = jnp.asarray(classes_of(call, logits, labels)).astype(jnp.int32)
    weights = spread(call, weight, true.shape, jnp.promote_types(logits.dtype, jnp.float32))
    known = (true >= 0) & (true < logits.shape[-1])
    return true, logits.argmax(-1).astype(jnp.int32), jnp.where(known, weights, 0)
