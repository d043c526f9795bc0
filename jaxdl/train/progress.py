"""What a run shows: live bars (of the run and of its epoch) and a table on a terminal, plain lines elsewhere."""

import time
from typing import Any, Self

import numpy as np

from jaxdl.train.events import Event

MOST_ROWS = 50
"""Runs of more epochs show every second, third, … of them, and the last."""


BARS_LEAST = 22
"""Columns of a terminal for the least of bars, the time that is left and what lies between."""


def number_text(value: Any) -> str:
    """A metric for people: four significant digits, a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e3 else f"{value:.3g}"


def scalars(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics of one figure; arrays, such as a confusion matrix, are for the history alone."""
    return {name: value for name, value in metrics.items() if not np.ndim(value)}


def _count(event: Event) -> str:
    return f"{event.step}/{event.steps}" if event.steps else str(event.step)


def _fitting(told: list[str], rate: str, room: int) -> str:
    """The first of the metrics that fit into so many columns, and the rate: else rich cuts the bars away for them."""
    while told and len(" ".join(told)) + 2 + len(rate) > room:
        told = told[:-1]
    return "  ".join([" ".join(told), rate] if told else [rate])


class Progress:
    """A callback that shows how a run goes."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.run: Any = None
        self.part: Any = None
        self.begun = 0.0
        self.done = self.first = 0
        self.since = 0.0
        self.header = ""
        self.names: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Give the terminal back, however the run ended."""
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, event: Event) -> None:
        getattr(self, f"_{event.kind}")(event)

    def _begin(self, event: Event) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console()
        self.begun = self.since = time.perf_counter()
        self.first = event.step
        if event.history or event.step:  # of a run that is resumed
            of = f" of {event.steps}" if event.steps else ""
            after = f" after {event.step}{of} steps" if event.step else ""
            if event.epoch < event.epochs:
                print(f"going on with epoch {event.epoch + 1} of {event.epochs}{after}", flush=True)
            else:
                print(f"nothing is left to do: {event.epoch} epochs are done, {event.epochs} are asked for", flush=True)
        if not console.is_terminal:
            return
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[told]}", style="cyan"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
            expand=True,
        )
        total = event.steps * (event.epochs - event.epoch) if event.steps else None
        self.run = self.bar.add_task("compiling", total=total, count="", told="")
        self.part = self.bar.add_task("", total=event.steps, count="", told="", visible=False)
        self.bar.start()

    def _program(self, event: Event) -> None:
        if self.bar is None:
            return
        now = time.perf_counter()
        rate = (event.step - self.first) / max(now - self.since, 1e-9)
        label = f"epoch {event.epoch}/{event.epochs}"
        self.bar.update(self.run, description=label, completed=self.done + event.step)
        room = self.bar.console.width - BARS_LEAST - max(len(label), 10) - len(_count(event))
        told = [f"{name} {number_text(value)}" for name, value in scalars(event.metrics).items()]
        self._show("  training", event, _fitting(told, f"{rate:.0f} steps/s", room))

    def _evaluation(self, event: Event) -> None:
        if self.bar is not None:
            self._show("  evaluating", event, "")

    def _show(self, name: str, event: Event, told: str) -> None:
        """The second bar: how far this epoch's training, or its evaluation, has come."""
        if event.step < self.bar.tasks[self.part].completed:
            self.bar.reset(self.part)
        self.bar.tasks[self.part].total = event.steps  # update() takes None for no change
        shown = {"description": name, "completed": event.step, "count": _count(event), "told": told}
        self.bar.update(self.part, visible=True, **shown)

    def _epoch(self, event: Event) -> None:
        self.done, self.first = self.done + event.step, 0
        self.since = time.perf_counter()
        every = -(-event.epochs // MOST_ROWS)
        if event.epoch % every and event.epoch != event.epochs and event.whole:
            return
        columns = event.metrics if event.whole else dict.fromkeys(self.names) | event.metrics
        shown = {name: value for name, value in scalars(columns).items() if name not in ("epoch", "steps")}
        cells = [f"{event.epoch}/{event.epochs}", *map(number_text, shown.values())]
        names = ["epoch", *shown]
        self.names = names if event.whole else self.names
        widths = [max(len(name), 9) for name in names]
        header = "  ".join(name.rjust(width) for name, width in zip(names, widths, strict=True))
        if header != self.header:
            self.header = header
            self._line(header, bold=True)
        row = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        of = f" of {event.steps}" if event.steps else ""
        self._line(row if event.whole else f"{row}  after {event.step}{of} steps")

    def _end(self, event: Event) -> None:
        self.__exit__()
        if event.stop is not None:
            seconds = time.perf_counter() - self.begun
            text = f"stopped in epoch {event.epoch} of {event.epochs} after {seconds:.1f} s"
            text += f": {event.stop.reason}" if event.stop.reason else ""
            print(text if event.stop.state is not None else f"{text}; what is reached is returned", flush=True)

    def _line(self, text: str, bold: bool = False) -> None:
        if self.bar is None:
            print(text, flush=True)
        else:
            from rich.text import Text

            # print(style=…) would have the bars below the line in that style as well.
            self.bar.console.print(Text(text, style="bold" if bold else ""), soft_wrap=True)
