"""Divergences and distances of distributions: the terms of variational and adversarial training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core import bad_value
from jaxdl.core.targets import as_array, check_binary_labels, wide_binary, wide_pair


def kl_divergence(log_probabilities: jax.Array, target: Any) -> jax.Array:
    """``KL(t ‖ p) = Σ t (log t − log p)`` along the last axis, with ``0 log 0 = 0``.

    The prediction is ``log p``, such as ``jax.nn.log_softmax(logits)``, as in PyTorch's ``kl_div`` (which does not sum)
    and optax; Keras takes ``p``.

    **Shapes** ``log_probabilities``, ``target``: ``(…, classes) -> (…,)``, targets that sum to 1.

    **Raises** ``ValueError`` for unlike shapes or (outside of ``jit``) targets out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> kl_divergence(jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[1.0, 0.0]])).round(4)
        Array([0.6931], dtype=float32)

    **References** Kullback and Leibler, On information and sufficiency, 1951.
    """
    check_binary_labels("kl_divergence", as_array(target))
    log_p, target = wide_pair("kl_divergence", log_probabilities, target)
    if not log_p.ndim:
        raise bad_value("kl_divergence", "log_probabilities must have an axis of classes, (…, classes)", log_p)
    # optax's has gradients that are not finite where a target is 0: to the target, and with log p = −inf.
    none = target == 0
    log_ratio = jnp.log(jnp.where(none, 1, target)) - jnp.where(none, 0, log_p)
    return (target * log_ratio).sum(-1)


def gaussian_kl(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """``KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² − 1 − log σ²)`` along the last axis: the ELBO's other term.

    **Shapes** ``mean``, ``log_variance``: ``(…, features) -> (…,)``.

    **Raises** ``ValueError`` for unlike shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> gaussian_kl(jnp.array([[0.0, 0.0], [1.0, 2.0]]), jnp.zeros((2, 2)))
        Array([0. , 2.5], dtype=float32)

    **References** Kingma and Welling, Auto-encoding variational Bayes, 2013.
    """
    mean, log_variance = wide_pair("gaussian_kl", mean, log_variance)
    if not mean.ndim:
        raise bad_value("gaussian_kl", "mean must have an axis of features, (…, features)", mean)
    return 0.5 * (jnp.square(mean) + jnp.expm1(log_variance) - log_variance).sum(-1)


def wasserstein(scores: jax.Array, labels: Any) -> jax.Array:
    """The critic's loss of a Wasserstein GAN, ``(1 − 2 y) f``, element by element: real examples (1) are to score high,
    generated ones (0) low.

    The critic minimises ``E f(generated) − E f(real)``, the sum of the two means; the generator
    ``wasserstein(f(generated), ones)``.

    **Shapes** ``scores``, ``labels``: the same shape ``->`` that shape.

    **Raises** ``ValueError`` for unlike shapes or (outside of ``jit``) labels out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> wasserstein(jnp.array([3.0, 3.0]), jnp.array([1, 0]))
        Array([-3.,  3.], dtype=float32)

    **References** Arjovsky, Chintala and Bottou, Wasserstein GAN, 2017.
    """
    scores, labels = wide_binary("wasserstein", scores, labels)
    return (1 - 2 * labels) * scores


def gradient_penalty(
    critic: Callable[[jax.Array], jax.Array], real: jax.Array, generated: jax.Array, key: jax.Array
) -> jax.Array:
    """``(‖∇f(x̂)‖ − 1)²`` at ``x̂ = ε x + (1 − ε) x̃``, with a uniform ε for each example.

    WGAN-GP adds 10 times its mean to the critic's loss. The critic must treat each example alone: no batch norm.

    **Shapes** ``real``, ``generated``: ``(batch, …)``; ``critic: (batch, …) -> (batch,)`` or ``(batch, 1)``
    ``-> (batch,)``.

    **Raises** ``ValueError`` for unlike shapes, or scores that are not one for each example.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.ones((4, 2))
        >>> gradient_penalty(lambda x: 3 * x[:, 0], x, 0 * x, jax.random.key(0))
        Array([4., 4., 4., 4.], dtype=float32)

    **References** Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, Improved training of Wasserstein GANs, 2017.
    """
    real, generated = wide_pair("gradient_penalty", real, generated)
    if not real.ndim:
        raise bad_value("gradient_penalty", "real must be (batch, …)", real)
    share = jax.random.uniform(key, real.shape[:1] + (1,) * (real.ndim - 1), real.dtype)

    def total(x: jax.Array) -> jax.Array:
        scores = critic(x)
        if scores.shape not in (x.shape[:1], (*x.shape[:1], 1)):
            raise bad_value("gradient_penalty", "critic must give one score for each example", scores)
        return scores.sum()

    gradient = jax.grad(total)(share * real + (1 - share) * generated)
    squared = jnp.square(gradient).sum(range(1, real.ndim))
    flat = squared == 0  # where the norm has no gradient
    return jnp.square(jnp.where(flat, 0, jnp.sqrt(jnp.where(flat, 1, squared))) - 1)
