"""Networks that learn to say an input in few numbers, and to read it off them."""

import math
from collections.abc import Callable
from typing import Any

import jax

from jaxdl import layers as L
from jaxdl.combine.sequential import sequential
from jaxdl.core import Layer
from jaxdl.core.checks import positive_int
from jaxdl.models.blocks import Activation, given, halved, many

Penalty = Callable[[Any, Any], Any]


def autoencoder(
    *features: int,
    activation: Activation = jax.nn.relu,
    code_activation: Activation | None = None,
    output_activation: Activation | None = None,
    noise: float = 0.0,
    penalty: Penalty | None = None,
) -> Layer:
    """Dense layers down to a code, and as many up again.

    ``autoencoder(784, 128, 32)`` encodes 784 → 128 → 32 and decodes 32 → 128 → 784. Its target is its input. With
    ``noise`` it denoises: while training it sees the input with noise, and its target is still the one without. With
    ``penalty`` of the code it is sparse, such as ``penalties.activity_l1(1e-4)``, or, on a sigmoid's code,
    ``penalties.activity_kl(0.1)``.

    The halves are the children ``encoder`` and ``decoder``, each to be applied alone (see the example).

    **Shapes** ``x: (…, features[0]) ->`` the same. **Params** ``encoder``, ``decoder``: in each ``dense``, ``dense_1``,
    …. **State** with ``penalty``, its ``aux_loss``.

    **Args** ``features``: the input's, those of the hidden layers, the code's; ``activation``: of the hidden layers;
    ``code_activation``, ``output_activation``: none by default, so that code and output may be any numbers;
    ``noise``: standard deviation, in the units of the input; ``penalty``: as of
    :func:`jaxdl.layers.activity_penalty`.

    **Raises** ``ValueError`` for fewer than two sizes.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> model = autoencoder(64, 16, 4)
        >>> x = jnp.ones((2, 64))
        >>> params, state = model.init(jax.random.key(0), x)
        >>> y, _ = model.apply(params, state, x, train=False)
        >>> code, _ = dl.sublayer(model, "encoder").apply(params["encoder"], {}, x, train=False)
        >>> same, _ = dl.sublayer(model, "decoder").apply(params["decoder"], {}, code, train=False)
        >>> y.shape, code.shape, bool((same == y).all())
        ((2, 64), (2, 4), True)

    **References** Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, 2006; Vincent and
    others, Extracting and composing robust features with denoising autoencoders, 2008; Ng, Sparse autoencoder, 2011.
    """
    first, *hidden, code = many("autoencoder", "features", features, least=2)
    down = [part for size in hidden for part in (L.dense(size), activation)]
    up = [part for size in reversed(hidden) for part in (L.dense(size), activation)]
    encoder = [*down, L.dense(code), *given(code_activation)]
    return _joined(encoder, [*up, L.dense(first), *given(output_activation)], noise, penalty)


def conv_autoencoder(
    code: int,
    *,
    shape: tuple[int, ...] = (28, 28, 1),
    filters: tuple[int, ...] = (32, 64),
    activation: Activation = jax.nn.relu,
    code_activation: Activation | None = None,
    output_activation: Activation | None = None,
    noise: float = 0.0,
    penalty: Penalty | None = None,
) -> Layer:
    """Convolutions 3×3 with stride 2 down to a dense code, and transposed ones up again.

    Each of ``filters`` halves the spatial sizes; a dense layer makes the code of what is left. The decoder goes the
    same way back. Denoising, sparseness and the halves ``encoder`` and ``decoder`` are those of :func:`autoencoder`.

    **Shapes** ``x: (batch, *shape) ->`` the same; the code is ``(batch, code)``. **Params** ``encoder``: ``conv``,
    ``conv_1``, …, ``dense``; ``decoder``: ``dense``, ``conv_transpose``, …. **State** with ``penalty``, its
    ``aux_loss``.

    **Args** ``shape``: of one example, channels last, each spatial size a multiple of ``2 ** len(filters)``; the rest
    as of :func:`autoencoder`.

    **Raises** ``ValueError`` for a shape that cannot be halved so often.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> from functools import partial
        >>> model = conv_autoencoder(8, shape=(8, 8, 1), filters=(2, 4))
        >>> x = jax.ShapeDtypeStruct((3, 8, 8, 1), jnp.float32)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), x)
        >>> encode = partial(dl.sublayer(model, "encoder").apply, train=False)
        >>> jax.eval_shape(encode, params["encoder"], {}, x)[0].shape
        (3, 8)
        >>> jax.eval_shape(partial(model.apply, train=False), params, state, x)[0].shape
        (3, 8, 8, 1)

    **References** Masci, Meier, Cireşan and Schmidhuber, Stacked convolutional auto-encoders for hierarchical feature
    extraction, 2011.
    """
    first, *later = many("conv_autoencoder", "filters", filters)
    sizes, channels = halved("conv_autoencoder", shape, len(filters))
    last = filters[-1]
    down = [part for size in (first, *later) for part in (L.conv(size, 3, strides=2, padding="SAME"), activation)]
    encoder = [*down, L.flatten(), L.dense(positive_int("conv_autoencoder", "code", code)), *given(code_activation)]
    decoder = [L.dense(math.prod(sizes) * last), activation, L.reshape(*sizes, last)]
    for size in reversed(filters[:-1]):
        decoder += [L.conv_transpose(size, 3, strides=2, padding="SAME"), activation]
    decoder += [L.conv_transpose(channels, 3, strides=2, padding="SAME"), *given(output_activation)]
    return _joined(encoder, decoder, noise, penalty)


def _joined(encoder: list[Any], decoder: list[Any], noise: float, penalty: Penalty | None) -> Layer:
    """The halves, noise before the first if there is any and a penalty after it."""
    before = [L.gaussian_noise(noise)] if noise else []
    between = [] if penalty is None else [L.activity_penalty(penalty)]
    return sequential(*before, ("encoder", sequential(*encoder)), *between, ("decoder", sequential(*decoder)))
