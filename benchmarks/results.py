"""Saved records and what they say together: by workload, by peer, against the best peer, and against the limit."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.limit import Work, least_seconds
from benchmarks.targets import NOT_PEERS, OURS

Record = dict[str, Any]


def read(paths: Iterable[Path]) -> "Results":
    """The records of files, one JSON object a line."""
    return Results([json.loads(line) for path in paths for line in path.read_text().splitlines() if line.strip()])


def ratios(ours: Sequence[Record], theirs: Sequence[Record]) -> list[float]:
    """Round by round, our median time over theirs: below 1, we are faster."""
    times = {record.get("round", 0): record["ms"]["median"] for record in ours}
    pairs = [(times.get(record.get("round", 0)), record["ms"]["median"]) for record in theirs]
    return [mine / other for mine, other in pairs if mine is not None]


def geometric_mean(values: Sequence[float]) -> float:
    """The nth root of the product."""
    return math.exp(statistics.fmean(map(math.log, values)))


class Results:
    """Records of measurements, of the machine's limit, of workloads' work, and of curves.

    **Raises** ``ValueError`` where nothing was measured.
    """

    def __init__(self, records: Sequence[Record]):
        self.measured = [r for r in records if "peer" in r and "curve" not in r]
        self.curves = [r for r in records if "curve" in r]
        self.limits = [r for r in records if "limit" in r]
        self.works = {r["workload"]: Work(**r["work"]) for r in records if "work" in r}
        if not self.measured and not self.curves:
            raise ValueError("report: there must be at least one record of a measurement, got none")

    @cached_property
    def workloads(self) -> list[str]:
        """In the order of the records."""
        return list(dict.fromkeys(r["workload"] for r in self.measured))

    @cached_property
    def peers(self) -> list[str]:
        """All of them, in the order of the records."""
        return list(dict.fromkeys(r["peer"] for r in self.measured))

    @cached_property
    def _by_both(self) -> dict[tuple[str, str], list[Record]]:
        found: dict[tuple[str, str], list[Record]] = {}
        for record in self.measured:
            found.setdefault((record["workload"], record["peer"]), []).append(record)
        return found

    def of(self, workload: str, peer: str) -> list[Record]:
        """The records of a peer with a workload, one a round."""
        return self._by_both.get((workload, peer), [])

    def milliseconds(self, workload: str, peer: str) -> float | None:
        """The median over rounds of each round's median."""
        records = self.of(workload, peer)
        return statistics.median(r["ms"]["median"] for r in records) if records else None

    def best_peer(self, workload: str) -> str | None:
        """The fastest of those that are to be beaten."""
        times = {p: self.milliseconds(workload, p) for p in self.peers if p not in NOT_PEERS}
        there = {peer: ms for peer, ms in times.items() if ms is not None}
        return min(there, key=lambda peer: there[peer]) if there else None

    def ratio(self, workload: str, peer: str | None, ours: str = OURS) -> float | None:
        """Our time over a peer's: the median over rounds."""
        found = ratios(self.of(workload, ours), self.of(workload, peer)) if peer else []
        return statistics.median(found) if found else None

    def spread(self, workload: str, peer: str) -> float:
        """How far rounds lie apart: the longest over the shortest median of a round, less 1."""
        medians = [r["ms"]["median"] for r in self.of(workload, peer)]
        return max(medians) / min(medians) - 1

    def of_limit(self, workload: str, peer: str) -> float | None:
        """Which share of what the machine can do at best the peer's median comes to."""
        ms = self.milliseconds(workload, peer)
        if ms is None or workload not in self.works or not self.limits:
            return None
        least = min(least_seconds(record["limit"], self.works[workload]) for record in self.limits)
        return 1e3 * least / ms
