"""Small things to train: layers of the usual kinds, and steps with as many leaves as one likes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl as dl
from jaxdl import layers as L


class Task(NamedTuple):
    """A step, where it begins, and its data."""

    step: Any
    state: Any
    data: dict[str, np.ndarray]
    batch: int


def model(name: str) -> dl.Layer:
    """``mlp``, ``cnn``, ``lstm`` or ``gpt`` (4 layers, 128 wide)."""
    if name == "mlp":
        return dl.sequential(L.flatten(), L.dense(256), jax.nn.relu, L.dense(128), jax.nn.relu, L.dense(10))
    if name == "cnn":
        hidden = (L.dense(128), jax.nn.relu, L.dense(10))
        return dl.sequential(L.conv(32, 3), jax.nn.relu, L.max_pool(2), L.flatten(), *hidden)
    if name == "lstm":
        return dl.sequential(L.embedding(1000, 32), L.lstm(64, outputs="last"), L.dense(10))
    blocks = [L.transformer_block(4, causal=True) for _ in range(4)]
    return dl.sequential(L.embedding(65, 128), L.learned_positions(64), *blocks, L.layer_norm(), L.dense(65))


BATCH = {"mlp": 128, "cnn": 32, "lstm": 32, "gpt": 12}


def data(name: str, steps: int) -> dict[str, np.ndarray]:
    """As many examples as the steps take."""
    rng, count = np.random.default_rng(0), steps * BATCH[name]
    if name in ("mlp", "cnn"):
        x = rng.uniform(size=(count, 28, 28, 1)).astype(np.float32)
        return {"x": x, "y": rng.integers(0, 10, count, np.int32)}
    if name == "lstm":
        return {"x": rng.integers(0, 1000, (count, 100), np.int32), "y": rng.integers(0, 10, count, np.int32)}
    tokens = rng.integers(0, 65, (count, 65), np.int32)
    return {"x": tokens[:, :-1], "y": tokens[:, 1:]}


def task(name: str, steps: int) -> Task:
    """One of the models, with Adam."""
    layer, optimizer, examples = model(name), optax.adam(1e-3), data(name, steps)
    step = dl.make_step(dl.supervised(layer, dl.losses.cross_entropy), optimizer)
    return Task(step, dl.train.create_state(layer, optimizer, examples["x"][:1]), examples, BATCH[name])


def leaves(count: int, steps: int) -> Task:
    """A step that does next to nothing with each of so many parameters of 8 numbers; with Adam three times as many."""
    params = {f"p{i:04}": jnp.ones(8) for i in range(count)}
    optimizer = optax.adam(1e-3)

    def loss_fn(params: Any, state: Any, batch: Any, *, key: Any, train: bool) -> Any:
        total = dl.Sum(batch["x"].mean() * sum(jnp.vdot(p, p) for p in jax.tree.leaves(params)), 1.0)
        return total, (state, {"loss": total})

    state = dl.TrainState(jnp.zeros((), jnp.int32), params, {}, optimizer.init(params), jax.random.key(0))
    return Task(dl.make_step(loss_fn, optimizer), state, {"x": np.ones((8 * steps, 4), np.float32)}, 8)
