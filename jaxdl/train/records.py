"""The history of a run in files: CSV, JSON lines and TensorBoard's, whole or while it grows."""

import csv
import io
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl.core import bad_value
from jaxdl.core.extras import need
from jaxdl.core.files import whole_file
from jaxdl.train.events import Event, History, record

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def write_history(history: Mapping[str, Sequence[Any]], path: str | os.PathLike[str]) -> None:
    """Write a history, as :func:`jaxdl.fit` returns it, to a ``.csv`` or a ``.jsonl`` file, a line an epoch.

    The file appears whole or not at all. Numbers keep every bit. JSON has no word for what is not finite: such are the
    strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``. An array is a nested list; in CSV the list's JSON in one
    cell. None is ``null``, and an empty cell.

    **Raises** ``ValueError`` for a path that ends with neither.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "history.jsonl"
        >>> write_history({"epoch": [1, 2], "loss": [0.5, float("inf")]}, path)
        >>> print(path.read_text(), end="")
        {"epoch": 1, "loss": 0.5}
        {"epoch": 2, "loss": "Infinity"}
    """
    path = Path(path)
    columns, written = list(history), _written("write_history", path)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*history.values(), strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        lines = [csv_line(columns)] if path.suffix == ".csv" and columns else []
        part.write_text("".join([*lines, *(written(row, columns) for row in rows)]), newline="", encoding="utf-8")


def read_history(path: str | os.PathLike[str]) -> History:
    """The history in a ``.csv`` or ``.jsonl`` file, as :func:`write_history` and :func:`history_file` write them.

    A last line that is not yet whole is left out.

    **Raises** ``ValueError`` for a file that is no history.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "history.csv"
        >>> write_history({"epoch": [1, 2], "loss": [0.5, None]}, path)
        >>> read_history(path)
        {'epoch': [1, 2], 'loss': [0.5, None]}
    """
    path = Path(path)
    _written("read_history", path)
    with path.open(newline="", encoding="utf-8") as file:
        text = file.read()
    text = text[: text.rfind("\n") + 1]
    history: History = {}
    try:
        if path.suffix == ".csv":
            rows = [{name: _cell(text) for name, text in row.items()} for row in csv.DictReader(io.StringIO(text))]
        else:
            rows = [{name: _from_json(value) for name, value in json.loads(line).items()} for line in text.splitlines()]
    except (ValueError, AttributeError) as error:
        raise bad_value("read_history", f"{path} must be a history, a line an epoch", str(error)) from error
    if any("epoch" not in row for row in rows):
        raise bad_value("read_history", f"{path} must be a history, with the column epoch", list(rows[0]))
    for row in rows:
        record(history, row)
    return history


def csv_line(cells: Sequence[Any]) -> str:
    """A line of a table; what a cell holds is quoted where it must be."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # it quotes what its own line would end with
    return line.getvalue().removesuffix("\r\n") + "\n"


def _written(call: str, path: Path) -> Any:
    """How a row is written, with these columns, into a file of this name."""
    forms = {".csv": _csv_row, ".jsonl": _json_row}
    if path.suffix not in forms:
        raise bad_value(call, "path must end with .csv or .jsonl", str(path))
    return forms[path.suffix]


def _csv_row(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    plain = [_plain(row.get(name)) for name in columns]
    return csv_line([json.dumps(_to_json(value)) if isinstance(value, list) else value for value in plain])


def _json_row(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    return json.dumps({name: _to_json(_plain(row.get(name))) for name in columns}, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _to_json(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_to_json, value))
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _from_json(value: Any) -> Any:
    def read(value: Any) -> Any:
        if isinstance(value, list):
            return list(map(read, value))
        return _NOT_FINITE.get(value, value) if isinstance(value, str) else value

    return np.array(read(value)) if isinstance(value, list) else read(value)


def _cell(text: str) -> Any:
    if not text or text.startswith("["):
        return _from_json(json.loads(text)) if text else None
    return int(text) if text.lstrip("-").isdigit() else float(text)


@dataclass
class HistoryFile:
    """What :func:`history_file` gives: a callback that keeps the file of one run."""

    writes = True

    path: Path
    columns: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    earlier: History = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, event: Event) -> None:
        if event.kind == "begin":
            self._begin(event)
        elif event.kind == "epoch" and event.whole:
            self._epoch(event)

    def _begin(self, event: Event) -> None:
        """What the file must hold at this moment: the epochs before this run, and those of a run that is resumed."""
        before = event.epoch - len(next(iter(event.history.values()), []))
        found = read_history(self.path) if self.path.exists() else {}
        count = sum(number <= before for number in found.get("epoch", []))
        self.earlier = {name: column[:count] for name, column in found.items()} if count else {}
        self._write(event.history)

    def _epoch(self, event: Event) -> None:
        if set(event.metrics) - set(self.columns):
            self._write(event.history)
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            file.write(_written("history_file", self.path)(event.metrics, self.columns))

    def _write(self, history: History) -> None:
        joined: History = {name: [*column] for name, column in self.earlier.items()}
        for values in zip(*history.values(), strict=True):
            record(joined, dict(zip(history, values, strict=True)))
        self.columns = list(joined)
        write_history(joined, self.path)


def history_file(path: str | os.PathLike[str]) -> HistoryFile:
    """A callback that appends a line to a ``.csv`` or ``.jsonl`` file after each epoch, as :func:`write_history` does.

    A run that goes on, from a checkpoint or from a train state, goes on in its file: lines of epochs that will be
    trained again are taken out first, so that each epoch has one line, also after a kill. A run that begins anew
    begins the file anew. An epoch that was cut short has no line.

    **Raises** ``ValueError`` for a path that ends with neither, and for a file there that is no history.

    Example:
        >>> import tempfile, pathlib, jax.numpy as jnp, jaxdl as dl
        >>> def step(state, batch):
        ...     return state, {"seen": batch.mean()}
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "history.csv"
        >>> _ = dl.run(
        ...     step, jnp.zeros(()), jnp.ones((8, 2)), epochs=3, batch_size=4, callbacks=[history_file(path)],
        ...     progress=False,
        ... )
        >>> read_history(path)["seen"]
        [1.0, 1.0, 1.0]
    """
    _written("history_file", Path(path))
    return HistoryFile(Path(path))


@dataclass
class TensorBoard:
    """What :func:`tensorboard` gives: a callback that writes for TensorBoard."""

    writes = True

    folder: Path
    writers: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, event: Event) -> None:
        if event.kind == "begin":
            self._begin(event)
        elif event.kind == "epoch" and event.whole:
            self._epoch(event)
        elif event.kind == "end":
            self._close()

    def _begin(self, event: Event) -> None:
        self._close()
        writer = need("tensorboardX", "tensorboard", extra="tensorboard").SummaryWriter
        for part in ("training", "validation"):
            # Files are told apart by their second alone, and of two TensorBoard reads in the order of their names.
            name = f".{time.time_ns()}"
            folder = str(self.folder / part)
            self.writers[part] = writer(folder, purge_step=event.epoch + 1, filename_suffix=name)

    def _epoch(self, event: Event) -> None:
        for name, value in event.metrics.items():
            if name == "epoch" or value is None or np.ndim(value):
                continue
            part = "validation" if name.startswith("validation_") else "training"
            self.writers[part].add_scalar(name.removeprefix("validation_"), float(value), event.epoch)
        for writer in self.writers.values():
            writer.flush()

    def _close(self) -> None:
        while self.writers:
            self.writers.popitem()[1].close()


def tensorboard(folder: str | os.PathLike[str]) -> TensorBoard:
    """A callback that writes each epoch's figures where ``tensorboard --logdir folder`` shows them.

    Training and validation are two runs, ``training`` and ``validation``, so that both curves of a metric lie in one
    chart; the axis is the epoch. Metrics with several figures stay in the history. A run that goes on adds to its
    curves; what was written of epochs that are trained again, TensorBoard hides.

    **Raises** ``ImportError`` without tensorboardX.

    Example:
        >>> tensorboard("runs/a")
        TensorBoard(folder=PosixPath('runs/a'))
    """
    return TensorBoard(Path(folder))
