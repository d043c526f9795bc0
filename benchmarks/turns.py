"""Several peers by turns, A B A B, each in a living process of its own: a machine that slows down slows all of them."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.peers import LeftOutError
from benchmarks.runner import DisagreementError, Record, about, check_same
from benchmarks.workloads import Workload

ROOT = Path(__file__).parents[1]
PATIENCE = 900
"""Seconds after which a peer that gives no answer is left out."""

Say = Callable[[str], None]


def environment(platform: str, dtype: str) -> dict[str, str]:
    """The variables of a process that shall measure on that platform and in that dtype."""
    chosen = {
        "JAXDL_BENCH_PLATFORM": platform,
        "JAXDL_BENCH_DTYPE": dtype,
        "JAX_PLATFORMS": {"cpu": "cpu", "gpu": "cuda"}[platform],
        "TERM": "xterm-256color",  # Progress bars are drawn as for people.
    }
    if platform == "gpu":
        chosen["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # Several processes share it.
    return chosen


class Child:
    """A peer in a process of its own. It is stopped whenever it is not at work: a peer that waits costs nothing."""

    def __init__(self, workload: Workload, peer: str):
        self.workload, self.peer = workload, peer
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", workload.name, peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            bufsize=1,
            cwd=ROOT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]

    def ask(self, **command: Any) -> Record:
        """Have it do something; what it answers."""
        self._signal("SIGCONT")
        with contextlib.suppress(BrokenPipeError):  # If it has died, it has no answer.
            self.process.stdin.write(json.dumps(command) + "\n")  # type: ignore[union-attr]
        return self.answer()

    def answer(self) -> Record:
        """What it says next.

        **Raises** ``LeftOutError`` where it cannot take part, has died, or gives no answer.
        """
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else ""  # type: ignore[union-attr]
        self._signal("SIGSTOP")
        if not line:
            raise LeftOutError(f"{self.peer} is left out of {self.workload.name}: {self._last_words(bool(ready))}")
        answer: Record = json.loads(line)
        if "left_out" in answer:
            raise LeftOutError(answer["left_out"])
        return answer

    def _signal(self, name: str) -> None:
        if hasattr(signal, name):
            os.kill(self.process.pid, getattr(signal, name))

    def _last_words(self, died: bool) -> str:
        if not died:
            return f"no answer in {PATIENCE} s"
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with {self.process.wait()}"


def by_turns(workload: Workload, peers: Sequence[str], rounds: int, seconds: float, say: Say) -> Iterator[Record]:
    """A record for each peer and round. Peers that cannot take part are left out with a word through ``say``.

    All processes begin together, with what they import; then each by itself makes its first call and warms up. Each
    round begins with another peer. A peer that does not compute what the first one does is left out with a word.

    **Raises** ``DisagreementError`` at the end where peers were left out so; before anything is measured where the
    first peer stands alone against all others.
    """
    with contextlib.ExitStack() as stack:
        team = [stack.enter_context(Child(workload, peer)) for peer in peers]
        begun: dict[str, Record] = {}

        def each(what: Callable[[Child], Record]) -> Iterator[tuple[Child, Record]]:
            for child in list(team):
                try:
                    yield child, what(child)
                except LeftOutError as word:
                    say(str(word))
                    team.remove(child)

        list(each(Child.answer))
        for child, first in each(lambda child: child.ask(do="first")):
            begun[child.peer] = about(workload, child.peer) | first
            told = f"first call {first['first_call_seconds']:.1f} s"
            say(f"{workload.name}: {child.peer} is ready, {told}")
        disagreed = disagreeing(list(begun.values()), say)
        team[:] = [child for child in team if child.peer not in disagreed]
        for number in range(rounds):
            if number:
                team[:] = team[1:] + team[:1]
            for child, turn in each(lambda child: child.ask(do="turn", seconds=seconds)):
                end: Record = {}
                if number == rounds - 1:
                    with contextlib.suppress(LeftOutError):
                        end = child.ask(do="end")
                yield begun[child.peer] | turn | end | {"round": number}
        if disagreed:
            raise DisagreementError(f"{', '.join(disagreed)} left out of {workload.name}, not the same mathematics")


def disagreeing(records: Sequence[Record], say: Say) -> list[str]:
    """The peers that did not begin as the first one did, each with a word.

    **Raises** ``DisagreementError`` where these are all others.
    """
    words: dict[str, str] = {}
    for record in records[1:]:
        try:
            check_same(record, records[0])
        except DisagreementError as word:
            words[record["peer"]] = str(word)
    if words and len(words) == len(records) - 1:
        raise DisagreementError(f"{records[0]['peer']} agrees with nobody: {'; '.join(words.values())}")
    for peer, word in words.items():
        say(f"{peer} is left out, not the same mathematics: {word}")
    return list(words)
