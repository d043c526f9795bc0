"""What watching over losses that are not finite costs a step, for each workload."""

from collections.abc import Iterator
from typing import Any

import jax

from benchmarks.engine.models import Task
from benchmarks.engine.training import by_turns, engine
from benchmarks.peers.jaxdl import Session
from benchmarks.workloads import find

STEPS = {
    "mlp": 500, "ae": 400, "cnn": 300, "cnn256": 40, "deep": 3, "rnn": 600, "lstm": 150, "gru": 180, "gpt": 25,
    "vit": 10, "unet": 16, "conv3d": 50, "embedding": 30,
}  # fmt: skip
"""So many that an epoch takes about a second: the length of a program."""

FORMS = {"None": None, "raise": "raise", "skip": "skip"}


def taken(name: str, rounds: int) -> list[str]:
    """A row: the forms take turns, in one process, through ``run`` as it is called."""
    session: Any = Session(find(f"{name}:steps={STEPS[name]}"))
    what = Task(session.step, session.start, session.workload.data(), session.workload.batch)
    forms = {form: engine(what, 2, on_nonfinite=guard) for form, guard in FORMS.items()}
    found = by_turns(forms, rounds)
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(session.start.opt_state))
    ratios = [f"{found[form] / found['None']:.3f}" for form in ("raise", "skip")]
    return [name, f"{state / 1e6:.3g}", *(f"{found[form]:.4g}" for form in FORMS), *ratios]


def guarding(rounds: int) -> Iterator[list[str]]:
    """All workloads that train."""
    for name in STEPS:
        yield taken(name, rounds)


HEAD = ["on_nonfinite", "MB of moments", "None, ms a step", "raise", "skip", "raise / None", "skip / None"]
TABLES = {"guard": (HEAD, guarding)}
