"""Regularising noise, and samples that have a derivative.

Every function is one of its key: the same key gives the same noise, at each position the same on one device as on
many.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core.checks import floating, fraction
from jaxdl.core.errors import bad_value, describe

# The limit of SELU for large negative inputs, −λα.
_SELU_FLOOR = -1.7580993408473766

_ODD = np.uint32(0x9E3779B1)


def dropout(key: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """Set a share ``rate`` of the elements to zero, at random, and scale the rest by ``1 / (1 − rate)``.

    The expectation of each element stays what it was. ``rate`` is the share that is *dropped*, rounded to a multiple of
    2⁻³². Random bits are what dropout costs, so four elements share a 32-bit word: each begins with a byte of its own
    and goes on, for the one in 256 that this leaves undecided, with the scrambled rest of the word.

    **Shapes** ``x`` of any shape ``->`` the same.

    **Raises** ``ValueError`` for a rate outside of [0, 1), ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = dropout(jax.random.key(0), jnp.ones(1000), 0.25)
        >>> sorted(set(y.tolist())) == [0.0, 1.3333333730697632], bool(abs(y.mean() - 1) < 0.1)
        (True, True)

    **References** Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout, 2014.
    """
    check_noise("dropout", x, rate)
    return _drop(key, x, rate, x.shape)


def channel_dropout(key: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """Dropout of whole channels: each channel of each example is zero at all positions, or at none.

    Neighbouring positions of a feature map are alike, so that dropping them one by one takes little away. Keras has it
    as SpatialDropout, PyTorch as Dropout1d to Dropout3d.

    **Shapes** ``x: (batch, …, channels) ->`` the same.

    **Raises** ``ValueError`` for a rate outside of [0, 1), ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> channel_dropout(jax.random.key(0), jnp.ones((1, 2, 4)), 0.5).tolist()
        [[[2.0, 2.0, 0.0, 2.0], [2.0, 2.0, 0.0, 2.0]]]

    **References** Tompson, Goroshin, Jain, LeCun and Bregler, Efficient object localization using convolutional
    networks, 2014.
    """
    check_noise("channel_dropout", x, rate)
    if len(x.shape) < 2:
        raise bad_value("channel_dropout", "input must have a batch and a channel axis, (batch, …, channels)", x)
    return _drop(key, x, rate, (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1]))


def drop_path(key: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """Dropout of whole examples, for the branch of a residual block: stochastic depth.

    Each example's ``x`` is zero with probability ``rate``, else scaled by ``1 / (1 − rate)``:
    ``residual(…, drop_path(0.1))`` skips the branch for a tenth of the examples. (Huang and others leave the scale out
    while training and put ``1 − rate`` in afterwards.)

    **Shapes** ``x: (batch, …) ->`` the same.

    **Raises** ``ValueError`` for a rate outside of [0, 1), ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> drop_path(jax.random.key(0), jnp.ones((4, 2)), 0.5).tolist()
        [[2.0, 2.0], [2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]

    **References** Huang, Sun, Liu, Sedra and Weinberger, Deep networks with stochastic depth, 2016.
    """
    check_noise("drop_path", x, rate)
    if not x.shape:
        raise bad_value("drop_path", "input must have a batch axis", x)
    return _drop(key, x, rate, (x.shape[0], *[1] * (x.ndim - 1)))


def alpha_dropout(key: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """Dropout for networks of SELU: dropped elements take SELU's least value, and mean and variance stay.

    ``y = a · (x or α′) + b`` with ``α′ = −λα ≈ −1.7581``, ``a = ((1 − rate)(1 + rate · α′²))^−½`` and
    ``b = −a · rate · α′``: elements of mean 0 and variance 1 keep both.

    **Shapes** ``x`` of any shape ``->`` the same.

    **Raises** ``ValueError`` for a rate outside of [0, 1), ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.random.normal(jax.random.key(0), (10_000,))
        >>> y = alpha_dropout(jax.random.key(1), x, 0.2)
        >>> bool(abs(y.mean()) < 0.05), bool(abs(y.var() - 1) < 0.05)
        (True, True)

    **References** Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural networks, 2017.
    """
    check_noise("alpha_dropout", x, rate)
    if rate == 0:
        return x
    scale = ((1 - rate) * (1 + rate * _SELU_FLOOR**2)) ** -0.5
    shift = -scale * rate * _SELU_FLOOR
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return (scale * jnp.where(_kept(key, rate, x.shape), wide, _SELU_FLOOR) + shift).astype(x.dtype)


def gaussian_noise(key: jax.Array, x: jax.Array, stddev: float) -> jax.Array:
    """Add normal noise, ``y = x + stddev · n`` with ``n ~ N(0, 1)``.

    **Shapes** ``x`` of any shape ``->`` the same. **Args** ``stddev``: in the units of ``x``, 0 or greater.

    **Raises** ``ValueError`` for a negative deviation, ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = gaussian_noise(jax.random.key(0), jnp.ones(10_000), 0.5)
        >>> bool(abs(y.mean() - 1) < 0.02), bool(abs(y.std() - 0.5) < 0.02)
        (True, True)

    **References** Bishop, Training with noise is equivalent to Tikhonov regularization, 1995.
    """
    floating("gaussian_noise", "input", x)
    check_stddev("gaussian_noise", stddev)
    if stddev == 0:
        return x
    noise = _normal(key, x)
    return (x.astype(noise.dtype) + stddev * noise).astype(x.dtype)


def gaussian_dropout(key: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """Multiply with normal noise of mean 1, ``y = x · (1 + √(rate / (1 − rate)) · n)`` with ``n ~ N(0, 1)``.

    The noise has the mean and the variance of :func:`dropout` of that rate.

    **Shapes** ``x`` of any shape ``->`` the same.

    **Raises** ``ValueError`` for a rate outside of [0, 1), ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = gaussian_dropout(jax.random.key(0), jnp.ones(10_000), 0.2)
        >>> bool(abs(y.mean() - 1) < 0.02), bool(abs(y.std() - 0.5) < 0.02)
        (True, True)

    **References** Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout, 2014, section 10.
    """
    check_noise("gaussian_dropout", x, rate)
    if rate == 0:
        return x
    noise = _normal(key, x)
    return (x.astype(noise.dtype) * (1 + math.sqrt(rate / (1 - rate)) * noise)).astype(x.dtype)


def gaussian_sample(key: jax.Array, mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """A sample of ``N(μ, σ²)`` that has a derivative in both, ``z = μ + exp(½ log σ²) · n`` with ``n ~ N(0, 1)``.

    The noise comes from outside, so that a gradient passes through the draw: the reparametrisation of a variational
    autoencoder.

    **Shapes** ``mean``, ``log_variance``: the same shape ``->`` that shape.

    **Raises** ``ValueError`` for unlike shapes, ``TypeError`` for inputs that are not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> z = gaussian_sample(jax.random.key(0), jnp.full(10_000, 2.0), jnp.full(10_000, jnp.log(9.0)))
        >>> bool(abs(z.mean() - 2) < 0.1), bool(abs(z.std() - 3) < 0.1)
        (True, True)

    **References** Kingma and Welling, Auto-encoding variational Bayes, 2013.
    """
    check_moments("gaussian_sample", mean, log_variance)
    noise = _normal(key, mean)
    return (mean + jnp.exp(0.5 * log_variance.astype(noise.dtype)) * noise).astype(mean.dtype)


def check_moments(call: str, mean: Any, log_variance: Any) -> None:
    """Raise unless both are floating arrays of one shape."""
    floating(call, "mean", mean)
    floating(call, "log_variance", log_variance)
    if mean.shape != log_variance.shape:
        raise bad_value(call, f"log_variance must have the shape of mean, {describe(mean)}", log_variance)


def check_noise(call: str, x: jax.Array, rate: float) -> None:
    """Raise unless ``x`` is a floating array and ``rate`` a share below 1."""
    floating(call, "input", x)
    fraction(call, "rate", rate)


def check_stddev(call: str, stddev: float) -> None:
    """Raise unless ``stddev`` is a finite number, 0 or greater."""
    if isinstance(stddev, bool) or not isinstance(stddev, int | float) or not 0 <= stddev < math.inf:
        raise bad_value(call, "stddev must be a finite number, 0 or greater", stddev)


def _normal(key: jax.Array, x: jax.Array) -> jax.Array:
    """Normal numbers shaped like ``x``, in ``promote_types(x.dtype, float32)``."""
    return jax.random.normal(key, x.shape, jnp.promote_types(x.dtype, jnp.float32))


def _drop(key: jax.Array, x: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
    """Keep or drop at once what shares an entry of a mask of that shape."""
    if rate == 0:
        return x
    return jnp.where(_kept(key, rate, shape), x / (1 - rate), 0).astype(x.dtype)


def _kept(key: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
    """True with probability ``1 − rate``, for each entry by itself."""
    # One row for each example: a batch that is split over devices makes its bits where they are needed.
    rows, columns = (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, math.prod(shape))
    words = jax.random.bits(key, (rows, -(-columns // 4)), jnp.uint32)
    least = np.uint32(min(round(rate * 2**32), 2**32 - 1))
    lanes = [_lane(words, byte) >= least for byte in range(4)]
    return jnp.concatenate(lanes, axis=1)[:, :columns].reshape(shape)


def _lane(words: jax.Array, byte: int) -> jax.Array:
    """Uniform words whose leading byte is that byte of the given ones, and whose rest is the rest, scrambled.

    The four lanes of a word have leading bytes of their own. The rest is shared: multiplied with an odd number, which
    is one to one, it says nothing of the other bytes in its leading bits.
    """
    turned = (words << np.uint32(8 * byte)) | (words >> np.uint32(32 - 8 * byte)) if byte else words
    head = np.uint32(0xFF000000)
    return (turned & head) | ((turned * _ODD) & ~head)
