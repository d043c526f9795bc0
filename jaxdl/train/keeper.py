"""When a run is saved, and where a resumed one goes on."""

import time
from dataclasses import dataclass, field
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import bad_value, describe
from jaxdl.core.processes import Team
from jaxdl.train.checkpoint import Checkpoint, Store
from jaxdl.train.events import History, from_plain, one_figure, standing, to_plain
from jaxdl.train.feed import Feed
from jaxdl.train.program import Totals
from jaxdl.train.shared_store import SharedStore


@dataclass
class Position:
    """Where a run stands: in epoch ``epoch`` (from 0) after ``steps`` of its steps, ``done`` since the run began.

    ``totals`` are the sums of the epoch so far, and ``metrics`` their means.
    """

    epoch: int
    steps: int = 0
    done: int = 0
    totals: Totals | None = None
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Greater with each program and with each epoch."""
        return self.done + self.epoch

    def next_epoch(self) -> "Position":
        return Position(self.epoch + 1, done=self.done)


class Keeper:
    """Saves a run when it is due, and restores it."""

    def __init__(self, settings: Checkpoint, team: Team, *, resume: bool, seed: int, feed: Feed):
        if feed.once and resume:
            hint = "Did you mean a callable data(epoch, start), which can begin in the middle?"
            raise bad_value("run", "resume=True needs data that can be begun anew", "an iterator", hint)
        self.settings, self.resume, self.team = settings, resume, team
        self.run = {"seed": int(seed), "steps_per_epoch": feed.steps, "batch": describe(feed.example())}
        self.store = Store(settings) if team.count == 1 else SharedStore(settings, team)
        self.saved = -1
        self.since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.store.close()

    def restore(self, state: Any) -> tuple[Any, Position, History] | None:
        """The state, the position and the history that were saved last; None where nothing was."""
        if not self.resume:
            if numbers := self.store.numbers():
                needs = f"the folder {self.store.folder} must be empty of checkpoints"
                hint = "Did you mean resume=True, or another folder?"
                raise bad_value("run(checkpoint=…)", needs, f"checkpoint_{numbers[-1]}", hint)
            return None
        found = self.store.restore(state)
        if found is None:
            return None
        state, saved = found
        if saved["run"] != self.run:
            raise bad_value("run(resume=True)", f"seed and data must be those of the run, {saved['run']}", self.run)
        totals = None if saved["totals"] is None else _unpacked(saved["totals"])
        history = {name: [from_plain(value) for value in column] for name, column in saved["history"].items()}
        metrics = {name: from_plain(value) for name, value in saved["metrics"].items()}
        position = Position(saved["epoch"], saved["steps"], saved["done"], totals, metrics)
        self.saved = position.number
        return state, position, history

    def saved_epoch(self, like: Any, history: History, epoch: int) -> Any:
        """The state at the end of an epoch of the history, where a checkpoint holds it; None where none does."""
        epochs = history.get("epoch", [])
        return self.store.read(_number(history, epochs.index(epoch)), like) if epoch in epochs else None

    def most(self, done: int) -> int:
        """How many steps the next program may have, so that it ends where a save is due."""
        every = self.settings.every_steps
        return every - done % every if every else np.iinfo(np.int32).max

    def program_done(self, state: Any, position: Position, history: History) -> None:
        """Save, if it is due at the end of this program."""
        every = self.settings.every_steps
        due = every is not None and position.done % every == 0
        late = time.monotonic() - self.since > self.settings.every_seconds and not self.store.busy
        if due or self.team.said_by_first(late):
            self.save(state, position, history)

    def epoch_done(self, state: Any, position: Position, history: History) -> None:
        """Save after an epoch, if there is a best one to be kept."""
        if self.settings.best is not None:
            one_figure("Checkpoint", "best", history, self.settings.best)
            self.save(state, position, history)

    def save(self, state: Any, position: Position, history: History) -> None:
        """Save what is reached, unless it is saved already."""
        if position.number == self.saved:
            return
        self.saved, self.since = position.number, time.monotonic()
        plain = {
            "run": self.run,
            "epoch": position.epoch,
            "steps": position.steps,
            "done": position.done,
            "metrics": {name: to_plain(value) for name, value in position.metrics.items()},
            "history": {name: list(map(to_plain, column)) for name, column in history.items()},
            "totals": None if position.totals is None else _packed(position.totals),
        }
        self.store.save(position.number, state, plain, self._best(history))

    def _best(self, history: History) -> int | None:
        """The number of the checkpoint of the best epoch; that of an earlier run is known from the history alone."""
        name = self.settings.best
        if name is None or name not in history:
            return None
        index, _ = standing(one_figure("Checkpoint", "best", history, name), mode=self.settings.mode)
        return None if index is None else _number(history, index)


def _number(history: History, index: int) -> int:
    """The number of a position (see :class:`Position`) at the end of the history's epoch of this index."""
    done: int = sum(history["steps"][: index + 1]) + history["epoch"][index]
    return done


def _packed(totals: Totals) -> list[Any]:
    """Each metric's name and its sums as plain numbers, which JSON keeps to the last bit."""

    def plain(leaf: np.ndarray) -> dict[str, Any]:
        return {"dtype": str(leaf.dtype), "values": leaf.tolist()}

    return [[name, plain(high.numbers), plain(low.numbers)] for name, (high, low) in jax.device_get(totals).items()]


def _unpacked(sums: list[Any]) -> Any:
    def array(leaf: Any) -> jax.Array:
        return jnp.asarray(np.array(leaf["values"], leaf["dtype"]))

    return [(name, array(high), array(low)) for name, high, low in sums]
