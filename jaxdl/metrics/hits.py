"""Metrics of single predictions: 1 where one is right, else 0."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxdl.core.checks import positive_int
from jaxdl.core.targets import as_array, check_binary_labels, check_same_shape, classes_of


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1 where the largest logit is that of the label, else 0.

    **Shapes** ``logits: (…, classes)``, ``labels: (…,)`` of integers or ``(…, classes)`` one-hot ``-> (…,)``.

    Example:
        >>> import jax.numpy as jnp
        >>> accuracy(jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1]))
        Array([1., 0.], dtype=float32)
    """
    classes = classes_of("accuracy", logits, labels)
    return (logits.argmax(-1) == classes).astype(jnp.float32)


def binary_accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1 where the logit's sign says the label (positive for 1), else 0.

    **Shapes** ``logits``, ``labels``: the same shape ``->`` that shape.

    Example:
        >>> import jax.numpy as jnp
        >>> binary_accuracy(jnp.array([2.0, -1.0, 3.0]), jnp.array([1, 0, 0]))
        Array([1., 1., 0.], dtype=float32)
    """
    labels = as_array(labels)
    check_same_shape("binary_accuracy", logits, labels)
    check_binary_labels("binary_accuracy", labels)
    return ((logits > 0) == (labels > 0.5)).astype(jnp.float32)


def top_k_accuracy(k: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A metric: 1 where the label is among the k largest logits, else 0. Of equal logits the lower class comes first.

    **Shapes** as in :func:`accuracy`.

    Example:
        >>> import jax.numpy as jnp
        >>> top_k_accuracy(2)(jnp.array([[0.1, 0.5, 0.4], [0.6, 0.3, 0.1]]), jnp.array([2, 2]))
        Array([1., 0.], dtype=float32)
    """
    return _top_k(positive_int("top_k_accuracy", "k", k))


@functools.cache
def _top_k(k: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
    def top_k(logits: jax.Array, labels: jax.Array) -> jax.Array:
        classes = classes_of("top_k_accuracy", logits, labels)
        best = jax.lax.top_k(logits, min(k, logits.shape[-1]))[1]
        return (best == classes[..., None]).any(-1).astype(jnp.float32)

    return top_k
