"""Generators and discriminators of generative adversarial networks.

A generator makes examples from noise, a discriminator scores examples: each is a model of its own, and the game between
them is a step of one's own for :func:`jaxdl.run`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import layers as L
from jaxdl.combine.sequential import sequential
from jaxdl.core import Layer, bad_type
from jaxdl.models.blocks import Activation, dropped, example_shape, halved, many

Norm = Callable[[], Layer]

_leaky_relu = partial(jax.nn.leaky_relu, negative_slope=0.2)

_normal = jax.nn.initializers.normal(0.02)


def dense_generator(
    *,
    shape: int | tuple[int, ...] = (28, 28, 1),
    hidden: tuple[int, ...] = (256, 512, 1024),
    norm: Norm | None = None,
    activation: Activation = _leaky_relu,
    output_activation: Activation = jnp.tanh,
) -> Layer:
    """Dense layers from noise to examples.

    **Shapes** ``z: (batch, latents) -> (batch, *shape)``, from −1 to 1. **Params** ``dense``, ``dense_1``, …. **State**
    that of the norms.

    **Args** ``shape``: of one example; ``hidden``: units of the layers before the last; ``norm``: a constructor, called
    as ``norm()`` before each hidden activation, such as ``layers.batch_norm``; none by default.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = dense_generator(shape=(4, 4, 1), hidden=(8,))
        >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 5)))
        >>> model.apply(params, state, jnp.ones((3, 5)), train=False)[0].shape
        (3, 4, 4, 1)

    **References** Goodfellow and others, Generative adversarial nets, 2014.
    """
    sizes = example_shape("dense_generator", shape)
    _check_norm("dense_generator", norm)
    children: list[Any] = []
    for size in many("dense_generator", "hidden", hidden, least=0):
        children += [L.dense(size), *_one(norm), activation]
    return sequential(*children, L.dense(math.prod(sizes)), L.reshape(*sizes), output_activation)


def dense_discriminator(
    *, hidden: tuple[int, ...] = (512, 256), dropout: float = 0.0, activation: Activation = _leaky_relu
) -> Layer:
    """Dense layers from examples to a score each.

    It treats each example alone, so that it is also a critic of a Wasserstein GAN with gradient penalty.

    **Shapes** ``x: (batch, …) -> (batch,)``, logits that an example is real. **Params** ``dense``, ``dense_1``, ….

    **Args** ``hidden``: units of the layers before the last; ``dropout``: after each of them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = dense_discriminator(hidden=(8,))
        >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 4, 4, 1)))
        >>> model.apply(params, state, jnp.ones((3, 4, 4, 1)), train=False)[0].shape
        (3,)

    **References** Goodfellow and others, Generative adversarial nets, 2014.
    """
    units = many("dense_discriminator", "hidden", hidden, least=0)
    layers = (part for size in units for part in (L.dense(size), activation, *dropped(dropout)))
    return sequential(L.flatten(), *layers, L.dense(1), L.reshape())


def dcgan_generator(
    *,
    shape: tuple[int, ...] = (28, 28, 1),
    filters: tuple[int, ...] = (128, 64),
    norm: Norm | None = L.batch_norm,
    activation: Activation = jax.nn.relu,
    output_activation: Activation = jnp.tanh,
) -> Layer:
    """Transposed convolutions 4×4 with stride 2 from noise to images.

    A dense layer makes a small image of ``filters[0]`` channels; each transposed convolution doubles its sizes, to the
    next of ``filters`` and at last to the channels of ``shape``. A norm and an activation follow all but the last.
    Kernels begin as ``N(0, 0.02²)``. ``dcgan_generator(shape=(64, 64, 3), filters=(1024, 512, 256, 128))`` has the
    paper's widths; the paper's kernels are 5×5, these 4×4 as in PyTorch's port.

    **Shapes** ``z: (batch, latents) -> (batch, *shape)``, from −1 to 1. **Params** ``dense``, ``batch_norm``,
    ``conv_transpose``, …: 12,658,435 in all at the paper's widths for 100 latents. **State** that of the norms.

    **Args** ``shape``: of one example, channels last, each spatial size a multiple of ``2 ** len(filters)``; ``norm``:
    a constructor, called as ``norm()``, or None (a layer before a norm has no bias).

    **Raises** ``ValueError`` for a shape that cannot be halved so often.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from functools import partial
        >>> model = dcgan_generator(shape=(8, 8, 1), filters=(4, 2))
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 5)))
        >>> jax.eval_shape(partial(model.apply, train=False), params, state, jnp.ones((3, 5)))[0].shape
        (3, 8, 8, 1)

    **References** Radford, Metz and Chintala, Unsupervised representation learning with deep convolutional generative
    adversarial networks, 2015.
    """
    first, *later = many("dcgan_generator", "filters", filters)
    sizes, channels = halved("dcgan_generator", shape, len(filters))
    _check_norm("dcgan_generator", norm)
    free = norm is None

    def up(features: int, use_bias: bool) -> Layer:
        return L.conv_transpose(features, 4, strides=2, padding="SAME", use_bias=use_bias, kernel_init=_normal)

    children: list[Any] = [L.dense(math.prod(sizes) * first, use_bias=free, kernel_init=_normal)]
    children += [L.reshape(*sizes, first), *_one(norm), activation]
    for size in later:
        children += [up(size, free), *_one(norm), activation]
    return sequential(*children, up(channels, True), output_activation)


def dcgan_discriminator(
    *,
    filters: tuple[int, ...] = (64, 128),
    norm: Norm | None = L.batch_norm,
    dropout: float = 0.0,
    activation: Activation = _leaky_relu,
) -> Layer:
    """Convolutions 4×4 with stride 2 from images to a score each.

    Leaky ReLU of slope 0.2 follows each convolution, a norm each but the first; a dense layer makes the score. Kernels
    begin as ``N(0, 0.02²)``.

    The critic of a Wasserstein GAN with gradient penalty must treat each example alone, which batch norm does not:
    ``norm=partial(layers.group_norm, 1)`` (the layer norm of Gulrajani et al., over all positions and channels of an
    example), or ``norm=None``.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch,)``, logits that an example is real. **Params** ``conv``,
    ``conv_1``, ``batch_norm``, …, ``dense``. **State** that of the norms.

    **Args** ``filters``: of each convolution; ``norm``: a constructor, called as ``norm()``, or None; ``dropout``:
    after each activation.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from functools import partial
        >>> model = dcgan_discriminator(filters=(2, 4))
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 8, 8, 1)))
        >>> jax.eval_shape(partial(model.apply, train=False), params, state, jnp.ones((3, 8, 8, 1)))[0].shape
        (3,)

    **References** Radford, Metz and Chintala, Unsupervised representation learning with deep convolutional generative
    adversarial networks, 2015; Gulrajani and others, Improved training of Wasserstein GANs, 2017.
    """
    first, *later = many("dcgan_discriminator", "filters", filters)
    _check_norm("dcgan_discriminator", norm)

    def down(features: int, use_bias: bool) -> Layer:
        return L.conv(features, 4, strides=2, padding="SAME", use_bias=use_bias, kernel_init=_normal)

    children: list[Any] = [down(first, True), activation, *dropped(dropout)]
    for size in later:
        children += [down(size, norm is None), *_one(norm), activation, *dropped(dropout)]
    return sequential(*children, L.flatten(), L.dense(1, kernel_init=_normal), L.reshape())


def _one(norm: Norm | None) -> list[Layer]:
    return [] if norm is None else [norm()]


def _check_norm(call: str, norm: Any) -> None:
    if norm is not None and not callable(norm):
        raise bad_type(
            call, "norm must be a constructor, which is called here, or None", norm, "Did you mean layers.batch_norm?"
        )
