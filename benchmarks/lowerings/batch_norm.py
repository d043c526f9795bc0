"""Batch norm while training, alone and with a ReLU after it."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from benchmarks.lowerings.rounds import Function, Measuring, Round, beside, forward, gradients
from jaxdl import functional as F
from jaxdl.functional.moments import moments, normalised

ROUNDS: dict[str, Round] = {"forward": forward, "all gradients": functools.partial(gradients, (0, 1, 2))}

SHAPES = ((64, 32, 32, 64), (64, 16, 16, 128), (64, 8, 8, 256), (64, 4, 4, 512), (128, 256))


def written(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """With the derivative that is written down."""
    mean, var = jnp.zeros_like(scale), jnp.ones_like(scale)
    return F.batch_norm(x, scale, bias, mean, var, train=True)[0]


def found(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """With the derivative that JAX finds."""
    mean, var, _ = moments(x, tuple(range(x.ndim - 1)))
    return normalised(x, mean, var, scale, bias, 1e-5)


def rectified(f: Function) -> Function:
    """``relu(f(…))``."""
    return lambda *arguments: jax.nn.relu(f(*arguments))


def rows(how: Measuring) -> Iterator[list[str]]:
    """Two rows for each of the shapes."""
    for shape in SHAPES:
        x = jax.random.normal(jax.random.key(0), shape)
        arguments = (x, jnp.ones(shape[-1:]), jnp.zeros(shape[-1:]))
        name = "×".join(map(str, shape))
        yield beside(name, ROUNDS, written, found, arguments, how)
        yield beside(f"{name}, ReLU", ROUNDS, rectified(written), rectified(found), arguments, how)


TABLES = {"batch_norm": (ROUNDS, rows)}
