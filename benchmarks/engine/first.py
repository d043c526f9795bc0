"""``python -m benchmarks.engine.first MODEL PEER [CACHE]``: the first steps in a fresh process, as a line of JSON."""

import collections
import json
import sys
import time

BEGUN = time.perf_counter()
STEPS = 8


def of_jaxdl(name: str, folder: str | None) -> dict[str, float]:
    """``create_state`` and ``fit`` of one model."""
    import jax
    import optax

    import jaxdl as dl
    from benchmarks.engine.models import BATCH, data, model

    if folder:
        dl.enable_compile_cache(folder)
    events: collections.Counter[str] = collections.Counter()
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **more: events.update({event.rpartition("/")[2]: seconds})
    )
    layer, examples, optimizer = model(name), data(name, STEPS), optax.adam(1e-3)
    jax.devices()
    begun = time.perf_counter()
    state = dl.train.create_state(layer, optimizer, examples["x"][:1])
    jax.block_until_ready(state.params)
    created = time.perf_counter()
    events.clear()
    dl.fit(
        layer,
        examples,
        loss=dl.losses.cross_entropy,
        optimizer=optimizer,
        epochs=1,
        batch_size=BATCH[name],
        train_state=state,
        metrics={"accuracy": dl.metrics.accuracy},
        progress=False,
    )
    return {
        "first": time.perf_counter() - begun,
        "create": created - begun,
        "trace": events["jaxpr_trace_duration"],
        "lower": events["jaxpr_to_mlir_module_duration"],
        "compile": events["backend_compile_duration"],
    }


def of_nnx(name: str) -> dict[str, float]:
    """A model of Flax NNX and the jitted train step of its guide."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from benchmarks.engine.models import BATCH, data
    from benchmarks.engine.nnx_models import MODELS

    examples = data(name, STEPS)
    jax.devices()
    begun = time.perf_counter()
    model = MODELS[name](nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    scores = nnx.MultiMetric(accuracy=nnx.metrics.Accuracy(), loss=nnx.metrics.Average("loss"))

    @nnx.jit
    def step(model: nnx.Module, optimizer: nnx.Optimizer, scores: nnx.MultiMetric, x: jax.Array, y: jax.Array) -> None:
        def loss_fn(model: nnx.Module) -> tuple[jax.Array, jax.Array]:
            logits = model(x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), logits

        (loss, logits), gradients = nnx.value_and_grad(loss_fn, has_aux=True)(model)
        scores.update(loss=loss, logits=logits, labels=y)
        optimizer.update(model, gradients)

    for i in range(STEPS):
        rows = slice(i * BATCH[name], (i + 1) * BATCH[name])
        step(model, optimizer, scores, jnp.asarray(examples["x"][rows]), jnp.asarray(examples["y"][rows]))
    float(scores.compute()["loss"])
    return {"first": time.perf_counter() - begun}


def of_torch(name: str) -> dict[str, float]:
    """A model of PyTorch, compiled by ``torch.compile``."""
    import torch

    from benchmarks.engine.models import BATCH, data
    from benchmarks.engine.torch_models import MODELS

    examples = {key: torch.tensor(leaf) for key, leaf in data(name, STEPS).items()}
    begun = time.perf_counter()
    model = MODELS[name]()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    compiled = torch.compile(model)
    for i in range(STEPS):
        rows = slice(i * BATCH[name], (i + 1) * BATCH[name])
        optimizer.zero_grad()
        logits = compiled(examples["x"][rows])
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), examples["y"][rows].reshape(-1).long()
        )
        loss.backward()
        optimizer.step()
        loss.item()
    return {"first": time.perf_counter() - begun}


def main() -> None:
    name, peer, *rest = sys.argv[1:]
    if peer == "jaxdl":
        found = of_jaxdl(name, rest[0] if rest else None)
    else:
        found = {"nnx": of_nnx, "torch": of_torch}[peer](name)
    print(json.dumps(found | {"total": time.perf_counter() - BEGUN}))


if __name__ == "__main__":
    main()
