"""`jaxdl` as its users call it: a sequential model, a supervised step, and the engine's own program."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl as dl
from benchmarks.machine import cpu_count
from benchmarks.workloads import CNN, SEED, Workload
from jaxdl.train.program import means, train_program, zero_totals


def cnn(model: CNN) -> dl.Layer:
    """The course's CNN."""
    return dl.sequential(
        dl.layers.conv(model.filters, 3),
        jax.nn.relu,
        dl.layers.max_pool(2),
        dl.layers.flatten(),
        dl.layers.dense(model.hidden),
        jax.nn.relu,
        dl.layers.dense(model.classes),
    )


MODELS: dict[type, Callable[..., dl.Layer]] = {CNN: cnn}


def where(start: int, stop: int) -> np.ndarray:
    """The program's last argument: these steps of epoch 0, whose order begins with step 0."""
    return np.array([start, stop, 0, 0], np.int32)


class Session:
    """See :class:`benchmarks.peers.Session`."""

    def __init__(self, workload: Workload):
        self.workload = workload
        self.device, self.threads = jax.devices()[0].device_kind, cpu_count()
        self.data = workload.data()
        model = MODELS[type(workload.network)](workload.network)
        optimizer = optax.adam(workload.network.learning_rate)
        self.step = dl.make_step(dl.supervised(model, dl.losses.cross_entropy), optimizer)
        state = dl.train.create_state(model, optimizer, self.data["x"][:1], seed=SEED)
        weights = jax.tree.map(jnp.array, workload.weights())
        if jax.tree.map(jnp.shape, weights) != jax.tree.map(jnp.shape, state.params):
            raise ValueError(f"the weights of {workload.name} must have the names and shapes of {model}")
        self.start = replace(state, params=weights)

    def arguments(self) -> tuple[Any, ...]:
        """What the engine hands to its program in epoch 0, but for where to start and stop."""
        state = jax.tree.map(functools.partial(jnp.array, copy=True), self.start)  # It will be donated.
        arrays = (*jax.tree.map(jnp.asarray, (self.data, self.workload.order(0))), jax.random.key(np.uint32(SEED)))
        return self.step, None, state, zero_totals(self.step, None, state, *arrays), *arrays

    def losses(self, steps: int) -> list[float]:
        step, transform, state, totals, *rest = self.arguments()
        losses = []
        for i in range(steps):
            fresh = jax.tree.map(jnp.zeros_like, totals)
            state, totals = train_program(step, transform, state, fresh, *rest, where(i, i + 1))
            losses.append(means(totals)["loss"])
        return losses

    def train(self, epochs: int, done: Callable[[float], None]) -> None:
        def watch(event: Any) -> None:
            if event.kind == "epoch":
                done(event.metrics["loss"])

        dl.run(
            self.step,
            self.start,
            self.data,
            epochs=epochs,
            batch_size=self.workload.batch,
            remainder="drop",
            seed=SEED,
            callbacks=[watch],
            progress=False,
        )

    def program(self) -> str | None:
        return train_program.lower(*self.arguments(), where(0, 1)).compile().as_text()
