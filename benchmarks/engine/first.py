"""``python -m benchmarks.engine.first MODEL [CACHE]``: the first steps in a fresh process, as a line of JSON."""

import collections
import json
import sys
import time

BEGUN = time.perf_counter()
STEPS = 8


def first_steps(name: str, folder: str | None) -> dict[str, float]:
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


def main() -> None:
    name, *rest = sys.argv[1:]
    found = first_steps(name, rest[0] if rest else None)
    print(json.dumps(found | {"total": time.perf_counter() - BEGUN}))


if __name__ == "__main__":
    main()
