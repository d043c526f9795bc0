"""jaxdl as its users train: a model of layers, and the engine with its shuffle, its metrics and its progress bar."""

import contextlib
import functools
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl as dl
from benchmarks.machine import cpu_count
from benchmarks.peers.jaxdl_models import ARRANGED, MODELS
from benchmarks.peers.precision import at_precision
from benchmarks.workloads import SEED, Autoencoder, Workload
from jaxdl.train.program import means, train_program, zero_totals


class DiscardedTerminal(io.TextIOBase):
    """A terminal that nobody looks at: the progress bar is drawn, and goes nowhere."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


def where(start: int, stop: int) -> np.ndarray:
    """The program's last argument: these steps of epoch 0, whose order begins with step 0."""
    return np.array([start, stop, 0, 0], np.int32)


class Session:
    """See :class:`benchmarks.peers.Session`."""

    models = MODELS

    def __init__(self, workload: Workload):
        self.workload = workload
        self.device, self.threads = jax.devices()[0].device_kind, cpu_count()
        self.data = jax.tree.map(jnp.asarray, workload.data())
        network = workload.network
        self.model = at_precision(self.models[type(network)](network))
        self.loss = dl.losses.mean_squared_error if isinstance(network, Autoencoder) else dl.losses.cross_entropy
        self.optimizer = optax.adam(network.learning_rate)
        self.step = dl.make_step(dl.supervised(self.model, self.loss), self.optimizer)
        state = dl.train.create_state(self.model, self.optimizer, self.data["x"][:1], seed=SEED)
        arrange = ARRANGED.get(type(network), dict)
        weights = jax.tree.map(jnp.array, arrange(workload.weights()))
        if jax.tree.map(jnp.shape, weights) != jax.tree.map(jnp.shape, state.params):
            raise ValueError(f"the weights of {workload.name} must have the names and shapes of {self.model}")
        self.start = replace(state, params=weights)

    def arguments(self) -> tuple[Any, ...]:
        """What the engine hands to its program in epoch 0, but for where to start and stop."""
        state = jax.tree.map(functools.partial(jnp.array, copy=True), self.start)  # It will be donated.
        arrays = (self.data, jnp.asarray(self.workload.order(0)), jax.random.key(np.uint32(SEED)))
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

        with contextlib.redirect_stdout(DiscardedTerminal()):
            dl.fit(
                self.model,
                self.data,
                loss=self.loss,
                optimizer=self.optimizer,
                train_state=self.start,
                epochs=epochs,
                batch_size=self.workload.batch,
                remainder="drop",
                seed=SEED,
                callbacks=[watch],
            )

    def outputs(self) -> np.ndarray:
        return self._predict(self.data["x"][: self.workload.batch]).astype(np.float32)

    def predict(self, passes: int, done: Callable[[float], None]) -> None:
        batches = np.split(np.asarray(self.data["x"][: self.workload.steps * self.workload.batch]), self.workload.steps)
        for _ in range(passes):
            for batch in batches:
                self._predict(batch)
            done(0.0)

    def _predict(self, x: Any) -> np.ndarray:
        return dl.predict(self.model, self.start, x, batch_size=self.workload.batch)

    def program(self) -> str | None:
        if self.workload.task == "predict":
            return None
        return train_program.lower(*self.arguments(), where(0, 1)).compile().as_text()
