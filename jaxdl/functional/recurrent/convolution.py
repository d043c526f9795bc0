"""The LSTM whose products are convolutions."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core.checks import check_lengths, floating
from jaxdl.core.errors import bad_value
from jaxdl.functional.conv import check_conv, conv
from jaxdl.functional.recurrent.cells import lstm_gates
from jaxdl.functional.recurrent.steps import (
    batch_first,
    check_carry,
    in_one_dtype,
    plain_scan,
    time_first,
)
from jaxdl.functional.window import Padding


def conv_lstm_cell(
    carry: tuple[jax.Array, jax.Array] | None,
    x: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
) -> tuple[jax.Array, jax.Array]:
    """One step of a convolutional LSTM, ``(h, c) -> (h', c')``: :func:`lstm_cell` with convolutions for products.

    ``i, f, g, o = σ, σ, tanh, σ of the four parts of x ∗ W + h ∗ U + b``, then ``c' = f ⊙ c + i ⊙ g`` and
    ``h' = o ⊙ tanh(c')``. The convolution of h is padded to keep its size (``SAME``, without strides). As in Keras, and
    unlike the paper, gates do not look at c (no peepholes).

    **Shapes** ``x: (batch, *spatial, in)``, ``kernel: (*window, in, 4 · H)``, ``bias: (4 · H,)``,
    ``recurrent_kernel: (*window, H, 4 · H)``, ``carry``: h and c, each ``(batch, *positions, H)`` (None for zeros)
    ``-> h, c``.

    **Args** ``strides``, ``padding``: those of the input's convolution, see :func:`jaxdl.functional.conv`.

    Example:
        >>> import jax.numpy as jnp
        >>> h, c = conv_lstm_cell(None, jnp.ones((2, 5, 5, 3)), jnp.ones((3, 3, 3, 16)), jnp.ones((3, 3, 4, 16)))
        >>> h.shape
        (2, 5, 5, 4)

    **References** Shi et al., Convolutional LSTM network, 2015.
    """
    check_conv("conv_lstm_cell", x, 1)
    check_conv_weights("conv_lstm_cell", kernel, recurrent_kernel)
    x, kernel, u, bias = in_one_dtype(x, kernel, recurrent_kernel, bias)
    z = conv(x, kernel, bias, strides=strides, padding=padding)
    shape = (*z.shape[:-1], u.shape[-2])
    return _step(check_carry("conv_lstm_cell", "carry", carry, shape, 2, z.dtype), z, u)


def conv_lstm(
    x: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    lengths: Any = None,
    initial: tuple[jax.Array, jax.Array] | None = None,
    reverse: bool = False,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """A convolutional LSTM over sequences of images (or lines, or volumes): every h, and the last (h, c).

    :func:`conv_lstm_cell` has the formula. The input's convolution is one, of all steps together.

    **Shapes** ``x: (batch, time, *spatial, in)``, ``lengths: (batch,)``, weights as in :func:`conv_lstm_cell`,
    ``initial``: h and c, each ``(batch, *positions, H)`` ``-> y: (batch, time, *positions, H)``, ``(h, c)``.

    **Args** ``lengths``, ``initial``, ``reverse`` as in :func:`simple_rnn`; ``strides``, ``padding`` as in
    :func:`conv_lstm_cell`.

    Example:
        >>> import jax.numpy as jnp
        >>> y, (h, c) = conv_lstm(jnp.ones((2, 4, 5, 5, 3)), jnp.ones((3, 3, 3, 16)), jnp.ones((3, 3, 4, 16)))
        >>> y.shape, c.shape
        ((2, 4, 5, 5, 4), (2, 5, 5, 4))

    **References** Shi et al., Convolutional LSTM network, 2015.
    """
    check_conv_sequence("conv_lstm", x)
    check_conv_weights("conv_lstm", kernel, recurrent_kernel)
    x, kernel, u, bias = in_one_dtype(x, kernel, recurrent_kernel, bias)
    xs, real = time_first(x, check_lengths("conv_lstm", lengths, x))
    images = xs.reshape(xs.shape[0] * xs.shape[1], *xs.shape[2:])
    z = conv(images, kernel, bias, strides=strides, padding=padding)
    shape = (x.shape[0], *z.shape[1:-1], u.shape[-2])
    carry = check_carry("conv_lstm", "initial", initial, shape, 2, z.dtype)
    hs, carry = plain_scan(_step, reverse, z.reshape(*xs.shape[:2], *z.shape[1:]), (u,), carry, real)
    return batch_first(hs, real), carry


def check_conv_sequence(call: str, x: Any) -> None:
    """Raise unless ``x`` is a floating array with axes ``(batch, time, *spatial, in)``."""
    floating(call, "input", x)
    if len(x.shape) < 4:
        raise bad_value(call, "input must have shape (batch, time, *spatial, in)", x)


def check_conv_weights(call: str, kernel: jax.Array, recurrent_kernel: jax.Array) -> None:
    """Raise unless both kernels have as many axes and gates; the convolutions check the rest."""
    features = recurrent_kernel.shape[-2] if recurrent_kernel.ndim > 2 else 0
    if not features or recurrent_kernel.shape[-1] != 4 * features:
        raise bad_value(call, "recurrent_kernel must have shape (*window, H, 4 · H)", recurrent_kernel)
    if kernel.ndim != recurrent_kernel.ndim or kernel.shape[-1] != 4 * features:
        raise bad_value(call, f"kernel must have shape (*window, in, {4 * features}) for H = {features}", kernel)


def _step(carry: tuple[jax.Array, jax.Array], z: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    h, c = carry
    i, f, g, o = jnp.split(z + conv(h, u, padding="SAME"), 4, axis=-1)
    return lstm_gates(c, i, f, g, o)
