"""The transformer that came first, from sequence to sequence."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import layers as L
from jaxdl.combine import encoder_decoder, repeat, sequential, tie
from jaxdl.core import Layer
from jaxdl.models.blocks import beside_memory, dropped, target_of


def transformer(
    source_vocabulary: int,
    target_vocabulary: int,
    *,
    features: int,
    layers: int,
    heads: int,
    hidden: int | None = None,
    dropout: float = 0.1,
    tied: bool = True,
) -> Layer:
    """The encoder-decoder transformer of 2017: tokens and waves of their positions, blocks that normalise last, and a
    decoder that sees its own past and all of the source.

    It reads the target piece by piece: ``prefill((target, source), length=…)`` runs the encoder once, ``decode`` then
    takes the next tokens of the target.

    **Shapes** ``(target: (batch, time), source: (batch, steps))`` of integers ``-> (batch, time, target_vocabulary)``,
    each also ragged, of any length. In training the target begins with a token for the start, and what is to be
    predicted is the target one position later (teacher forcing).

    **Params** ``encoder`` (``tokens``, ``blocks``), ``decoder`` (``read/target/tokens``, ``blocks``, and ``logits``
    where they are not tied).

    **Args** ``layers``: of the encoder, and of the decoder; ``hidden``: of the feed-forward parts, four times the
    features by default; ``dropout``: of the embedded input and of each branch's output; ``tied``: the target's table of
    tokens serves the logits as well. Vectors of tokens are multiplied by √features.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from functools import partial
        >>> model = transformer(50, 60, features=16, layers=2, heads=2)
        >>> target, source = jnp.zeros((1, 5), int), jnp.zeros((1, 7), int)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), (target, source))
        >>> jax.eval_shape(partial(model.apply, train=False), params, state, (target, source))[0].shape
        (1, 5, 60)
        >>> read = partial(model.prefill, length=5)
        >>> logits, cache = jax.eval_shape(read, params, state, (target[:, :1], source))
        >>> jax.eval_shape(model.decode, params, cache, target[:, :1])[0].shape
        (1, 1, 60)

    **References** Vaswani et al., Attention is all you need, 2017.
    """
    mlp = partial(L.feed_forward, activation=jax.nn.relu)
    read = L.transformer_block(heads, hidden=hidden, causal=False, pre_norm=False, dropout=dropout, mlp=mlp)
    write = L.transformer_decoder_block(heads, hidden=hidden, pre_norm=False, dropout=dropout, mlp=mlp)
    encoder = sequential(*_embedded(source_vocabulary, features, dropout), ("blocks", repeat(read, layers)))
    decoder = sequential(
        ("read", beside_memory(*_embedded(target_vocabulary, features, dropout))),
        ("blocks", repeat(write, layers)),
        target_of,
        ("logits", L.attend(target_vocabulary)),
    )
    model = encoder_decoder(encoder, decoder)
    return tie(model, {"decoder/logits/embedding": "decoder/read/target/tokens/embedding"}) if tied else model


def _embedded(vocabulary: int, features: int, dropout: float) -> list[Any]:
    return [
        ("tokens", L.embedding(vocabulary, features)),
        partial(jnp.multiply, math.sqrt(features)),
        L.sinusoidal_positions(),
        *dropped(dropout),
    ]
