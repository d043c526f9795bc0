"""The decoder of language models."""

import math
from functools import partial

from jax.nn.initializers import normal

from jaxdl import layers as L
from jaxdl.combine import repeat, sequential, tie
from jaxdl.core import Layer
from jaxdl.core.checks import positive_int
from jaxdl.models.blocks import dropped

DEVIATION = 0.02


def gpt(
    vocabulary: int,
    *,
    features: int,
    layers: int,
    heads: int,
    length: int,
    dropout: float = 0.0,
    tied: bool = True,
) -> Layer:
    """A causal language model in the shape of GPT-2: tokens and learned positions, blocks that normalise first, a last
    norm, and a logit for each token that may come next.

    It reads piece by piece (``prefill``, ``decode``), which is how text is sampled: the keys and values of what has
    been read are kept.

    **Shapes** ``x: (batch, time)`` of integers ``-> (batch, time, vocabulary)``, also ragged, for ``time`` up to
    ``length``. The target is x one position later.

    **Params** ``tokens``, ``positions``, ``blocks`` (each leaf with a leading axis of ``layers``), ``norm``, and
    ``logits`` where they are not tied. GPT-2 small, ``gpt(50257, features=768, layers=12, heads=12, length=1024)``, has
    124,439,808 parameters.

    **Args** ``dropout``: of the embedded input, of the weights of attention and of each branch's output. ``tied``: the
    table of tokens serves the logits as well.

    Kernels and tables begin normal with deviation 0.02, those whose product is added to the residual sum with
    ``0.02 / √(2 · layers)``, as in GPT-2, whose table of positions alone begins with 0.01. GELU is its approximation by
    tanh, and the norms' epsilon is 1e-5, as there.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from functools import partial
        >>> model = gpt(65, features=16, layers=2, heads=2, length=32)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8), int))
        >>> sorted(params), params["tokens"]["embedding"].shape
        (['blocks', 'norm', 'positions', 'tokens'], (65, 16))
        >>> read = partial(model.prefill, length=32)
        >>> logits, cache = jax.eval_shape(read, params, state, jnp.zeros((1, 8), int))
        >>> logits.shape, jax.eval_shape(model.decode, params, cache, jnp.zeros((1, 1), int))[0].shape
        ((1, 8, 65), (1, 1, 65))

    **References** Radford et al., Language models are unsupervised multitask learners, 2019; Vaswani et al., Attention
    is all you need, 2017.
    """
    small = normal(DEVIATION)
    smaller = normal(DEVIATION / math.sqrt(2 * positive_int("gpt", "layers", layers)))
    block = L.transformer_block(
        heads,
        dropout=dropout,
        attention=partial(L.multi_head_attention, dropout=dropout, kernel_init=small, out_init=smaller),
        mlp=partial(L.feed_forward, kernel_init=small, down_init=smaller),
    )
    model = sequential(
        ("tokens", L.embedding(vocabulary, features, embedding_init=small)),
        ("positions", L.learned_positions(length, embedding_init=small)),
        *dropped(dropout),
        ("blocks", repeat(block, layers)),
        ("norm", L.layer_norm()),
        ("logits", L.attend(vocabulary, embedding_init=small)),
    )
    return tie(model, {"logits/embedding": "tokens/embedding"}) if tied else model
