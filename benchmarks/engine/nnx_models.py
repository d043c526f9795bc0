"""The models in Flax NNX, as its guide writes them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx


class MLP(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.first, self.second = nnx.Linear(784, 256, rngs=rngs), nnx.Linear(256, 128, rngs=rngs)
        self.last = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        return self.last(nnx.relu(self.second(nnx.relu(self.first(x)))))


class CNN(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(1, 32, (3, 3), padding="VALID", rngs=rngs)
        self.hidden, self.last = nnx.Linear(5408, 128, rngs=rngs), nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.conv(x)), (2, 2), (2, 2))
        return self.last(nnx.relu(self.hidden(x.reshape(x.shape[0], -1))))


class LSTM(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.embedding = nnx.Embed(1000, 32, rngs=rngs)
        self.recurrent = nnx.RNN(nnx.OptimizedLSTMCell(32, 64, rngs=rngs))
        self.last = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last(self.recurrent(self.embedding(x))[:, -1])


class Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.first, self.second = nnx.LayerNorm(128, rngs=rngs), nnx.LayerNorm(128, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, 128, decode=False, rngs=rngs)
        self.up, self.down = nnx.Linear(128, 512, rngs=rngs), nnx.Linear(512, 128, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        mask = nnx.make_causal_mask(jnp.ones(x.shape[:2]))
        x = x + self.attention(self.first(x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.second(x))))


class GPT(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.embedding, self.places = nnx.Embed(65, 128, rngs=rngs), nnx.Embed(64, 128, rngs=rngs)
        self.blocks = nnx.List([Block(rngs) for _ in range(4)])
        self.norm, self.last = nnx.LayerNorm(128, rngs=rngs), nnx.Linear(128, 65, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.embedding(x) + self.places(jnp.arange(x.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.last(self.norm(x))


MODELS: dict[str, Callable[[nnx.Rngs], nnx.Module]] = {"mlp": MLP, "cnn": CNN, "lstm": LSTM, "gpt": GPT}
