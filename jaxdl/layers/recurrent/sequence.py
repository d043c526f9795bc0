"""The recurrent layers of the field."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import layer
from jaxdl.core.checks import positive_int
from jaxdl.functional.recurrent.cells import Activation, Reset, check_reset
from jaxdl.functional.recurrent.sequence import Method, check_method, check_sequence
from jaxdl.layers.initializers import Initializer, draw, glorot_uniform, zeros
from jaxdl.layers.recurrent.reading import Outputs, array_of, check_outputs, each_gate, forget_one, orthogonal, reading


@layer
def simple_rnn(
    features: int,
    *,
    activation: Activation = jnp.tanh,
    outputs: Outputs = "all",
    reverse: bool = False,
    use_bias: bool = True,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    bias_init: Initializer = zeros,
    method: Method = "auto",
    param_dtype: Any = jnp.float32,
) -> Any:
    """A simple recurrent network, ``hₜ = tanh(xₜ W + hₜ₋₁ U + b)``; see :func:`jaxdl.functional.simple_rnn`.

    It starts from zeros; an initial state in and the final state out are the functional form's. Over a
    :class:`jaxdl.Ragged` input it stops at each sequence's own length. It reads a sequence piece by piece
    (``prefill``, ``decode``): the cache is h.

    **Shapes** ``x: (batch, time, in) -> (batch, time, features)``, ragged where x is, or ``(batch, features)``.
    **Params** ``kernel: (in, features)``, ``recurrent_kernel: (features, features)``, ``bias: (features,)``.

    **Args** ``outputs``: ``"all"``, or the ``"last"`` valid one, which for an empty sequence is the initial state,
    zeros. ``reverse``: read each sequence from its own end; all outputs stay at their inputs' places.
    ``kernel_init``: Glorot uniform, as in Keras. ``recurrent_init``: orthogonal, so that at the start a state keeps its
    norm over many steps, as in Keras and Flax. (PyTorch draws all from ``U(−1/√H, 1/√H)``.) ``method``: ``"auto"``, or
    ``"lax"`` for the plain loop, which has forward mode as well; see the functional form.

    **Raises** ``TypeError`` for an input that is not floating, ``ValueError`` for one of another rank.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> rnn = simple_rnn(32, outputs="last")
        >>> params, state = rnn.init(jax.random.key(0), jnp.ones((2, 7, 5)))
        >>> rnn.apply(params, state, jnp.ones((2, 7, 5)), train=False)[0].shape
        (2, 32)

    **References** Elman, Finding structure in time, 1990; Saxe, McClelland and Ganguli, Exact solutions to the
    nonlinear dynamics of learning in deep linear neural networks, 2014.
    """
    positive_int("simple_rnn", "features", features)
    check_outputs("simple_rnn", outputs)
    check_method("simple_rnn", method)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        check_sequence("simple_rnn", array_of(x))
        bias = {"bias": (bias_init, (features,))} if use_bias else {}
        kernel = (kernel_init, (array_of(x).shape[-1], features))
        return draw(key, param_dtype, kernel=kernel, recurrent_kernel=(recurrent_init, (features,) * 2), **bias), {}

    def run(params: dict[str, Any], x: jax.Array, **options: Any) -> tuple[jax.Array, Any]:
        weights = params["kernel"], params["recurrent_kernel"], params.get("bias")
        return F.simple_rnn(x, *weights, activation=activation, reverse=reverse, method=method, **options)

    return init, *reading("simple_rnn", run, outputs, reverse)


@layer
def lstm(
    features: int,
    *,
    outputs: Outputs = "all",
    reverse: bool = False,
    use_bias: bool = True,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    bias_init: Initializer = forget_one,
    method: Method = "auto",
    param_dtype: Any = jnp.float32,
) -> Any:
    """Long short-term memory; see :func:`jaxdl.functional.lstm_cell` for the formula and the order of the gates.

    Stacked, with dropout between, it is a ``sequential``:
    ``sequential(lstm(64), dropout(0.2), lstm(64, outputs="last"))``. It starts from zeros, stops at each sequence's
    length, and reads piece by piece as :func:`simple_rnn` does: the cache is (h, c).

    **Shapes** ``x: (batch, time, in) -> (batch, time, features)``, ragged where x is, or ``(batch, features)``.
    **Params** ``kernel: (in, 4 · features)``, ``recurrent_kernel: (features, 4 · features)``,
    ``bias: (4 · features,)``.

    **Args** ``outputs``, ``reverse``, ``method`` as in :func:`simple_rnn`. ``kernel_init`` (Glorot uniform),
    ``recurrent_init`` (orthogonal): called for each gate alone, as in Flax, so that a gate starts as it would without
    the others beside it (Keras draws all four as one matrix, whose entries are half as large). ``bias_init``, called
    for all four: zeros, and 1 for the forget gate, as in Keras, so that memory lasts from the start; PyTorch's forget
    gate starts near 0.

    **Raises** as :func:`simple_rnn`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> deep = dl.sequential(lstm(64), dl.layers.dropout(0.2), lstm(64, outputs="last"))
        >>> params, state = deep.init(jax.random.key(0), jnp.ones((2, 7, 5)))
        >>> jax.tree.map(jnp.shape, params["lstm"])
        {'bias': (256,), 'kernel': (5, 256), 'recurrent_kernel': (64, 256)}

    **References** Hochreiter and Schmidhuber, Long short-term memory, 1997; Jozefowicz, Zaremba and Sutskever, An
    empirical exploration of recurrent network architectures, 2015.
    """
    positive_int("lstm", "features", features)
    check_outputs("lstm", outputs)
    check_method("lstm", method)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        check_sequence("lstm", array_of(x))
        kernel = (each_gate(kernel_init, 4), (array_of(x).shape[-1], 4 * features))
        recurrent_kernel = (each_gate(recurrent_init, 4), (features, 4 * features))
        bias = {"bias": (bias_init, (4 * features,))} if use_bias else {}
        return draw(key, param_dtype, kernel=kernel, recurrent_kernel=recurrent_kernel, **bias), {}

    def run(params: dict[str, Any], x: jax.Array, **options: Any) -> tuple[jax.Array, Any]:
        weights = params["kernel"], params["recurrent_kernel"], params.get("bias")
        return F.lstm(x, *weights, reverse=reverse, method=method, **options)

    return init, *reading("lstm", run, outputs, reverse)


@layer
def gru(
    features: int,
    *,
    reset: Reset = "after",
    outputs: Outputs = "all",
    reverse: bool = False,
    use_bias: bool = True,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    bias_init: Initializer = zeros,
    method: Method = "auto",
    param_dtype: Any = jnp.float32,
) -> Any:
    """A gated recurrent unit; see :func:`jaxdl.functional.gru_cell` for both of its forms and the order of the gates.

    It starts from zeros, stops at each sequence's length, and reads piece by piece as :func:`simple_rnn` does: the
    cache is h.

    **Shapes** ``x: (batch, time, in) -> (batch, time, features)``, ragged where x is, or ``(batch, features)``.
    **Params** ``kernel: (in, 3 · features)``, ``recurrent_kernel: (features, 3 · features)``,
    ``bias: (3 · features,)`` and, with the reset gate after the product, ``recurrent_bias: (features,)``.

    **Args** ``reset``: the reset gate ``"before"`` or ``"after"`` the recurrent product; after it by default, as in
    PyTorch, cuDNN and Keras: one product a step. ``outputs``, ``reverse``, ``method`` as in :func:`simple_rnn`.
    ``kernel_init`` (Glorot uniform), ``recurrent_init`` (orthogonal): called for each gate alone, as in :func:`lstm`.

    **Raises** as :func:`simple_rnn`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = gru(64).init(jax.random.key(0), jnp.ones((2, 7, 5)))
        >>> jax.tree.map(jnp.shape, params)
        {'bias': (192,), 'kernel': (5, 192), 'recurrent_bias': (64,), 'recurrent_kernel': (64, 192)}

    **References** Cho et al., Learning phrase representations using RNN encoder-decoder, 2014.
    """
    positive_int("gru", "features", features)
    check_outputs("gru", outputs)
    check_method("gru", method)
    check_reset("gru", reset)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        check_sequence("gru", array_of(x))
        kernel = (each_gate(kernel_init, 3), (array_of(x).shape[-1], 3 * features))
        recurrent_kernel = (each_gate(recurrent_init, 3), (features, 3 * features))
        bias = {"bias": (bias_init, (3 * features,))} if use_bias else {}
        if use_bias and reset == "after":
            bias["recurrent_bias"] = (bias_init, (features,))
        return draw(key, param_dtype, kernel=kernel, recurrent_kernel=recurrent_kernel, **bias), {}

    def run(params: dict[str, Any], x: jax.Array, **options: Any) -> tuple[jax.Array, Any]:
        weights = params["kernel"], params["recurrent_kernel"], params.get("bias"), params.get("recurrent_bias")
        return F.gru(x, *weights, reset=reset, reverse=reverse, method=method, **options)

    return init, *reading("gru", run, outputs, reverse)
