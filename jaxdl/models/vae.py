"""The variational autoencoder."""

import math
from typing import Any

import jax

from jaxdl import layers as L
from jaxdl.combine import branch, parallel, sequential
from jaxdl.core import Layer
from jaxdl.core.checks import positive_int
from jaxdl.models.blocks import Activation, example_shape, many, same


def vae(
    latents: int,
    *,
    shape: int | tuple[int, ...] = (28, 28, 1),
    hidden: tuple[int, ...] = (512, 256),
    activation: Activation = jax.nn.relu,
) -> Layer:
    """A variational autoencoder: a distribution of codes for each input, and inputs for each code.

    The encoder gives mean and log variance of a normal distribution of codes z. While training a code is drawn,
    ``z = μ + exp(½ log σ²) · n``; otherwise it is the mean. The decoder gives logits of the input. It is trained by the
    evidence lower bound, whose negative is a plain function of the three results and the target (see the example). With
    ``train=False`` z is the mean, so that what ``evaluate`` and ``validation=`` give is no bound, but flatters.

    **Shapes** ``x: (batch, *shape) -> (logits: (batch, *shape), mean: (batch, latents), log_variance: (batch,
    latents))``. **Params** ``encoder`` (``dense``, …, ``moments/mean``, ``moments/log_variance``) and
    ``outputs/decoder`` (``dense``, …), each to be applied alone: codes drawn from ``N(0, I)`` make new examples.

    **Args** ``shape``: of one example; ``hidden``: units of the encoder's layers, the decoder's in reverse.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> def negative_elbo(outputs, x):
        ...     logits, mean, log_variance = outputs
        ...     pixels = dl.losses.binary_cross_entropy(logits, x).reshape(len(x), -1).sum(-1)
        ...     return pixels + dl.losses.gaussian_kl(mean, log_variance)
        >>> model = vae(2, shape=(4, 4, 1), hidden=(8,))
        >>> x = jnp.ones((3, 4, 4, 1))
        >>> params, state = model.init(jax.random.key(0), x)
        >>> outputs, _ = model.apply(params, state, x, train=True, key=jax.random.key(1))
        >>> negative_elbo(outputs, x).shape
        (3,)
        >>> mean, log_variance = dl.sublayer(model, "encoder").apply(params["encoder"], {}, x, train=False)[0]
        >>> decoder, weights = dl.sublayer(model, "outputs/decoder"), params["outputs"]["decoder"]
        >>> decoder.apply(weights, {}, jax.random.normal(jax.random.key(2), (5, 2)), train=False)[0].shape
        (5, 4, 4, 1)

    **References** Kingma and Welling, Auto-encoding variational Bayes, 2013; Rezende, Mohamed and Wierstra, Stochastic
    backpropagation and approximate inference in deep generative models, 2014.
    """
    positive_int("vae", "latents", latents)
    sizes = example_shape("vae", shape)
    units = many("vae", "hidden", hidden, least=0)
    moments = branch(("mean", L.dense(latents)), ("log_variance", L.dense(latents)), merge="tuple")
    down = [part for size in units for part in (L.dense(size), activation)]
    up = [part for size in reversed(units) for part in (L.dense(size), activation)]
    encoder = sequential(L.flatten(), *down, ("moments", moments))
    decoder = sequential(*up, L.dense(math.prod(sizes)), L.reshape(*sizes))
    codes = branch(("code", L.gaussian_sample()), ("mean", _mean), ("log_variance", _log_variance), merge="tuple")
    outputs = parallel(("decoder", decoder), ("mean", same), ("log_variance", same))
    return sequential(("encoder", encoder), ("codes", codes), ("outputs", outputs))


def _mean(moments: tuple[Any, Any]) -> Any:
    return moments[0]


def _log_variance(moments: tuple[Any, Any]) -> Any:
    return moments[1]
