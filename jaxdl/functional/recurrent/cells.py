"""One step of each recurrence: carry and input in, carry out."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxdl.core.errors import bad_value
from jaxdl.functional.linear import dense
from jaxdl.functional.recurrent.steps import check_carry, check_input, check_weights, in_one_dtype

Reset = Literal["before", "after"]
Activation = Callable[[jax.Array], jax.Array]


def simple_rnn_cell(
    h: jax.Array | None,
    x: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    activation: Activation = jnp.tanh,
) -> jax.Array:
    """One step of a simple recurrent network (Elman's): ``h' = tanh(x W + h U + b)``.

    **Shapes** ``h: (batch, H)`` (None for zeros), ``x: (batch, in)``, ``kernel: (in, H)``,
    ``recurrent_kernel: (H, H)``, ``bias: (H,)`` ``-> (batch, H)``. PyTorch has two biases; they only ever add.

    Example:
        >>> import jax.numpy as jnp
        >>> simple_rnn_cell(None, jnp.ones((2, 3)), jnp.ones((3, 4)), jnp.ones((4, 4))).shape
        (2, 4)

    **References** Elman, Finding structure in time, 1990.
    """
    check_input("simple_rnn_cell", x, "(batch, in)")
    check_weights("simple_rnn_cell", x, kernel, recurrent_kernel, 1, bias=(bias, 1))
    x, kernel, u, bias = in_one_dtype(x, kernel, recurrent_kernel, bias)
    h = check_carry("simple_rnn_cell", "h", h, (x.shape[0], u.shape[0]), 1, x.dtype)
    return simple_rnn_step(activation, h, dense(x, kernel, bias), u)


def lstm_cell(
    carry: tuple[jax.Array, jax.Array] | None,
    x: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """One step of long short-term memory: ``(h, c) -> (h', c')``, of which h' is the output.

    ``i, f, g, o = σ, σ, tanh, σ of the four parts of x W + h U + b``, then ``c' = f ⊙ c + i ⊙ g`` and
    ``h' = o ⊙ tanh(c')``.

    Gates lie packed in the order input, forget, candidate, output: as in PyTorch and Keras. (PyTorch adds two biases.)

    **Shapes** ``carry``: h and c, each ``(batch, H)`` (None for zeros), ``x: (batch, in)``, ``kernel: (in, 4 · H)``,
    ``recurrent_kernel: (H, 4 · H)``, ``bias: (4 · H,)`` ``-> h, c``.

    Example:
        >>> import jax.numpy as jnp
        >>> h, c = lstm_cell(None, jnp.ones((2, 3)), jnp.ones((3, 16)), jnp.ones((4, 16)))
        >>> h.shape, c.shape
        ((2, 4), (2, 4))

    **References** Hochreiter and Schmidhuber, Long short-term memory, 1997; Gers, Schmidhuber and Cummins, Learning to
    forget, 2000.
    """
    check_input("lstm_cell", x, "(batch, in)")
    check_weights("lstm_cell", x, kernel, recurrent_kernel, 4, bias=(bias, 4))
    x, kernel, u, bias = in_one_dtype(x, kernel, recurrent_kernel, bias)
    carry = check_carry("lstm_cell", "carry", carry, (x.shape[0], u.shape[0]), 2, x.dtype)
    return lstm_step(carry, dense(x, kernel, bias), u)


def gru_cell(
    h: jax.Array | None,
    x: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None = None,
    recurrent_bias: jax.Array | None = None,
    *,
    reset: Reset = "after",
) -> jax.Array:
    """One step of a gated recurrent unit, in either of its two forms.

    ``r = σ(x W_r + h U_r + b_r)``, ``z = σ(x W_z + h U_z + b_z)``, ``h' = z ⊙ h + (1 − z) ⊙ n``, where

    - ``reset="after"`` the product: ``n = tanh(x W_n + b_n + r ⊙ (h U_n + recurrent_bias))``, as in cuDNN, PyTorch,
      Flax and Keras' default: one product a step;
    - ``reset="before"`` it: ``n = tanh(x W_n + b_n + (r ⊙ h) U_n)``, as in the paper and in Keras'
      ``reset_after=False``.

    Gates lie packed in the order r, z, n: PyTorch's. Keras has z, r, n. Its bias after the product is ``(2, 3 · H)``,
    one row for the input and one for the state: of r and z the two only ever add, so ``bias`` is their sum; of n it is
    the first row, and the second row's n is ``recurrent_bias``. PyTorch's ``bias_ih`` and ``bias_hh`` are such rows.

    **Shapes** ``h: (batch, H)`` (None for zeros), ``x: (batch, in)``, ``kernel: (in, 3 · H)``,
    ``recurrent_kernel: (H, 3 · H)``, ``bias: (3 · H,)``, ``recurrent_bias: (H,)``, only after the product,
    ``-> (batch, H)``.

    Example:
        >>> import jax.numpy as jnp
        >>> gru_cell(None, jnp.ones((2, 3)), jnp.ones((3, 12)), jnp.ones((4, 12)), reset="before").shape
        (2, 4)

    **References** Cho et al., Learning phrase representations using RNN encoder-decoder, 2014.
    """
    check_input("gru_cell", x, "(batch, in)")
    check_gru("gru_cell", x, kernel, recurrent_kernel, bias, recurrent_bias, reset)
    x, kernel, u, bias = in_one_dtype(x, kernel, recurrent_kernel, bias)
    h = check_carry("gru_cell", "h", h, (x.shape[0], u.shape[0]), 1, x.dtype)
    z = dense(x, kernel, bias)
    if reset == "before":
        return gru_before_step(h, z, u)
    return gru_after_step(h, z, u, bias_or_zeros(recurrent_bias, u.shape[0], u.dtype))


def check_gru(
    call: str,
    x: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None,
    recurrent_bias: jax.Array | None,
    reset: Reset,
) -> None:
    """Raise unless the weights of a gated recurrent unit fit its input and its form."""
    check_weights(call, x, kernel, recurrent_kernel, 3, bias=(bias, 3), recurrent_bias=(recurrent_bias, 1))
    check_reset(call, reset)
    if reset == "before" and recurrent_bias is not None:
        raise bad_value(call, 'with reset="before" there is no recurrent_bias', recurrent_bias)


def check_reset(call: str, reset: Reset) -> None:
    """Raise unless ``reset`` names one of the two forms."""
    if reset not in ("before", "after"):
        raise bad_value(call, 'reset must be "before" or "after"', repr(reset))


def bias_or_zeros(bias: jax.Array | None, size: int, dtype: Any) -> jax.Array:
    """The bias in that dtype, zeros for None."""
    return jnp.zeros(size, dtype) if bias is None else jnp.asarray(bias, dtype)


def simple_rnn_step(activation: Activation, h: jax.Array, z: jax.Array, u: jax.Array) -> jax.Array:
    """Given ``z = x W + b``."""
    return activation(z + h @ u)


def lstm_step(carry: tuple[jax.Array, jax.Array], z: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Given ``z = x W + b``."""
    h, c = carry
    i, f, g, o = jnp.split(z + h @ u, 4, axis=-1)
    return lstm_gates(c, i, f, g, o)


def lstm_gates(c: jax.Array, i: jax.Array, f: jax.Array, g: jax.Array, o: jax.Array) -> tuple[jax.Array, jax.Array]:
    """h' and c' of the cell and of the gates before their activation."""
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru_after_step(h: jax.Array, z: jax.Array, u: jax.Array, recurrent_bias: jax.Array) -> jax.Array:
    """Given ``z = x W + b``."""
    zr, zz, zn = jnp.split(z, 3, axis=-1)
    hr, hz, hn = jnp.split(h @ u, 3, axis=-1)
    n = jnp.tanh(zn + jax.nn.sigmoid(zr + hr) * (hn + recurrent_bias[None]))
    return n + jax.nn.sigmoid(zz + hz) * (h - n)


def gru_before_step(h: jax.Array, z: jax.Array, u: jax.Array) -> jax.Array:
    """Given ``z = x W + b``."""
    size = 2 * h.shape[-1]
    r, update = jnp.split(jax.nn.sigmoid(z[:, :size] + h @ u[:, :size]), 2, axis=-1)
    n = jnp.tanh(z[:, size:] + (r * h) @ u[:, size:])
    return n + update * (h - n)
