"""What a callback is told, and how it ends a run."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import bad_type, bad_value

History = dict[str, list[Any]]
"""For each name a value an epoch: a float, an int, None, or a NumPy array where a metric has several figures."""


@dataclass(frozen=True)
class Stop:
    """What a callback returns to end the run there.

    **Fields** ``state``: what the run then returns instead of the state that it reached, such as the best one. At the
    ``"end"`` it counts as well; of several callbacks the last one has it. A checkpoint keeps what was reached, so that
    ``resume=True`` goes on from there. ``reason``: a few words for whoever watches.

    Example:
        >>> import jax.numpy as jnp, jaxdl as dl
        >>> def enough(event):
        ...     if event.kind == "epoch" and event.metrics["seen"] > 0.9:
        ...         return dl.Stop(reason="seen enough")
        >>> def step(state, batch):
        ...     return state, {"seen": batch.mean()}
        >>> _, history = dl.run(
        ...     step, jnp.zeros(()), jnp.ones((8, 2)), epochs=3, batch_size=4, callbacks=[enough], progress=False
        ... )
        >>> history["epoch"]
        [1]
    """

    state: Any = None
    reason: str = ""


def nothing_saved(epoch: int) -> None:
    """No checkpoint holds any epoch."""


@dataclass(frozen=True)
class Event:
    """A moment of a run, for callbacks; one that returns a :class:`Stop` ends the run there.

    **Fields** ``kind``: ``"begin"`` (of the run), ``"program"`` (some steps are done), ``"evaluation"`` (some steps of
    ``fit``'s validation are), ``"epoch"`` (one is done and evaluated), ``"end"``; ``epoch`` from 1 to ``epochs``, at
    the beginning the number of those that were done before; ``step`` steps done in this epoch (or evaluation), of
    ``steps`` (None where unknown); ``metrics`` of the epoch so far, or of the whole epoch with its evaluation;
    ``state``: the train state, valid during the callback only, since the next program takes its memory; at the end
    what the run returns; ``history`` up to here; ``whole``: False for an epoch that was cut short, whose metrics are
    those of its steps so far; ``stop``: at the end, what cut the run short, None where nothing did; ``saved(epoch)``
    reads the train state at the end of an earlier epoch from the run's checkpoints, None where none holds it (of
    several processes, all call it).
    """

    kind: Literal["begin", "program", "evaluation", "epoch", "end"]
    epoch: int
    epochs: int
    step: int
    steps: int | None
    metrics: dict[str, Any]
    state: Any
    history: History
    whole: bool = True
    stop: Stop | None = None
    saved: Callable[[int], Any] = field(default=nothing_saved, repr=False)


Callback = Callable[[Event], Stop | None]


def check_callbacks(callbacks: Any) -> list[Callback]:
    """The callbacks, in a list of their own; an error for what is no sequence of functions."""
    needs = "callbacks must be a list of functions of an event"
    if callable(callbacks):
        raise bad_type("run(callbacks=…)", needs, callbacks, "Did you mean callbacks=[…], with it inside?")
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise bad_type("run(callbacks=…)", needs, callbacks)
    return [*callbacks]


def check_answer(answer: Any, state: Any) -> None:
    """Raise for what a callback returned that is no :class:`Stop`, or one with another tree than the train state."""
    if not isinstance(answer, Stop):
        hint = "Did you mean return dl.Stop()?" if answer is True else ""
        raise bad_type("run(callbacks=…)", "a callback must return None or dl.Stop(…)", repr(answer), hint)
    found: Any = jax.tree.structure(answer.state)
    expected: Any = jax.tree.structure(state)
    if answer.state is not None and found != expected:
        needs = f"the state of a callback's dl.Stop must be like the train state, {expected}"
        hint = f"Did you mean dl.Stop(reason={answer.state!r})?" if isinstance(answer.state, str) else ""
        raise bad_value("run(callbacks=…)", needs, str(found), hint)


class Moments:
    """The moments of one run, told to each callback in turn; ``stop`` is the answer that ends the run."""

    event: Event

    def __init__(self, callbacks: Sequence[Callback]):
        self.callbacks = callbacks
        self.stop: Stop | None = None
        self.result: Any = None

    def begin(self, event: Event) -> None:
        self.event = event
        self.tell()

    def tell(self, **changes: Any) -> None:
        """Tell what changed since the moment before."""
        self.event = replace(self.event, **changes)
        for callback in self.callbacks:
            answer = callback(self.event)
            if answer is None:
                continue
            check_answer(answer, self.event.state)
            ended = self.event.kind == "end"
            self.stop = self.stop if ended else self.stop or answer
            if answer.state is not None:
                self.result = answer.state
                if ended:
                    self.event = replace(self.event, state=answer.state, stop=self._stop())

    def end(self, state: Any) -> Any:
        """Tell the end; gives the state that the run returns."""
        self.tell(kind="end", state=state if self.result is None else self.result, stop=self._stop())
        return self.event.state

    def _stop(self) -> Stop | None:
        """What ended the run, with the state that the run returns, where a callback gave one."""
        return self.stop if self.stop is None else replace(self.stop, state=self.result)


def to_plain(value: Any) -> Any:
    """A figure as JSON has it."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def from_plain(value: Any) -> Any:
    """A figure from JSON."""
    return np.array(value) if isinstance(value, list) else value


def figures(found: Any) -> dict[str, Any]:
    """What an evaluation gave, as a history holds it: floats, ints, None, or NumPy arrays of several; else an error."""
    if not isinstance(found, dict):
        raise bad_type("run(evaluate=…)", "evaluate must return a dict of figures by name", found)
    return {name: _figure(name, value) for name, value in found.items()}


def _figure(name: str, value: Any) -> Any:
    if value is None or type(value) in (int, float):
        return value
    array = np.asarray(value)
    if not (jnp.issubdtype(array.dtype, jnp.floating) or array.dtype.kind in "biu"):
        raise bad_type("run(evaluate=…)", f"{name!r} must be a number, an array of numbers, or None", value)
    array = array.astype(np.int64 if array.dtype.kind in "biu" else np.float64)
    return array if array.ndim else array.item()


def record(history: History, row: dict[str, Any]) -> None:
    """Append an epoch's row; a column that lacks a value, in this row or in earlier ones, holds None there."""
    earlier = len(next(iter(history.values()), []))
    for name in dict.fromkeys([*history, *row]):
        history.setdefault(name, [None] * earlier).append(row.get(name))


def one_figure(call: str, argument: str, history: History, name: str) -> list[Any]:
    """The column of a history that holds one figure an epoch; an error names the argument that asks for it."""
    if name not in history:
        raise bad_value(call, f"{argument} must be one of the history's columns, {list(history)}", repr(name))
    if any(np.ndim(value) for value in history[name]):
        raise bad_value(call, f"{name} must be one figure an epoch", history[name][-1])
    return history[name]


def standing(
    column: Sequence[float | None], min_change: float = 0.0, mode: Literal["min", "max"] = "min"
) -> tuple[int | None, int]:
    """Which value is the best (the last of equals; None where there is none), and how many came since the last gain.

    >>> standing([3.0, 1.0, 0.9, 0.95], min_change=0.5)
    (2, 2)
    """
    sign = 1 if mode == "min" else -1
    best, least, gain, reference = None, math.inf, -1, math.inf
    for index, value in enumerate(column):
        if value is None or math.isnan(value):
            continue
        if sign * value <= least:
            best, least = index, sign * value
        if sign * value < reference - min_change:
            gain, reference = index, sign * value
    return best, len(column) - 1 - gain
