"""Noise that is there while training: what regularises is the identity otherwise, a sample its mean."""

from collections.abc import Callable
from typing import Any

import jax

from jaxdl import functional as F
from jaxdl.core import Ragged, bad_type, bad_value, each_position, layer, positions
from jaxdl.core.checks import fraction
from jaxdl.functional.noise import check_moments, check_stddev


@layer
def dropout(rate: float) -> Any:
    """Drop a share ``rate`` of the elements while training; see :func:`jaxdl.functional.dropout`.

    **Shapes** ``x`` of any shape ``->`` the same.

    **Raises** ``ValueError`` when it trains without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y, _ = dropout(0.5).apply({}, {}, jnp.ones(6), train=True, key=jax.random.key(1))
        >>> sorted(set(y.tolist()))
        [0.0, 2.0]

    **References** Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout, 2014.
    """
    return _noise("dropout", F.dropout, fraction("dropout", "rate", rate))


@layer
def channel_dropout(rate: float) -> Any:
    """Drop a share ``rate`` of the channels of each example while training; see
    :func:`jaxdl.functional.channel_dropout`.

    **Shapes** ``x: (batch, …, channels) ->`` the same.

    **Raises** ``ValueError`` when it trains without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.ones((1, 2, 4))
        >>> channel_dropout(0.5).apply({}, {}, x, train=True, key=jax.random.key(0))[0].tolist()
        [[[2.0, 2.0, 0.0, 2.0], [2.0, 2.0, 0.0, 2.0]]]

    **References** Tompson, Goroshin, Jain, LeCun and Bregler, Efficient object localization using convolutional
    networks, 2014.
    """
    return _noise("channel_dropout", F.channel_dropout, fraction("channel_dropout", "rate", rate))


@layer
def drop_path(rate: float) -> Any:
    """Drop a share ``rate`` of the examples while training, in the branch of a residual block: stochastic depth; see
    :func:`jaxdl.functional.drop_path`.

    **Shapes** ``x: (batch, …) ->`` the same.

    **Raises** ``ValueError`` when it trains without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import residual
        >>> block = residual(jnp.cos, drop_path(0.5))
        >>> y, _ = block.apply({}, {}, jnp.zeros((4, 1)), train=True, key=jax.random.key(1))
        >>> y[:, 0].tolist()
        [2.0, 0.0, 0.0, 2.0]

    **References** Huang, Sun, Liu, Sedra and Weinberger, Deep networks with stochastic depth, 2016.
    """
    return _noise("drop_path", F.drop_path, fraction("drop_path", "rate", rate))


@layer
def alpha_dropout(rate: float) -> Any:
    """Dropout for networks of SELU, which keeps mean and variance; see :func:`jaxdl.functional.alpha_dropout`.

    **Shapes** ``x`` of any shape ``->`` the same.

    **Raises** ``ValueError`` when it trains without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> alpha_dropout(0.1).apply({}, {}, jnp.ones((2, 3)), train=True, key=jax.random.key(0))[0].shape
        (2, 3)

    **References** Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural networks, 2017.
    """
    return _noise("alpha_dropout", F.alpha_dropout, fraction("alpha_dropout", "rate", rate))


@layer
def gaussian_noise(stddev: float) -> Any:
    """Add normal noise while training; see :func:`jaxdl.functional.gaussian_noise`.

    **Shapes** ``x`` of any shape ``->`` the same. **Args** ``stddev``: in the units of ``x``, 0 or greater.

    **Raises** ``ValueError`` when it trains without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> gaussian_noise(0.1).apply({}, {}, jnp.ones((2, 3)), train=True, key=jax.random.key(0))[0].shape
        (2, 3)

    **References** Bishop, Training with noise is equivalent to Tikhonov regularization, 1995.
    """
    check_stddev("gaussian_noise", stddev)
    return _noise("gaussian_noise", F.gaussian_noise, stddev)


@layer
def gaussian_dropout(rate: float) -> Any:
    """Multiply with normal noise of mean 1 while training; see :func:`jaxdl.functional.gaussian_dropout`.

    **Shapes** ``x`` of any shape ``->`` the same.

    **Raises** ``ValueError`` when it trains without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> gaussian_dropout(0.1).apply({}, {}, jnp.ones((2, 3)), train=True, key=jax.random.key(0))[0].shape
        (2, 3)

    **References** Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout, 2014, section 10.
    """
    return _noise("gaussian_dropout", F.gaussian_dropout, fraction("gaussian_dropout", "rate", rate))


@layer
def gaussian_sample() -> Any:
    """A sample of a normal distribution while training, its mean otherwise; see
    :func:`jaxdl.functional.gaussian_sample`.

    A variational loss of the mean, which ``evaluate`` and ``validation=`` give, is therefore no bound, but flatters.

    **Shapes** a tuple ``(mean, log_variance)``, both of one shape ``->`` that shape; two ragged ones give a ragged one,
    with the lengths of the mean.

    **Raises** ``TypeError`` for an input that is no such tuple, ``ValueError`` when it trains without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.ones((2, 3)), jnp.zeros((2, 3))
        >>> gaussian_sample().apply({}, {}, x, train=True, key=jax.random.key(0))[0].shape
        (2, 3)

    **References** Kingma and Welling, Auto-encoding variational Bayes, 2013.
    """

    def checked(x: Any) -> tuple[Any, Any]:
        if not isinstance(x, tuple) or len(x) != 2 or isinstance(x[0], Ragged) != isinstance(x[1], Ragged):
            hint = 'Did you mean branch(…, merge="tuple") before it?'
            raise bad_type("gaussian_sample", "input must be a tuple of arrays (mean, log_variance)", x, hint)
        mean, log_variance = (positions("gaussian_sample", part) for part in x)
        check_moments("gaussian_sample", mean, log_variance)
        return mean, log_variance

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        checked(x)
        return {}, {}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        mean, log_variance = checked(x)
        if not train:
            return x[0], state
        if key is None:
            raise bad_value("gaussian_sample", "train=True needs a key", None, "Did you mean key=jax.random.key(0)?")
        y = F.gaussian_sample(key, mean, log_variance)
        return (Ragged(y, x[0].lengths) if isinstance(x[0], Ragged) else y), state

    return init, apply, each_position(apply)


def _noise(kind: str, noisy: Callable[[jax.Array, jax.Array, float], jax.Array], amount: float) -> Any:
    """The functions of a layer that is ``noisy(key, x, amount)`` while it trains, and the identity otherwise."""

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        jax.eval_shape(lambda key, x: noisy(key, x, amount), key, positions(kind, x))
        return {}, {}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if not train or amount == 0:
            return x, state
        if key is None:
            raise bad_value(kind, "train=True needs a key", None, "Did you mean key=jax.random.key(0)?")
        y = noisy(key, positions(kind, x), amount)
        return (Ragged(y, x.lengths) if isinstance(x, Ragged) else y), state

    return init, apply, each_position(apply)
