"""Losses of sequences against shorter ones."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl.core import Ragged, bad_type, bad_value
from jaxdl.core.checks import floating, is_int
from jaxdl.core.targets import as_array, check_range, takes_ragged


@takes_ragged
def ctc(logits: Any, labels: Any, *, blank: int = 0) -> jax.Array:
    """Connectionist temporal classification: ``−log Σ p(path)`` over all paths that spell the labels, one value for
    each sequence.

    A path spells what is left of it once repeats are joined and blanks removed. The mean over a batch is that of the
    sequences, as with PyTorch's ``reduction="none"``; its default divides each by the number of its labels first.
    Labels that no path of that length can spell cost about 1e5 for each step that lacks, where PyTorch gives inf.

    **Shapes** ``logits: (batch, time, classes)``, ``labels: (batch, length)`` of integers, each an array, all of it
    real, or a :class:`jaxdl.Ragged` ``-> (batch,)``.

    **Args** ``blank``: the class that stands for no label.

    **Raises** ``ValueError`` for other shapes, or (outside of ``jit``) labels out of range or equal to the blank.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxdl import Ragged
        >>> labels = Ragged(jnp.array([[1, 2], [2, 0]]), lengths=jnp.array([2, 1]))
        >>> [round(float(value), 4) for value in ctc(jnp.zeros((2, 3, 3)), labels)]
        [1.6864, 1.5041]

    **References** Graves, Fernández, Gomez and Schmidhuber, Connectionist temporal classification, 2006.
    """
    scores, spelled = (x.x if isinstance(x, Ragged) else x for x in (logits, labels))
    floating("ctc", "logits", scores)
    spelled = as_array(spelled)
    if scores.ndim != 3 or not scores.shape[1]:
        raise bad_value("ctc", "logits must be (batch, time, classes) with a time of 1 or more", scores)
    if not is_int(blank) or not 0 <= blank < scores.shape[-1]:
        raise bad_value("ctc", f"blank must be a class, from 0 to {scores.shape[-1] - 1}", blank)
    check_ctc_labels("ctc", scores, labels, blank=blank)
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    return optax.losses.ctc_loss(
        scores, _padding(logits, scores.dtype), jnp.asarray(spelled), _padding(labels, scores.dtype), blank_id=blank
    ).astype(scores.dtype)


def check_ctc_labels(call: str, logits: Any, labels: Any, *, blank: int = 0) -> None:
    """Raise unless labels suit the logits: on shapes and dtypes always, on values where they are at hand."""
    array = as_array(labels.x if isinstance(labels, Ragged) else labels)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise bad_type(call, "labels must be integers", array)
    if array.ndim != 2 or array.shape[0] != logits.shape[0]:
        raise bad_value(call, f"labels must be ({logits.shape[0]}, length)", array)
    check_range(call, labels, logits.shape[-1], excluded=blank)


def _padding(x: Any, dtype: Any) -> jax.Array:
    """1 where a position is padded, 0 where it is real."""
    return (~x.mask()).astype(dtype) if isinstance(x, Ragged) else jnp.zeros(x.shape[:2], dtype)
