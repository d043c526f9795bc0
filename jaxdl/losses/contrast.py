"""Losses of vectors against vectors: directions and distances."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl.core import bad_value
from jaxdl.core.checks import not_negative, positive
from jaxdl.core.targets import wide_pair

_LEAST = 1e-12
"""Below it a squared norm counts as this: what a zero vector is divided by."""


def cosine_distance(prediction: jax.Array, target: Any) -> jax.Array:
    """``1 − ⟨ŷ, y⟩ / (‖ŷ‖ ‖y‖)`` along the last axis: from 0 for one direction to 2 for the opposite one.

    A zero vector has distance 1 from any other. It is PyTorch's ``cosine_embedding_loss`` with a target of 1; Keras'
    ``CosineSimilarity`` is it minus 1.

    **Shapes** ``prediction``, ``target``: ``(…, features) -> (…,)``.

    **Raises** ``ValueError`` for unlike shapes, or none.

    Example:
        >>> import jax.numpy as jnp
        >>> cosine_distance(jnp.array([[3.0, 0.0], [1.0, 1.0]]), jnp.array([[5.0, 0.0], [-1.0, 1.0]]))
        Array([0., 1.], dtype=float32)
    """
    prediction, target = _vectors("cosine_distance", prediction, target)
    return optax.losses.cosine_distance(prediction, target, epsilon=_LEAST)


def triplet(anchor: jax.Array, positive: jax.Array, negative: jax.Array, *, margin: float = 1.0) -> jax.Array:
    """Triplet loss, ``max(0, ‖a − p‖ − ‖a − n‖ + margin)`` along the last axis.

    The distances are Euclidean, as in PyTorch's ``triplet_margin_loss``; FaceNet squares them. Equal vectors are 1e-6
    apart, so that their gradient is 0.

    **Shapes** ``anchor``, ``positive``, ``negative``: ``(…, features) -> (…,)``.

    **Raises** ``ValueError`` for unlike shapes, or a negative ``margin``.

    Example:
        >>> import jax.numpy as jnp
        >>> a, p, n = jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 5.5]])
        >>> triplet(a, p, n)
        Array([0.5], dtype=float32)

    **References** Schroff, Kalenichenko and Philbin, FaceNet, 2015.
    """
    not_negative("triplet", "margin", margin)
    wide, near = _vectors("triplet", anchor, positive)
    wide, far = _vectors("triplet", anchor, negative)
    return optax.losses.triplet_margin_loss(wide, near, far, margin=margin, eps=_LEAST)


def info_nce(query: jax.Array, key: jax.Array, *, temperature: float = 0.1) -> jax.Array:
    """InfoNCE with the negatives of the batch: cross entropy of ``cos(q_i, k_j) / τ`` over all ``j``, where ``j = i``
    is right.

    It is one direction; CLIP takes the mean of both, ``info_nce(q, k)`` and ``info_nce(k, q)``. The values of a batch
    depend on one another: its mean is not that of its parts.

    **Shapes** ``query``, ``key``: ``(batch, features) -> (batch,)``.

    **Args** ``temperature``: τ; MoCo has 0.07, SimCLR 0.1 to 0.5.

    **Raises** ``ValueError`` for unlike shapes or other ranks, or a ``temperature`` that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> info_nce(jnp.eye(3), jnp.eye(3), temperature=1.0).round(4)
        Array([0.5514, 0.5514, 0.5514], dtype=float32)

    **References** van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding, 2018.
    """
    positive("info_nce", "temperature", temperature)
    query, key = _vectors("info_nce", query, key)
    if query.ndim != 2:
        raise bad_value("info_nce", "query must be (batch, features)", query)
    logits = _unit(query) @ _unit(key).T / temperature
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(len(query)))


def _vectors(call: str, prediction: jax.Array, target: Any) -> tuple[jax.Array, jax.Array]:
    prediction, target = wide_pair(call, prediction, target)
    if not prediction.ndim:
        raise bad_value(call, "prediction must have an axis of features, (…, features)", prediction)
    return prediction, target


def _unit(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), _LEAST))
