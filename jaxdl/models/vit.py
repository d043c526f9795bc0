"""Transformers that read images."""

from functools import partial

from jaxdl import layers as L
from jaxdl.combine import repeat, sequential
from jaxdl.core import Layer
from jaxdl.core.checks import positive_int
from jaxdl.models.blocks import dropped


def vit(
    classes: int,
    *,
    patch: int,
    features: int,
    layers: int,
    heads: int,
    hidden: int | None = None,
    dropout: float = 0.0,
) -> Layer:
    """A vision transformer: an image as a sequence of patches with a class token before it, blocks that normalise
    first, a last norm, and a dense layer on the token.

    GELU is its approximation by tanh, and the norms' epsilon 1e-6, as in the authors' code; PyTorch's ViT has the exact
    GELU.

    **Shapes** ``x: (batch, height, width, channels) -> (batch, classes)``. Height and width are those of ``init``'s
    input, which say how many positions there are; what does not fill a patch is left out. An image of another number of
    patches is an error.

    **Params** ``patches``, ``class_token``, ``positions``, ``blocks`` (each leaf with a leading axis of ``layers``),
    ``norm``, ``dense``. ViT-B/16, ``vit(1000, patch=16, features=768, layers=12, heads=12)``, has 86,567,656 parameters
    for images of 224×224.

    **Args** ``patch``: the side of a patch in pixels; ``hidden``: of the feed-forward parts, four times the features by
    default; ``dropout``: of the embedded input, of each branch's output and of the hidden features.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from functools import partial
        >>> model = vit(10, patch=7, features=16, layers=2, heads=2)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
        >>> params["positions"]["embedding"].shape
        (17, 16)
        >>> jax.eval_shape(partial(model.apply, train=False), params, state, jnp.zeros((2, 28, 28, 1)))[0].shape
        (2, 10)

    **References** Dosovitskiy et al., An image is worth 16x16 words, 2020.
    """
    positive_int("vit", "patch", patch)
    norm = partial(L.layer_norm, epsilon=1e-6)
    mlp = partial(L.feed_forward, dropout=dropout)
    block = L.transformer_block(heads, hidden=hidden, causal=False, dropout=dropout, mlp=mlp, norm=norm)
    return sequential(
        ("patches", L.conv(features, patch, strides=patch)),
        L.reshape(-1, features),
        L.class_token(),
        ("positions", L.learned_positions(whole=True)),
        *dropped(dropout),
        ("blocks", repeat(block, layers)),
        ("norm", norm()),
        L.first_step(),
        L.dense(classes),
    )
