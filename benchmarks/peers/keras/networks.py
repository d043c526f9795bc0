"""The workloads' networks as Keras functional models; layers are called by the paths of the workload's weights."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers as L

from benchmarks.workloads import CNN, GPT, MLP, Autoencoder, Conv3D, Deep, Recurrent, UNet, ViT, WordBag

Tensor = Any


def numbered(name: str, index: int) -> str:
    """``name``, ``name_1``, …"""
    return f"{name}_{index}" if index else name


def dense(model: MLP) -> keras.Model:
    """Dense layers with ReLU between them, and a sigmoid at the end of an autoencoder."""
    x = inputs = keras.Input(model.sizes[:1])
    *hidden, outputs = model.sizes[1:]
    for i, size in enumerate(hidden):
        x = L.Dense(size, activation="relu", name=numbered("dense", i))(x)
    last = "sigmoid" if isinstance(model, Autoencoder) else None
    return keras.Model(inputs, L.Dense(outputs, activation=last, name=numbered("dense", len(hidden)))(x))


def cnn(model: CNN) -> keras.Model:
    """The course's CNN."""
    inputs = keras.Input((model.side, model.side, 1))
    x = L.Conv2D(model.filters, 3, activation="relu", name="conv")(inputs)
    x = L.Flatten()(L.MaxPooling2D()(x))
    x = L.Dense(model.hidden, activation="relu", name="dense")(x)
    return keras.Model(inputs, L.Dense(model.classes, name="dense_1")(x))


def deep(model: Deep) -> keras.Model:
    """Convolutions with batch norm."""
    x = inputs = keras.Input((model.side, model.side, model.channels))
    for i, (width, stride) in enumerate(zip(model.features, model.strides, strict=True)):
        x = L.Conv2D(width, 3, stride, padding="same", use_bias=False, name=numbered("conv", i))(x)
        x = L.ReLU()(L.BatchNormalization(epsilon=1e-5, name=numbered("batch_norm", i))(x))
    return keras.Model(inputs, L.Dense(model.classes, name="dense")(L.GlobalAveragePooling2D()(x)))


def recurrent(model: Recurrent) -> keras.Model:
    """Embedding, one recurrent layer, dense from its last output."""
    form = {"simple_rnn": L.SimpleRNN, "lstm": L.LSTM, "gru": L.GRU}[model.cell]
    inputs = keras.Input((model.time,), dtype="int32")
    x = L.Embedding(model.vocabulary, model.features, name="embedding")(inputs)
    x = form(model.hidden, name=model.cell)(x)
    return keras.Model(inputs, L.Dense(model.classes, name="dense")(x))


class LearnedPositions(L.Layer):
    """Adds an embedding of the position."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.embedding = self.add_weight(shape=shape[1:], name="embedding")

    def call(self, x: Tensor) -> Tensor:
        return x + self.embedding


def gelu(x: Tensor) -> Tensor:
    """The approximation by tanh."""
    return keras.activations.gelu(x, approximate=True)


def block(x: Tensor, path: str, width: int, heads: int, dropout: float, causal: bool) -> Tensor:
    """A pre-norm Transformer block."""
    normed = L.LayerNormalization(epsilon=1e-5, name=f"{path}.attention_norm")(x)
    attention = L.MultiHeadAttention(heads, width // heads, dropout=dropout, name=f"{path}.attention")
    x = x + dropped(attention(normed, normed, use_causal_mask=causal), dropout)
    normed = L.LayerNormalization(epsilon=1e-5, name=f"{path}.mlp_norm")(x)
    hidden = L.Dense(4 * width, activation=gelu, name=f"{path}.mlp.up")(normed)
    return x + dropped(L.Dense(width, name=f"{path}.mlp.down")(hidden), dropout)


def dropped(x: Tensor, rate: float) -> Tensor:
    """With dropout, where there is any."""
    return L.Dropout(rate)(x) if rate else x


def transformer(x: Tensor, model: GPT | ViT) -> Tensor:
    """What GPT and ViT share: learned positions, blocks, layer norm."""
    rate, causal = getattr(model, "dropout", 0.0), isinstance(model, GPT)
    x = dropped(LearnedPositions(name="learned_positions")(x), rate)
    for i in range(model.layers):
        x = block(x, numbered("transformer_block", i), model.width, model.heads, rate, causal)
    return L.LayerNormalization(epsilon=1e-5, name="layer_norm")(x)


def gpt(model: GPT) -> keras.Model:
    """A causal language model."""
    inputs = keras.Input((model.time,), dtype="int32")
    x = transformer(L.Embedding(model.vocabulary, model.width, name="embedding")(inputs), model)
    return keras.Model(inputs, L.Dense(model.vocabulary, name="dense")(x))


def vit(model: ViT) -> keras.Model:
    """An image Transformer."""
    inputs = keras.Input((model.side, model.side, model.channels))
    x = L.Conv2D(model.width, model.patch, model.patch, name="conv")(inputs)
    x = transformer(L.Reshape((-1, model.width))(x), model)
    return keras.Model(inputs, L.Dense(model.classes, name="dense")(L.GlobalAveragePooling1D()(x)))


def twice(x: Tensor, width: int, path: str) -> Tensor:
    """Two convolutions with ReLU."""
    for i in range(2):
        x = L.Conv2D(width, 3, padding="same", activation="relu", name=f"{path}.{numbered('conv', i)}")(x)
    return x


def unet(model: UNet) -> keras.Model:
    """Down, and up again with skips."""
    x = inputs = keras.Input((model.side, model.side, model.channels))
    skips = []
    for i, width in enumerate(model.features):
        x = twice(L.MaxPooling2D()(x) if i else x, width, f"level_{i}.down")
        skips.append(x)
    for i, width in reversed(list(enumerate(model.features[:-1]))):
        x = L.Conv2DTranspose(width, 2, 2, name=f"level_{i}.up.conv_transpose")(x)
        x = twice(L.Concatenate()([skips[i], x]), width, f"level_{i}.up")
    return keras.Model(inputs, L.Conv2D(model.classes, 1, name="head")(x))


def conv3d(model: Conv3D) -> keras.Model:
    """Convolutions in three dimensions."""
    x = inputs = keras.Input((model.side, model.side, model.side, 1))
    for i, width in enumerate(model.features):
        x = L.Conv3D(width, 3, padding="same", activation="relu", name=numbered("conv", i))(x)
        x = L.MaxPooling3D()(x)
    return keras.Model(inputs, L.Dense(model.classes, name="dense")(L.Flatten()(x)))


def words(model: WordBag) -> keras.Model:
    """The middle word from its neighbours."""
    inputs = keras.Input((model.words,), dtype="int32")
    x = L.Embedding(model.vocabulary, model.features, name="embedding")(inputs)
    return keras.Model(inputs, L.Dense(model.vocabulary, name="dense")(L.GlobalAveragePooling1D()(x)))


MODELS: dict[type, Callable[[Any], keras.Model]] = {
    MLP: dense,
    Autoencoder: dense,
    CNN: cnn,
    Deep: deep,
    Recurrent: recurrent,
    GPT: gpt,
    ViT: vit,
    UNet: unet,
    Conv3D: conv3d,
    WordBag: words,
}
