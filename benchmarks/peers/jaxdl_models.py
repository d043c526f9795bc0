"""The networks as a user of jaxdl writes them, of the layers and combinators that are there for everyone."""

import functools
from collections.abc import Callable
from typing import Any

import jax

import jaxdl as dl
from benchmarks.workloads import CNN, GPT, MLP, Autoencoder, Conv3D, Deep, Recurrent, UNet, ViT, Weights, WordBag
from jaxdl import layers as L


def mlp(network: MLP) -> dl.Layer:
    """Dense layers with ReLU between them."""
    *hidden, last = network.sizes[1:]
    return dl.sequential(*(part for size in hidden for part in (L.dense(size), jax.nn.relu)), L.dense(last))


def autoencoder(network: Autoencoder) -> dl.Layer:
    """The same with a sigmoid at the end."""
    *hidden, last = network.sizes[1:]
    dense = (part for size in hidden for part in (L.dense(size), jax.nn.relu))
    return dl.sequential(*dense, L.dense(last), jax.nn.sigmoid)


def cnn(network: CNN) -> dl.Layer:
    """The course's CNN."""
    return dl.sequential(
        L.conv(network.filters, 3),
        jax.nn.relu,
        L.max_pool(2),
        L.flatten(),
        L.dense(network.hidden),
        jax.nn.relu,
        L.dense(network.classes),
    )


def deep(network: Deep) -> dl.Layer:
    """Convolutions with batch norm and ReLU, the mean over positions, and a dense layer."""
    convolutions = (
        part
        for features, stride in zip(network.features, network.strides, strict=True)
        for part in (L.conv(features, 3, strides=stride, padding="SAME", use_bias=False), L.batch_norm(), jax.nn.relu)
    )
    return dl.sequential(*convolutions, L.global_avg_pool(), L.dense(network.classes))


CELLS = {"simple_rnn": L.simple_rnn, "lstm": L.lstm, "gru": L.gru}


def recurrent(network: Recurrent) -> dl.Layer:
    """Embedding, recurrence, dense from its last output."""
    return dl.sequential(
        L.embedding(network.vocabulary, network.features),
        CELLS[network.cell](network.hidden, outputs="last"),
        L.dense(network.classes),
    )


def gpt(network: GPT, stack: Callable[[dl.Layer, int], list[dl.Layer]] = lambda block, n: [block] * n) -> dl.Layer:
    """Pre-norm causal blocks over embedded ids; ``stack`` makes as many of one as there are to be."""
    rate = network.dropout
    attention = functools.partial(L.multi_head_attention, dropout=rate)
    block = L.transformer_block(network.heads, dropout=rate, attention=attention)
    return dl.sequential(
        L.embedding(network.vocabulary, network.width),
        L.learned_positions(network.time),
        *([L.dropout(rate)] if rate else []),
        *stack(block, network.layers),
        L.layer_norm(),
        L.dense(network.vocabulary),
    )


def as_sequence(x: jax.Array) -> jax.Array:
    """``(batch, height, width, channels) -> (batch, height · width, channels)``."""
    return x.reshape(x.shape[0], -1, x.shape[-1])


def vit(network: ViT) -> dl.Layer:
    """Pre-norm blocks over patches."""
    return dl.sequential(
        L.conv(network.width, network.patch, strides=network.patch),
        as_sequence,
        L.learned_positions((network.side // network.patch) ** 2),
        *[L.transformer_block(network.heads, causal=False)] * network.layers,
        L.layer_norm(),
        L.global_avg_pool(),
        L.dense(network.classes),
    )


def skip(x: jax.Array) -> jax.Array:
    """What a level hands over to its way up."""
    return x


def unet(network: UNet) -> dl.Layer:
    """Each level: two convolutions, the levels below beside a skip, and two convolutions of both."""

    def twice(features: int) -> dl.Layer:
        return dl.sequential(*[L.conv(features, 3, padding="SAME"), jax.nn.relu] * 2)

    def level(width: int, *below: int) -> dl.Layer:
        if not below:
            return dl.sequential(("down", twice(width)))
        around = dl.sequential(L.max_pool(2), ("level", level(*below)), L.conv_transpose(width, 2, strides=2))
        beside = dl.branch(skip, ("around", around), merge="concat")
        return dl.sequential(("down", twice(width)), ("beside", beside), ("up", twice(width)))

    return dl.sequential(("level", level(*network.features)), ("head", L.conv(network.classes, 1)))


def unet_weights(weights: Weights) -> Weights:
    """The levels' weights, each level inside of the one above it."""

    def nested(level: Weights, *below: Weights) -> Weights:
        if not below:
            return level
        up = dict(level["up"])
        around = {"conv_transpose": up.pop("conv_transpose"), "level": nested(*below)}
        return {"down": level["down"], "beside": {"around": around}, "up": up}

    levels = [weights[f"level_{i}"] for i in range(len(weights) - 1)]
    return {"level": nested(*levels), "head": weights["head"]}


def conv3d(network: Conv3D) -> dl.Layer:
    """Convolutions of volumes."""
    convolutions = (
        part
        for features in network.features
        for part in (L.conv(features, 3, padding="SAME"), jax.nn.relu, L.max_pool(2))
    )
    return dl.sequential(*convolutions, L.flatten(), L.dense(network.classes))


def word_bag(network: WordBag) -> dl.Layer:
    """The mean of the words' vectors, and a score for each word."""
    return dl.sequential(
        L.embedding(network.vocabulary, network.features), L.global_avg_pool(), L.dense(network.vocabulary)
    )


MODELS: dict[type, Callable[[Any], dl.Layer]] = {
    MLP: mlp,
    Autoencoder: autoencoder,
    CNN: cnn,
    Deep: deep,
    Recurrent: recurrent,
    GPT: gpt,
    ViT: vit,
    UNet: unet,
    Conv3D: conv3d,
    WordBag: word_bag,
}

ARRANGED: dict[type, Callable[[Weights], Weights]] = {UNet: unet_weights}
"""How the workload's weights lie in the model's tree, where that is otherwise than by name."""
