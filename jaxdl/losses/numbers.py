"""Losses of a number against a number, element by element."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl.core.checks import positive, within
from jaxdl.core.targets import absolute_error, as_array, check_at_least_zero, wide_pair


def mean_squared_error(prediction: jax.Array, target: Any) -> jax.Array:
    """Squared error ``(ŷ − y)²``, element by element; its mean over all elements is the mean squared error.

    **Shapes** ``prediction``, ``target``: the same shape ``->`` that shape.

    **Raises** ``ValueError`` for unlike shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxdl import Sum
        >>> float(Sum.of(mean_squared_error(jnp.array([1.0, 2.0]), jnp.array([0.0, 4.0]))).mean())
        2.5
    """
    prediction, target = wide_pair("mean_squared_error", prediction, target)
    return jnp.square(prediction - target)


def mean_absolute_error(prediction: jax.Array, target: Any) -> jax.Array:
    """Absolute error ``|ŷ − y|``, element by element; its gradient at 0 is 0.

    **Shapes** ``prediction``, ``target``: the same shape ``->`` that shape.

    **Raises** ``ValueError`` for unlike shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> mean_absolute_error(jnp.array([1.0, 2.0]), jnp.array([0.0, 4.0]))
        Array([1., 2.], dtype=float32)
    """
    return absolute_error("mean_absolute_error", prediction, target)


def huber(prediction: jax.Array, target: Any, *, delta: float = 1.0) -> jax.Array:
    """Huber's loss, element by element: ``e²/2`` where ``|e| ≤ δ``, and ``δ (|e| − δ/2)`` beyond, with ``e = ŷ − y``.

    As in Keras, optax and PyTorch's ``huber_loss``; PyTorch's ``smooth_l1_loss(beta=δ)`` is it divided by δ.

    **Shapes** ``prediction``, ``target``: the same shape ``->`` that shape.

    **Raises** ``ValueError`` for unlike shapes, or a ``delta`` that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> huber(jnp.array([0.5, 3.0]), jnp.zeros(2), delta=1.0)
        Array([0.125, 2.5  ], dtype=float32)

    **References** Huber, Robust estimation of a location parameter, 1964.
    """
    positive("huber", "delta", delta)
    prediction, target = wide_pair("huber", prediction, target)
    return optax.losses.huber_loss(prediction, target, delta=delta)


def log_cosh(prediction: jax.Array, target: Any) -> jax.Array:
    """``log cosh(ŷ − y)``, element by element: about ``e²/2`` for small errors and ``|e| − log 2`` for large ones.

    **Shapes** ``prediction``, ``target``: the same shape ``->`` that shape.

    **Raises** ``ValueError`` for unlike shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> log_cosh(jnp.array([0.1, 100.0]), jnp.zeros(2)).round(4)
        Array([5.00000e-03, 9.93069e+01], dtype=float32)
    """
    prediction, target = wide_pair("log_cosh", prediction, target)
    return optax.losses.log_cosh(prediction, target)


def quantile(prediction: jax.Array, target: Any, *, q: float = 0.5) -> jax.Array:
    """The pinball loss ``max(q e, (q − 1) e)`` with ``e = y − ŷ``: its mean is least at the targets' ``q`` quantile.

    A prediction that is too low costs ``q`` a unit, one that is too high ``1 − q``. The median's, ``q = 0.5``, is half
    of the absolute error.

    **Shapes** ``prediction``, ``target``: the same shape ``->`` that shape.

    **Raises** ``ValueError`` for unlike shapes, or a ``q`` that is not between 0 and 1.

    Example:
        >>> import jax.numpy as jnp
        >>> quantile(jnp.array([0.0, 2.0]), jnp.array([1.0, 1.0]), q=0.75)
        Array([0.75, 0.25], dtype=float32)

    **References** Koenker and Bassett, Regression quantiles, 1978.
    """
    within("quantile", "q", q)
    prediction, target = wide_pair("quantile", prediction, target)
    error = target - prediction
    return jnp.maximum(q * error, (q - 1) * error)


def poisson(log_rate: jax.Array, target: Any) -> jax.Array:
    """The negative log-likelihood of counts under Poisson distributions of rate ``e^z``, without its constant:
    ``e^z − y z``, element by element.

    The prediction is the rate's logarithm, as in PyTorch's ``poisson_nll_loss``; Keras takes the rate itself. The
    constant that is left out, as there, is ``log y!``.

    **Shapes** ``log_rate``, ``target``: the same shape ``->`` that shape, targets of 0 or more.

    **Raises** ``ValueError`` for unlike shapes or (outside of ``jit``) negative targets.

    Example:
        >>> import jax.numpy as jnp
        >>> poisson(jnp.array([0.0, 0.0]), jnp.array([0, 3]))
        Array([1., 1.], dtype=float32)
    """
    check_at_least_zero("poisson", as_array(target))
    log_rate, target = wide_pair("poisson", log_rate, target)
    return jnp.exp(log_rate) - target * log_rate
