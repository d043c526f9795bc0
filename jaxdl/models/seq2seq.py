"""Recurrent networks from sequence to sequence."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxdl import layers as L
from jaxdl.combine import branch, encoder_decoder, sequential
from jaxdl.core import Layer, bad_type
from jaxdl.models.blocks import beside_memory, dropped, target_of


def seq2seq(
    source_vocabulary: int,
    target_vocabulary: int,
    *,
    features: int,
    hidden: int,
    cell: Callable[..., Layer] = L.gru,
    dropout: float = 0.0,
) -> Layer:
    """A bidirectional recurrent encoder, and a recurrent decoder with attention to the encoder's outputs.

    With h the decoder's outputs over the target so far and m the encoder's over the source, ``c = attention(h, m)`` and
    ``y = tanh([h, c] W) W_out``. The decoder begins with zeros: all that it knows of the source comes by attention.

    It reads the target piece by piece: ``prefill((target, source), length=…)`` reads the source once, ``decode`` then
    takes the next tokens of the target.

    **Shapes** ``(target: (batch, time), source: (batch, steps))`` of integers ``-> (batch, time, target_vocabulary)``,
    each also ragged. In training the target begins with a token for the start, and what is to be predicted is the
    target one position later (teacher forcing).

    **Params** ``encoder`` (``tokens``, ``bidirectional``), ``decoder`` (``read``, ``attention``, ``dense``,
    ``logits``).

    **Args** ``features``: of a token's vector; ``hidden``: of each direction of the encoder, and of the decoder;
    ``cell``: a constructor, called as ``cell(hidden)``; ``dropout``: of the embedded tokens and before the logits.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from functools import partial
        >>> model = seq2seq(12, 13, features=8, hidden=16)
        >>> target, source = jnp.zeros((1, 5), int), jnp.zeros((1, 7), int)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), (target, source))
        >>> jax.eval_shape(partial(model.apply, train=False), params, state, (target, source))[0].shape
        (1, 5, 13)
        >>> read = partial(model.prefill, length=5)
        >>> logits, cache = jax.eval_shape(read, params, state, (target[:, :1], source))
        >>> jax.eval_shape(model.decode, params, cache, target[:, :1])[0].shape
        (1, 1, 13)

    **References** Sutskever, Vinyals and Le, Sequence to sequence learning with neural networks, 2014; Bahdanau, Cho
    and Bengio, Neural machine translation by jointly learning to align and translate, 2014; Luong, Pham and Manning,
    Effective approaches to attention-based neural machine translation, 2015.
    """
    if not callable(cell):
        raise bad_type("seq2seq", "cell must be a constructor, which is called here", cell, "Did you mean layers.gru?")
    source = ("tokens", L.embedding(source_vocabulary, features)), *dropped(dropout)
    target = ("tokens", L.embedding(target_vocabulary, features)), *dropped(dropout)
    encoder = sequential(*source, L.bidirectional(cell(hidden)))
    decoder = sequential(
        ("read", beside_memory(*target, ("cell", cell(hidden)))),
        ("attention", branch(target_of, L.multi_head_attention(1), merge="concat")),
        L.dense(hidden),
        jnp.tanh,
        *dropped(dropout),
        ("logits", L.dense(target_vocabulary)),
    )
    return encoder_decoder(encoder, decoder)
