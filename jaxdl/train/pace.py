"""How many steps a program runs: enough that dispatch costs next to nothing, few enough that a progress bar lives."""

from dataclasses import dataclass

SHORTEST, LONGEST = 0.2, 2.0
"""Seconds that a program takes at least and at most, as far as whole steps allow."""

DISPATCH_SHARE = 0.01
"""The share of a program's time that its dispatch may take, unless that asks for more than LONGEST."""

PROBE = 8
"""Steps of the first program, which measures a step."""


@dataclass
class Pace:
    """Measures, and chooses the length of the next program.

    >>> pace = Pace(dispatch_seconds=0.001)
    >>> pace.steps(1000)
    8
    >>> pace.measured(steps=8, seconds=0.016)   # 2 ms a step
    >>> pace.steps(1000)
    100
    """

    dispatch_seconds: float
    step_seconds: float | None = None

    def steps(self, left: int) -> int:
        """The number of steps for the next program, of ``left`` that remain."""
        if self.step_seconds is None:
            return min(left, PROBE)
        seconds = min(max(SHORTEST, self.dispatch_seconds / DISPATCH_SHARE), LONGEST)
        return max(1, min(left, round(seconds / max(self.step_seconds, 1e-9))))

    def measured(self, steps: int, seconds: float) -> None:
        """Take note that so many steps took so long, dispatch included."""
        now = seconds / steps
        # A pause of the machine must not shorten the programs for good: trust what is faster at once, what is slower
        # by degrees.
        self.step_seconds = (
            now if self.step_seconds is None or now < self.step_seconds else (0.7 * self.step_seconds + 0.3 * now)
        )
