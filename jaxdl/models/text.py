"""Classifiers of texts."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxdl import layers as L
from jaxdl.combine import branch, sequential
from jaxdl.core import Layer, bad_type, bad_value
from jaxdl.core.checks import positive_int
from jaxdl.layers.recurrent.reading import Outputs
from jaxdl.models.blocks import dropped, many


def text_cnn(
    vocabulary: int,
    classes: int,
    *,
    features: int = 128,
    widths: Sequence[int] = (3, 4, 5),
    filters: int = 100,
    dropout: float = 0.5,
) -> Layer:
    """Filters over windows of several widths side by side, the largest value of each over the text, and a dense layer.

    Texts are taken with zeros at both ends, so that one shorter than a window has a value as well.

    **Shapes** ``x: (batch, time)`` of integers ``-> (batch, classes)``, also ragged: padding changes nothing.

    **Params** ``tokens``, ``windows`` (one subtree for each width, ``width_3`` …), ``dense``. With vectors of 300
    features it has the shape of CNN-rand, without its norm constraint.

    **Args** ``features``: of a token's vector; ``filters``: for each width; ``dropout``: of the values that the dense
    layer takes. ``classes=1`` is a single logit, for a binary loss.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> from functools import partial
        >>> texts = dl.Ragged(jnp.array([[5, 2, 9, 4], [7, 0, 0, 0]]), lengths=jnp.array([4, 1]))
        >>> model = text_cnn(10, 2, features=8, filters=4)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), texts)
        >>> jax.eval_shape(partial(model.apply, train=False), params, state, texts)[0].shape
        (2, 2)

    **References** Kim, Convolutional neural networks for sentence classification, 2014.
    """

    def window(width: int) -> tuple[str, Layer]:
        return f"width_{width}", sequential(L.conv(filters, width, padding="SAME"), jax.nn.relu, L.global_max_pool())

    return sequential(
        ("tokens", L.embedding(vocabulary, features)),
        ("windows", branch(*map(window, many("text_cnn", "widths", widths)), merge="concat")),
        *dropped(dropout),
        L.dense(classes),
    )


def text_rnn(
    vocabulary: int,
    classes: int,
    *,
    cell: Callable[..., Layer] = L.lstm,
    features: int = 128,
    hidden: int = 128,
    bidirectional: bool = False,
    layers: int = 1,
    dropout: float = 0.0,
) -> Layer:
    """Recurrent layers over a text, and a dense layer on the last output.

    The last output is that at each text's own end; of a bidirectional layer it is the last of each direction.

    **Shapes** ``x: (batch, time)`` of integers ``-> (batch, classes)``, also ragged: padding changes nothing.

    **Params** ``tokens``, one subtree for each recurrent layer (``lstm``, ``lstm_1``, … or ``bidirectional``, …),
    ``dense``.

    **Args** ``cell``: a constructor, called as ``cell(hidden, outputs=…)``: ``layers.simple_rnn``, ``layers.lstm``,
    ``layers.gru``, or a ``partial`` of one. ``features``: of a token's vector; ``hidden``: of each layer and direction;
    ``dropout``: before each recurrent layer and the dense one. ``classes=1`` is a single logit, for a binary loss.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> from functools import partial
        >>> texts = dl.Ragged(jnp.array([[5, 2, 9], [7, 0, 0]]), lengths=jnp.array([3, 1]))
        >>> model = text_rnn(10, 1, cell=dl.layers.gru, features=4, hidden=8, bidirectional=True, layers=2)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), texts)
        >>> jax.eval_shape(partial(model.apply, train=False), params, state, texts)[0].shape
        (2, 1)

    **References** Hochreiter and Schmidhuber, Long short-term memory, 1997; Graves and Schmidhuber, Framewise phoneme
    classification with bidirectional LSTM, 2005 (stacked in both directions).
    """
    if not callable(cell):
        raise bad_type(
            "text_rnn", "cell must be a constructor, which is called here", cell, "Did you mean layers.lstm?"
        )
    if not isinstance(bidirectional, bool):
        raise bad_value("text_rnn", "bidirectional must be True or False", bidirectional)
    last = positive_int("text_rnn", "layers", layers) - 1
    stages: list[Any] = []
    for index in range(layers):
        outputs: Outputs = "last" if index == last else "all"
        stages += dropped(dropout)
        stages += [L.bidirectional(cell(hidden), outputs=outputs) if bidirectional else cell(hidden, outputs=outputs)]
    return sequential(
        ("tokens", L.embedding(vocabulary, features)),
        *stages,
        *dropped(dropout),
        L.dense(classes),
    )
