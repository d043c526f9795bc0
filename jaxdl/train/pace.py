"""How many steps a program runs: enough that its dispatch costs nothing, few enough that a progress bar lives."""

import math
from dataclasses import dataclass

SHORTEST, LONGEST = 1.0, 2.0
"""Seconds that a program takes at least and at most, as far as whole steps allow. Shorter ones made large steps
slower than the same steps in one program (`benchmarks/NOTES.md`), which two noisy probes may fail to show."""

FIXED_SHARE = 0.01
"""The share of a program's time that what it costs beside its steps may take, unless that asks for over LONGEST."""

PROBE = 8
"""Steps of the second program, which measures a step; the first has a single one."""


@dataclass
class Pace:
    """Measures, and chooses the length of the next program.

    What two programs of 1 and of 8 steps do not share is the cost of the steps; the rest is fixed: the dispatch, and on
    CPU the working memory, which is fresh in each program and paid for when its first step touches it.

    >>> pace = Pace()
    >>> pace.steps(1000)
    1
    >>> pace.measured(steps=1, seconds=0.003)
    >>> pace.steps(1000)
    8
    >>> pace.measured(steps=8, seconds=0.017)   # 2 ms a step, 1 ms beside
    >>> pace.steps(1000)
    500
    """

    single_seconds: float | None = None
    fixed_seconds: float = 0.0
    step_seconds: float | None = None

    def steps(self, left: int) -> int:
        """The number of steps for the next program, of ``left`` that remain."""
        if self.step_seconds is None:
            return min(left, 1 if self.single_seconds is None else PROBE)
        seconds = min(max(SHORTEST, self.fixed_seconds / FIXED_SHARE), LONGEST)
        return max(1, min(left, math.ceil(seconds / self.step_seconds)))

    def measured(self, steps: int, seconds: float) -> None:
        """Take note that a program of so many steps took so long."""
        if steps == 1:
            self.single_seconds = min(seconds, self.single_seconds or seconds)
        if self.single_seconds is None or steps == 1:
            return
        # A noisy machine may have the longer program seem the faster one.
        now = max((seconds - self.fixed_seconds) / steps, seconds / steps / 2)
        if self.step_seconds is None:
            now = max((seconds - self.single_seconds) / (steps - 1), now / 2)
            self.fixed_seconds = max(self.single_seconds - now, 0.0)
            self.step_seconds = now
        elif now < self.step_seconds:
            self.step_seconds = now
        else:  # A pause of the machine must not shorten the programs for good.
            self.step_seconds += 0.3 * (now - self.step_seconds)
