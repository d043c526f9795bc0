"""What a callback is told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

History = dict[str, list[Any]]
"""For each name a value an epoch: a float, an int, None, or a NumPy array where a metric has several figures."""


@dataclass
class Event:
    """A moment of a run, for callbacks; they may set ``stop`` to end the run there.

    **Fields** ``kind``: ``"begin"`` (of the run), ``"program"`` (some steps are done), ``"evaluation"`` (some steps of
    ``fit``'s validation are), ``"epoch"`` (one is done and evaluated), ``"end"``; ``epoch`` from 1 to ``epochs``;
    ``step`` steps done in this epoch (or evaluation), of ``steps`` (None where unknown); ``metrics`` of the epoch so
    far, or of the whole epoch with its evaluation; ``state``: the train state, valid during the callback only, since
    the next program takes its memory; ``history`` up to here; ``stop`` at the end: whether the run was cut short.
    """

    kind: Literal["begin", "program", "evaluation", "epoch", "end"]
    epoch: int
    epochs: int
    step: int
    steps: int | None
    metrics: dict[str, Any]
    state: Any
    history: History
    stop: bool = field(default=False)


Callback = Callable[[Event], None]


def record(history: History, row: dict[str, Any]) -> None:
    """Append an epoch's row; a column that lacks a value, in this row or in earlier ones, holds None there."""
    earlier = len(next(iter(history.values()), []))
    for name in dict.fromkeys([*history, *row]):
        history.setdefault(name, [None] * earlier).append(row.get(name))
