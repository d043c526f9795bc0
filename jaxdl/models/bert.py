"""The encoder of language models, and its classifier."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import normal

from jaxdl import layers as L
from jaxdl.combine import branch, parallel, repeat, sequential
from jaxdl.core import Layer
from jaxdl.models.blocks import dropped, same

small = normal(0.02)


def bert(
    vocabulary: int,
    *,
    features: int,
    layers: int,
    heads: int,
    length: int,
    token_types: int | None = 2,
    dropout: float = 0.1,
) -> Layer:
    """An encoder in the shape of BERT: tokens, their types and learned positions, added and normalised, then blocks
    that normalise last and see the whole text.

    Its first token stands for the text: ``pooled = tanh(hidden[:, 0] W + b)``.

    **Shapes** ``(tokens: (batch, time), types: (batch, time))`` of integers, or with ``token_types=None`` the tokens
    alone ``-> (hidden: (batch, time, features), pooled: (batch, features))``, for ``time`` up to ``length``; ragged
    tokens need ragged types of the same lengths, and give ragged ``hidden``.

    **Params** ``embed`` (``tokens``, ``types``), ``positions``, ``norm``, ``blocks`` (each leaf with a leading axis of
    ``layers``), ``pool``. BERT base, ``bert(30522, features=768, layers=12, heads=12, length=512)``, has 109,482,240
    parameters.

    **Args** ``token_types``: how many there are, such as first and second sentence. ``dropout``: of the embedded input,
    of the weights of attention and of each branch's output. The activation is the exact GELU, the norms' epsilon 1e-12,
    as in BERT; kernels and tables begin normal with deviation 0.02, where BERT cuts the normal off at two deviations.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from functools import partial
        >>> model = bert(100, features=16, layers=2, heads=2, length=32)
        >>> tokens, types = jnp.array([[1, 5, 9, 2]]), jnp.array([[0, 0, 1, 1]])
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), (tokens, types))
        >>> run = partial(model.apply, train=False)
        >>> (hidden, pooled), _ = jax.eval_shape(run, params, state, (tokens, types))
        >>> hidden.shape, pooled.shape
        ((1, 4, 16), (1, 16))

    **References** Devlin, Chang, Lee and Toutanova, BERT: pre-training of deep bidirectional transformers, 2018.
    """
    encoder = _encoder(vocabulary, features, layers, heads, length, token_types, dropout)
    return sequential(*encoder, ("ends", branch(("hidden", same), ("pool", _pool(features)), merge="tuple")))


def bert_classifier(
    vocabulary: int,
    classes: int,
    *,
    features: int,
    layers: int,
    heads: int,
    length: int,
    token_types: int | None = None,
    dropout: float = 0.1,
) -> Layer:
    """A classifier of texts on the pooled output of :func:`bert`: ``y = dropout(pooled) W + b``.

    **Shapes** as of :func:`bert`, here by default the tokens alone, ``(batch, time) -> (batch, classes)``, also ragged.

    **Params** those of :func:`bert`, and ``dense``.

    **Args** as of :func:`bert`; ``dropout`` is of the pooled output as well.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from functools import partial
        >>> model = bert_classifier(100, 3, features=16, layers=2, heads=2, length=32)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), jnp.array([[1, 5, 9, 2]]))
        >>> jax.eval_shape(partial(model.apply, train=False), params, state, jnp.array([[1, 7, 2]]))[0].shape
        (1, 3)

    **References** Devlin, Chang, Lee and Toutanova, BERT: pre-training of deep bidirectional transformers, 2018.
    """
    encoder = _encoder(vocabulary, features, layers, heads, length, token_types, dropout)
    return sequential(*encoder, ("pool", _pool(features)), *dropped(dropout), L.dense(classes, kernel_init=small))


def _pool(features: int) -> Layer:
    """The first token, through a dense layer and tanh."""
    return sequential(L.first_step(), L.dense(features, kernel_init=small), jnp.tanh)


def _encoder(
    vocabulary: int, features: int, layers: int, heads: int, length: int, token_types: int | None, dropout: float
) -> list[Any]:
    """The children up to the last block."""
    tokens = L.embedding(vocabulary, features, embedding_init=small)
    norm = partial(L.layer_norm, epsilon=1e-12)
    block = L.transformer_block(
        heads,
        causal=False,
        pre_norm=False,
        dropout=dropout,
        attention=partial(L.multi_head_attention, dropout=dropout, kernel_init=small),
        mlp=partial(L.feed_forward, activation=partial(jax.nn.gelu, approximate=False), kernel_init=small),
        norm=norm,
    )
    if token_types is not None:
        types = L.embedding(token_types, features, embedding_init=small)
        tokens = parallel(("tokens", tokens), ("types", types), merge="add")
    return [
        ("embed", tokens),
        ("positions", L.learned_positions(length, embedding_init=small)),
        ("norm", norm()),
        *dropped(dropout),
        ("blocks", repeat(block, layers)),
    ]
