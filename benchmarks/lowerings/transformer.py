"""What a Transformer is made of besides products: attention, layer norm and the bias of its logits."""

import functools
from collections.abc import Iterator

import jax

from benchmarks.lowerings.rounds import Measuring, Round, beside, forward, gradients
from jaxdl import functional as F
from jaxdl.functional.moments import moments, normalised

ATTENTION: dict[str, Round] = {"forward": forward, "gradients": functools.partial(gradients, (0, 1, 2))}
NORM: dict[str, Round] = {"forward": forward, "gradients": functools.partial(gradients, (0, 1, 2))}
BIAS: dict[str, Round] = {"gradient": functools.partial(gradients, (0,))}


def _normal(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(sum(shape)), shape)


def plain_layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """By its formula, as JAX differentiates it."""
    mean, var, _ = moments(x, (x.ndim - 1,))
    return normalised(x, mean, var, scale, bias, 1e-5)


def attention_rows(how: Measuring) -> Iterator[list[str]]:
    """One row for each length of the sequence: causal, 32 features a head."""
    f = functools.partial(F.attention, causal=True)
    plain = functools.partial(f, drop=lambda weights: weights)  # Whatever is done to the weights, JAX differentiates.
    for batch, time, heads in ((12, 64, 4), (32, 64, 4), (4, 256, 4), (2, 512, 4), (1, 1024, 4)):
        x = _normal(batch, time, heads, 32)
        what = f"{batch} of {time}, {heads} heads of 32"
        yield beside(what, ATTENTION, f, plain, (x, 0.9 * x, 0.8 * x), how)


def layer_norm_rows(how: Measuring) -> Iterator[list[str]]:
    """One row for each shape."""
    for shape in ((12, 64, 128), (32, 64, 128), (8, 256, 512)):
        arguments = (_normal(*shape), _normal(shape[-1]), _normal(shape[-1]))
        what = " × ".join(map(str, shape))
        yield beside(what, NORM, F.layer_norm, plain_layer_norm, arguments, how)


def bias_gradient_rows(how: Measuring) -> Iterator[list[str]]:
    """One row for each batch and number of features: the bias of a dense layer of so many."""
    shapes = ((256, 1024), (2048, 1024), (8192, 1024), (1024, 8192), (128, 10_000), (256, 10_000), (64, 50_000))
    for rows, features in (*shapes, (256, 50_000)):
        x, kernel = _normal(rows, 1), _normal(1, features)

        def plain(bias: jax.Array, x: jax.Array, kernel: jax.Array) -> jax.Array:
            return x @ kernel + bias[None]

        def fast(bias: jax.Array, x: jax.Array, kernel: jax.Array) -> jax.Array:
            return F.dense(x, kernel, bias)

        yield beside(f"{rows} of {features}", BIAS, fast, plain, (_normal(features), x, kernel), how)


TABLES = {
    "bias_gradient": (BIAS, bias_gradient_rows),
    "attention": (ATTENTION, attention_rows),
    "layer_norm": (NORM, layer_norm_rows),
}
