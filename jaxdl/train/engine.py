"""The one engine: it drives any step over any data, many steps a program."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from jaxdl.core.processes import Team
from jaxdl.train.dispatch import Dispatcher
from jaxdl.train.evaluate import Evaluation
from jaxdl.train.events import (
    Callback,
    Event,
    History,
    Moments,
    Stop,
    figures,
    from_plain,
    nothing_saved,
    record,
    to_plain,
)
from jaxdl.train.feed import Feed, Segment, alike
from jaxdl.train.guard import NonfiniteError
from jaxdl.train.interrupt import Interrupt
from jaxdl.train.keeper import Keeper, Position
from jaxdl.train.program import means

Evaluate = Callable[[Any], dict[str, Any]]


class Engine:
    """One run, as far as it has come."""

    def __init__(
        self,
        state: Any,
        feed: Feed,
        dispatcher: Dispatcher,
        listeners: Sequence[Callback],
        interrupt: Interrupt,
        keeper: Keeper | None,
        team: Team,
    ):
        self.state, self.feed, self.dispatcher = state, feed, dispatcher
        self.moments, self.interrupt, self.keeper, self.team = Moments(listeners), interrupt, keeper, team
        self.pressed = self.terminated = False
        self.history: History = {}
        self.position = Position(0)

    def drive(self, epochs: range, evaluate: Evaluate | None) -> tuple[Any, History]:
        self.position.epoch = epochs.start
        if self.keeper is not None and (found := self.keeper.restore(self.state)) is not None:
            self.state, self.position, self.history = found
        here = self.position
        saved = nothing_saved if self.keeper is None else partial(self.keeper.saved_epoch, self.state, self.history)
        steps = here.steps, self.feed.steps
        begin = Event("begin", here.epoch, epochs.stop, *steps, {}, self.state, self.history, saved=saved)
        self.moments.begin(begin)
        with closing(self.feed.epochs(range(self.position.epoch, epochs.stop), self.position.steps)) as ahead:
            while self.position.epoch < epochs.stop and not self._done():
                self._epoch(next(ahead), evaluate)
        if self.keeper is not None:
            self.keeper.save(self.state, self.position, self.history)
        if self.pressed:
            self.moments.stop = Stop(reason="SIGTERM" if self.terminated else "Ctrl-C")
        return self.moments.end(self.state), self.history

    def _done(self) -> bool:
        """Whether the run is to end here, by a callback or a signal, of whichever process."""
        signals = self.interrupt.pressed, self.interrupt.terminated
        stop, self.pressed, self.terminated = self.team.any(self.moments.stop is not None, *signals)
        return stop or self.pressed

    def _epoch(self, segments: Iterator[Segment], evaluate: Evaluate | None) -> None:
        """One epoch from where it stands; it counts as done unless the run was stopped in the middle of it."""
        here, begun = self.position, time.perf_counter()
        for segment in alike("run", self.team, segments):
            at = here.steps - segment.first
            while at < segment.steps and not self._done():
                at += self._program(segment, at)
            if self._done():
                break
        if not here.steps:
            return
        row = {"epoch": here.epoch + 1, "steps": here.steps, **here.metrics}
        seconds = time.perf_counter() - begun
        whole = not self._done()
        if evaluate is not None and whole:
            found = self._evaluated(evaluate)
            whole = found is not None
            row |= {f"validation_{name}": value for name, value in (found or {}).items()}
        row["seconds"] = seconds
        if self.keeper is not None and not whole:
            self.keeper.save(self.state, self.position, self.history)  # without the row of an epoch that will go on
        record(self.history, row)
        if whole:
            self.position = here.next_epoch()
        told = {"epoch": here.epoch + 1, "step": here.steps, "steps": self.feed.steps, "metrics": row}
        self.moments.tell(kind="epoch", whole=whole, state=self.state, **told)
        if self.keeper is not None and whole:
            self.keeper.epoch_done(self.state, self.position, self.history)

    def _evaluated(self, evaluate: Evaluate) -> dict[str, Any] | None:
        """What the evaluation comes to; None if the run was stopped in the middle of it."""
        if not isinstance(evaluate, Evaluation):
            return self._of_first(figures(evaluate(self.state)))
        programs = evaluate.programs(self.state)
        for done in programs:
            told = {"epoch": self.position.epoch + 1, "step": done, "steps": evaluate.feed.steps}
            self.moments.tell(kind="evaluation", **told)
            # Of a stream nobody knows that this was the last one before it is asked for another.
            if self._done() and done != evaluate.feed.steps and next(programs, None) is not None:
                return None
        return evaluate.met

    def _of_first(self, found: dict[str, Any]) -> dict[str, Any]:
        """The first process's figures: by them all come to the same decisions."""
        if self.team.count == 1:
            return found
        plain = json.loads(self.team.told_by_first(json.dumps({name: to_plain(found[name]) for name in found})))
        return {name: from_plain(value) for name, value in plain.items()}

    def _program(self, segment: Segment, at: int) -> int:
        """The segment's next steps as one program; how many they were."""
        here = self.position
        most = segment.steps - at if self.keeper is None else self.keeper.most(here.done)
        try:
            advanced = self.dispatcher.advance(self.state, here.totals, segment, here.epoch, at, most)
        except NonfiniteError as error:
            error.history = self.history
            raise
        self.state, here.totals, count = advanced
        here.steps, here.done = here.steps + count, here.done + count
        here.metrics = means(here.totals)
        told = {"epoch": here.epoch + 1, "step": here.steps, "steps": self.feed.steps, "metrics": here.metrics}
        self.moments.tell(kind="program", state=self.state, **told)
        if self.keeper is not None:
            self.keeper.program_done(self.state, here, self.history)
        return count
