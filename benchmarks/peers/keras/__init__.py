"""Keras 3 on JAX as its guides write it: a functional model, ``compile`` and ``fit`` over arrays in memory.

``fit`` shuffles by itself: an epoch has the same examples in an order of Keras' own, so that its mean loss is near the
others', not equal to theirs. Losses of single batches are compared in the workload's order.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"  # Read as Keras is imported.

import jax
import keras
import numpy as np

from benchmarks.machine import cpu_count, dtype, platform
from benchmarks.peers.dispatched import choose_device
from benchmarks.peers.keras.networks import MODELS
from benchmarks.peers.keras.weights import load
from benchmarks.workloads import SEED, Autoencoder, Workload

__all__ = ["MODELS", "Session"]


class Watch(keras.callbacks.Callback):
    """Tells the mean loss of each epoch."""

    def __init__(self, done: Callable[[float], None]):
        super().__init__()
        self.done = done

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.done(float((logs or {})["loss"]))


class Session:
    """See :class:`benchmarks.peers.Session`."""

    def __init__(self, workload: Workload):
        choose_device()
        self.workload = workload
        self.device, self.processors = jax.devices(platform())[0].device_kind, cpu_count()
        data = workload.data()
        self.x, self.y = data["x"], data["y"]

    def steps_per_execution(self) -> int:
        """Steps from one call of Keras' callbacks to the next."""
        return 1

    def model(self) -> keras.Model:
        """The compiled model with the workload's weights; what it shuffles and drops is the same each time."""
        keras.utils.set_random_seed(SEED)
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16" if dtype() == "bfloat16" else "float32")
        model = MODELS[type(self.workload.network)](self.workload.network)
        keras.config.set_dtype_policy(policy)
        load(model, self.workload.weights())
        loss: Any = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if isinstance(self.workload.network, Autoencoder):
            loss = keras.losses.MeanSquaredError()
        adam = keras.optimizers.Adam(self.workload.network.learning_rate, epsilon=1e-8)
        model.compile(adam, loss, steps_per_execution=self.steps_per_execution())
        return model

    @functools.cached_property
    def predicting(self) -> keras.Model:
        """The model that predicts, made once."""
        return self.model()

    def losses(self, steps: int) -> list[float]:
        model, losses = self.model(), []
        for rows in self.workload.order(0)[:steps]:
            model.reset_metrics()
            losses.append(float(model.train_on_batch(self.x[rows], self.y[rows])))
        return losses

    def train(self, epochs: int, done: Callable[[float], None]) -> None:
        self.model().fit(
            self.x, self.y, batch_size=self.workload.batch, epochs=epochs, verbose=0, callbacks=[Watch(done)]
        )

    def outputs(self) -> np.ndarray:
        return np.asarray(self.predicting.predict_on_batch(self.x[: self.workload.batch]), np.float32)

    def predict(self, passes: int, done: Callable[[float], None]) -> None:
        model, size = self.predicting, self.workload.batch
        for _ in range(passes):
            for start in range(0, self.workload.steps * size, size):
                model.predict_on_batch(self.x[start : start + size])
            done(0.0)

    def program(self) -> None:
        return None
