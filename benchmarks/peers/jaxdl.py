"""jaxdl as its users train: a model of layers, and the engine with its shuffle, its mean loss and its progress bar."""

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

    def __init__(self, workload: Workload):
        self.workload = workload
        self.device, self.processors = jax.devices()[0].device_kind, cpu_count()
        data = workload.data()
        self.x = data["x"]
        self.data = jax.tree.map(jnp.asarray, data)
        self.loss = dl.losses.cross_entropy
        if isinstance(workload.network, Autoencoder):
            self.loss = dl.losses.mean_squared_error
        self.optimizer = optax.adam(workload.network.learning_rate)

    @functools.cached_property
    def model(self) -> dl.Layer:
        """The network of layers."""
        return at_precision(MODELS[type(self.workload.network)](self.workload.network))

    @functools.cached_property
    def step(self) -> Any:
        """The step that ``fit`` makes of model, loss and optimizer."""
        return dl.make_step(dl.supervised(self.model, self.loss), self.optimizer)

    @functools.cached_property
    def start(self) -> dl.TrainState:
        """The state that ``create_state`` gives, with the workload's weights."""
        state = dl.train.create_state(self.model, self.optimizer, self.data["x"][:1], seed=SEED)
        arrange = ARRANGED.get(type(self.workload.network), dict)
        weights = jax.tree.map(jnp.array, arrange(self.workload.weights()))
        if jax.tree.map(jnp.shape, weights) != jax.tree.map(jnp.shape, state.params):
            raise ValueError(f"the weights of {self.workload.name} must have the names and shapes of {self.model}")
        return replace(state, params=weights)

    def arguments(self) -> tuple[Any, ...]:
        """What the engine hands to its program in epoch 0, but for where to start and stop."""
        arrays = (self.data, jnp.asarray(self.workload.order(0)), jax.random.key(np.uint32(SEED)))
        fixed = self.step, None, "raise"
        return *fixed, self.start, zero_totals(*fixed, self.start, *arrays), *arrays

    def losses(self, steps: int) -> list[float]:
        step, transform, guard, state, totals, *rest = self.arguments()
        state = jax.tree.map(functools.partial(jnp.array, copy=True), state)  # the program takes it
        losses = []
        for i in range(steps):
            fresh = jax.tree.map(jnp.zeros_like, totals)
            args = step, transform, guard, state, fresh, *rest, where(i, i + 1)
            state, totals, _ = train_program(*args, placement=None)
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
        return self._predict(self.x[: self.workload.batch]).astype(np.float32)

    def predict(self, passes: int, done: Callable[[float], None]) -> None:
        batches = np.split(self.x[: self.workload.steps * self.workload.batch], self.workload.steps)
        for _ in range(passes):
            for batch in batches:
                self._predict(batch)
            done(0.0)

    def _predict(self, x: Any) -> np.ndarray:
        return dl.predict(self.model, self.start, x, batch_size=self.workload.batch)

    def program(self) -> str | None:
        if self.workload.task == "predict":
            return None
        return train_program.lower(*self.arguments(), where(0, 1), placement=None).compile().as_text()
