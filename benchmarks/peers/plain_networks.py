"""The networks by hand, as functions of their weights: ``(weights, state, x, *, train, key) -> (y, state)``.

They call the same lowerings as jaxdl's layers, its functions of arrays ``F``, and nothing else of it: what the layers
cost is measured from here. Only batch norm has a state, only dropout needs a key.
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.workloads import CNN, GPT, MLP, Autoencoder, Conv3D, Deep, Network, Recurrent, UNet, ViT, WordBag
from jaxdl import functional

Tree = dict[str, Any]
Apply = Callable[..., tuple[jax.Array, Tree]]
relu = jax.nn.relu


def numbered(name: str, count: int) -> list[str]:
    """``name``, ``name_1``, …"""
    return [f"{name}_{i}" if i else name for i in range(count)]


def named(key: jax.Array, name: str) -> jax.Array:
    """A key of that name, made as jaxdl makes it: both drop the same."""
    return jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))


def by_weights(function: Callable[..., jax.Array]) -> Callable[..., Apply]:
    """For each network the form of a ``function(F, network, weights, x)`` without state or randomness."""

    def form(network: Any, F: Any = functional) -> Apply:
        def apply(w: Tree, state: Tree, x: jax.Array, *, train: bool, key: Any) -> tuple[jax.Array, Tree]:
            return function(F, network, w, x), state

        return apply

    return form


@by_weights
def mlp(F: Any, network: MLP, w: Tree, x: jax.Array) -> jax.Array:
    *hidden, last = numbered("dense", len(network.sizes) - 1)
    for name in hidden:
        x = relu(F.dense(x, **w[name]))
    return F.dense(x, **w[last])


@by_weights
def autoencoder(F: Any, network: Autoencoder, w: Tree, x: jax.Array) -> jax.Array:
    *hidden, last = numbered("dense", len(network.sizes) - 1)
    for name in hidden:
        x = relu(F.dense(x, **w[name]))
    return jax.nn.sigmoid(F.dense(x, **w[last]))


@by_weights
def cnn(F: Any, network: CNN, w: Tree, x: jax.Array) -> jax.Array:
    x = F.max_pool(relu(F.conv(x, **w["conv"])), 2)
    x = relu(F.dense(F.flatten(x), **w["dense"]))
    return F.dense(x, **w["dense_1"])


def deep(network: Deep, F: Any = functional) -> Apply:
    def apply(w: Tree, state: Tree, x: jax.Array, *, train: bool, key: Any) -> tuple[jax.Array, Tree]:
        new = {}
        convs, norms = numbered("conv", len(network.strides)), numbered("batch_norm", len(network.strides))
        for conv, norm, stride in zip(convs, norms, network.strides, strict=True):
            x = F.conv(x, w[conv]["kernel"], strides=stride, padding="SAME")
            x, mean, var = F.batch_norm(x, **w[norm], **state[norm], train=train)
            new[norm] = {"mean": mean, "var": var}
            x = relu(x)
        return F.dense(F.global_avg_pool(x), **w["dense"]), new

    return apply


def running_statistics(w: Tree) -> Tree:
    """The state that batch norm begins with."""
    norms = {name: leaves["bias"] for name, leaves in w.items() if name.startswith("batch_norm")}
    wide = {name: bias.astype(jnp.promote_types(bias.dtype, jnp.float32)) for name, bias in norms.items()}
    return {name: {"mean": jnp.zeros_like(bias), "var": jnp.ones_like(bias)} for name, bias in wide.items()}


@by_weights
def recurrent(F: Any, network: Recurrent, w: Tree, x: jax.Array) -> jax.Array:
    run: Callable[..., Any] = {"simple_rnn": F.simple_rnn, "lstm": F.lstm, "gru": F.gru}[network.cell]
    _, last = run(F.embedding(x, w["embedding"]["embedding"]), **w[network.cell])
    return F.dense(last[0] if network.cell == "lstm" else last, **w["dense"])  # h of (h, c)


def attention(F: Any, w: Tree, x: jax.Array, heads: int, *, causal: bool, drop: Any = None) -> jax.Array:
    """Multi-head attention of a sequence to itself."""
    batch, time, width = x.shape
    q, k, v = (F.dense(x, **w[n]).reshape(batch, time, heads, width // heads) for n in ("query", "key", "value"))
    y = F.attention(q, k, v, causal=causal, drop=drop)
    return F.dense(y.reshape(batch, time, width), **w["out"])


def feed_forward(F: Any, w: Tree, x: jax.Array) -> jax.Array:
    return F.dense(jax.nn.gelu(F.dense(x, **w["up"])), **w["down"])


def block(F: Any, w: Tree, x: jax.Array, heads: int, *, causal: bool) -> jax.Array:
    x = x + attention(F, w["attention"], F.layer_norm(x, **w["attention_norm"]), heads, causal=causal)
    return x + feed_forward(F, w["mlp"], F.layer_norm(x, **w["mlp_norm"]))


def dropped_block(F: Any, w: Tree, x: jax.Array, heads: int, rate: float, key: jax.Array) -> jax.Array:
    """A causal block that drops attention's weights and each branch's output."""
    drop = partial(F.dropout, named(key, "attention"), rate=rate)
    y = attention(F, w["attention"], F.layer_norm(x, **w["attention_norm"]), heads, causal=True, drop=drop)
    x = x + F.dropout(named(key, "attention_dropout"), y, rate)
    return x + F.dropout(named(key, "mlp_dropout"), feed_forward(F, w["mlp"], F.layer_norm(x, **w["mlp_norm"])), rate)


def gpt(network: GPT, F: Any = functional) -> Apply:
    def apply(w: Tree, state: Tree, x: jax.Array, *, train: bool, key: jax.Array) -> tuple[jax.Array, Tree]:
        x = F.embedding(x, w["embedding"]["embedding"])
        x = x + w["learned_positions"]["embedding"][None, : x.shape[1]]
        noisy = train and network.dropout > 0
        if noisy:
            x = F.dropout(named(key, "dropout"), x, network.dropout)
        for name in numbered("transformer_block", network.layers):
            if noisy:
                x = dropped_block(F, w[name], x, network.heads, network.dropout, named(key, name))
            else:
                x = block(F, w[name], x, network.heads, causal=True)
        return F.dense(F.layer_norm(x, **w["layer_norm"]), **w["dense"]), state

    return apply


@by_weights
def vit(F: Any, network: ViT, w: Tree, x: jax.Array) -> jax.Array:
    x = F.conv(x, **w["conv"], strides=network.patch)
    x = x.reshape(x.shape[0], -1, x.shape[-1]) + w["learned_positions"]["embedding"][None]
    for name in numbered("transformer_block", network.layers):
        x = block(F, w[name], x, network.heads, causal=False)
    x = F.layer_norm(x, **w["layer_norm"])
    return F.dense(F.global_avg_pool(x), **w["dense"])


@by_weights
def unet(F: Any, network: UNet, w: Tree, x: jax.Array) -> jax.Array:
    def twice(w: Tree, x: jax.Array) -> jax.Array:
        for name in ("conv", "conv_1"):
            x = relu(F.conv(x, **w[name], padding="SAME"))
        return x

    def level(i: int, x: jax.Array) -> jax.Array:
        here = w[f"level_{i}"]
        x = twice(here["down"], x)
        if "up" not in here:
            return x
        below = F.conv_transpose(level(i + 1, F.max_pool(x, 2)), **here["up"]["conv_transpose"], strides=2)
        return twice(here["up"], jnp.concatenate([x, below], axis=-1))

    return F.conv(level(0, x), **w["head"])


@by_weights
def conv3d(F: Any, network: Conv3D, w: Tree, x: jax.Array) -> jax.Array:
    for name in numbered("conv", len(network.features)):
        x = F.max_pool(relu(F.conv(x, **w[name], padding="SAME")), 2)
    return F.dense(F.flatten(x), **w["dense"])


@by_weights
def word_bag(F: Any, network: WordBag, w: Tree, x: jax.Array) -> jax.Array:
    return F.dense(F.global_avg_pool(F.embedding(x, w["embedding"]["embedding"])), **w["dense"])


MODELS: dict[type[Network], Callable[..., Apply]] = {
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
