"""Recurrences over whole sequences."""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxdl.core.checks import check_lengths
from jaxdl.core.errors import bad_value
from jaxdl.functional.linear import dense
from jaxdl.functional.recurrent import cells, fast, fast_gru
from jaxdl.functional.recurrent.cells import Activation, Reset
from jaxdl.functional.recurrent.steps import (
    batch_first,
    check_carry,
    check_input,
    check_weights,
    in_one_dtype,
    plain_scan,
    time_first,
)

Method = Literal["auto", "lax"]


def simple_rnn(
    x: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    activation: Activation = jnp.tanh,
    lengths: Any = None,
    initial: jax.Array | None = None,
    reverse: bool = False,
    method: Method = "auto",
) -> tuple[jax.Array, jax.Array]:
    """A simple recurrent network over sequences, ``hₜ = tanh(xₜ W + hₜ₋₁ U + b)``: every h, and the last.

    The gradient of a late h to an early x is a product of as many factors ``diag(tanh') U``: it vanishes, or explodes.

    **Shapes** ``x: (batch, time, in)``, ``lengths: (batch,)``, ``initial: (batch, H)``, weights as in
    :func:`simple_rnn_cell` ``-> y: (batch, time, H)``, ``h: (batch, H)``.

    **Args** ``lengths``: how many steps of each sequence are real, the rest is padding on the right: it changes no
    state and no gradient, and its outputs are zero. ``initial``: the h before the first step, zeros for None.
    ``reverse``: read each sequence from its own last step to its first; outputs stay at their inputs' places, and the
    last h is that after the first step. ``method``: ``"auto"`` has a derivative of its own (reverse mode) where
    the activation is ``jnp.tanh``: the forward loop keeps what the loop back multiplies by, and the weights' gradients
    are formed after the loops; ``"lax"`` is the plain ``lax.scan``, which has forward mode as well.

    **Raises** ``ValueError`` for sizes that do not fit and lengths out of range, ``TypeError`` for an input that is not
    floating.

    Example:
        >>> import jax.numpy as jnp
        >>> y, h = simple_rnn(jnp.ones((2, 5, 3)), jnp.ones((3, 4)), jnp.ones((4, 4)), lengths=[5, 2])
        >>> y.shape, h.shape, y[1, :, 0].astype(bool).tolist()
        ((2, 5, 4), (2, 4), [True, True, False, False, False])

    **References** Elman, Finding structure in time, 1990; Bengio, Simard and Frasconi, Learning long-term dependencies
    with gradient descent is difficult, 1994.
    """
    check_sequence("simple_rnn", x, method)
    check_weights("simple_rnn", x, kernel, recurrent_kernel, 1, bias=(bias, 1))
    x, kernel, u, bias = in_one_dtype(x, kernel, recurrent_kernel, bias)
    carry = check_carry("simple_rnn", "initial", initial, (x.shape[0], u.shape[0]), 1, x.dtype)
    xs, real = time_first(x, check_lengths("simple_rnn", lengths, x))
    if method == "auto" and activation is jnp.tanh and x.shape[1]:
        weights = u, cells.bias_or_zeros(bias, kernel.shape[1], u.dtype)
        hs, carry = fast.simple_rnn_scan(reverse, dense(xs, kernel), weights, carry, real)
    else:
        step = functools.partial(cells.simple_rnn_step, activation)
        hs, carry = plain_scan(step, reverse, dense(xs, kernel, bias), (u,), carry, real)
    return batch_first(hs, real), carry


def lstm(
    x: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    lengths: Any = None,
    initial: tuple[jax.Array, jax.Array] | None = None,
    reverse: bool = False,
    method: Method = "auto",
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Long short-term memory over sequences: every h, and the last (h, c); :func:`lstm_cell` has the formula.

    **Shapes** ``x: (batch, time, in)``, ``lengths: (batch,)``, ``initial``: h and c, each ``(batch, H)``, weights as in
    :func:`lstm_cell` ``-> y: (batch, time, H)``, ``(h, c)``.

    **Args** and **Raises** as in :func:`simple_rnn`.

    Example:
        >>> import jax.numpy as jnp
        >>> y, (h, c) = lstm(jnp.ones((2, 5, 3)), jnp.ones((3, 16)), jnp.ones((4, 16)), lengths=[5, 2])
        >>> y.shape, bool((h == y[jnp.arange(2), jnp.array([4, 1])]).all())
        ((2, 5, 4), True)

    **References** Hochreiter and Schmidhuber, Long short-term memory, 1997; Gers, Schmidhuber and Cummins, Learning to
    forget, 2000.
    """
    check_sequence("lstm", x, method)
    check_weights("lstm", x, kernel, recurrent_kernel, 4, bias=(bias, 4))
    x, kernel, u, bias = in_one_dtype(x, kernel, recurrent_kernel, bias)
    carry = check_carry("lstm", "initial", initial, (x.shape[0], u.shape[0]), 2, x.dtype)
    xs, real = time_first(x, check_lengths("lstm", lengths, x))
    if method == "auto" and x.shape[1]:
        kernel, *weights = fast.halved(
            fast.LSTM_SIGMOIDS, kernel, u, cells.bias_or_zeros(bias, kernel.shape[1], u.dtype)
        )
        hs, carry = fast.lstm_scan(reverse, dense(xs, kernel), tuple(weights), carry, real)
    else:
        hs, carry = plain_scan(cells.lstm_step, reverse, dense(xs, kernel, bias), (u,), carry, real)
    return batch_first(hs, real), carry


def gru(
    x: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None = None,
    recurrent_bias: jax.Array | None = None,
    *,
    reset: Reset = "after",
    lengths: Any = None,
    initial: jax.Array | None = None,
    reverse: bool = False,
    method: Method = "auto",
) -> tuple[jax.Array, jax.Array]:
    """A gated recurrent unit over sequences: every h, and the last; :func:`gru_cell` has the formula of both forms.

    **Shapes** ``x: (batch, time, in)``, ``lengths: (batch,)``, ``initial: (batch, H)``, weights as in
    :func:`gru_cell` ``-> y: (batch, time, H)``, ``h: (batch, H)``.

    **Args** ``reset``: the reset gate ``"before"`` the recurrent product, as in the paper, or ``"after"`` it, as in
    PyTorch, cuDNN and Keras' default. The others and **Raises** as in :func:`simple_rnn`.

    Example:
        >>> import jax.numpy as jnp
        >>> y, h = gru(jnp.ones((2, 5, 3)), jnp.ones((3, 12)), jnp.ones((4, 12)), reverse=True)
        >>> y.shape, bool((h == y[:, 0]).all())
        ((2, 5, 4), True)

    **References** Cho et al., Learning phrase representations using RNN encoder-decoder, 2014.
    """
    check_sequence("gru", x, method)
    cells.check_gru("gru", x, kernel, recurrent_kernel, bias, recurrent_bias, reset)
    x, kernel, u, bias = in_one_dtype(x, kernel, recurrent_kernel, bias)
    h = check_carry("gru", "initial", initial, (x.shape[0], u.shape[0]), 1, x.dtype)
    xs, real = time_first(x, check_lengths("gru", lengths, x))
    inner = (cells.bias_or_zeros(recurrent_bias, u.shape[0], u.dtype),) if reset == "after" else ()
    if method == "auto" and x.shape[1]:
        bias = cells.bias_or_zeros(bias, kernel.shape[1], u.dtype)
        kernel, u, bias = fast.halved(fast_gru.GRU_SIGMOIDS, kernel, u, bias)
        if inner:
            hs, h = fast_gru.gru_after_scan(reverse, dense(xs, kernel), (u, bias, *inner), h, real)
        else:
            weights = (*jnp.split(u, [2 * u.shape[0]], axis=-1), bias)
            hs, h = fast_gru.gru_before_scan(reverse, dense(xs, kernel), weights, h, real)
    else:
        step = cells.gru_after_step if inner else cells.gru_before_step
        hs, h = plain_scan(step, reverse, dense(xs, kernel, bias), (u, *inner), h, real)
    return batch_first(hs, real), h


def check_sequence(call: str, x: Any, method: Method = "auto") -> None:
    """Raise unless ``x`` is a floating array ``(batch, time, in)`` and the method one of the two."""
    check_input(call, x, "(batch, time, in)")
    check_method(call, method)


def check_method(call: str, method: Method) -> None:
    """Raise unless the method is one of the two."""
    if method not in ("auto", "lax"):
        raise bad_value(call, 'method must be "auto" or "lax"', repr(method))
