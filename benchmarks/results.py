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


def read(paths: Iterable[Path]) -> list[Record]:
    """The records of files, one JSON object a line; of a run that has no name, the file's."""
    lines = [(str(path), line) for path in paths for line in path.read_text().splitlines() if line.strip()]
    return [{"run": name} | json.loads(line) for name, line in lines]


def by_place(records: Sequence[Record]) -> "dict[str, Results]":
    """What was measured on one platform, in one dtype, on one device belongs together, in any number of runs.

    **Raises** ``ValueError`` where nothing was measured.
    """
    places: dict[str, list[Record]] = {}
    for found in by_run(records).values():
        told = next((r for r in found if "peer" in r and "device" in r), next((r for r in found if "cpu" in r), {}))
        gpu = told.get("platform") == "gpu"
        where = told.get("device" if gpu else "cpu", "unknown")
        places.setdefault(f"{where}, {told.get('dtype', 'float32')}", []).extend(found)
    measured = {place: found for place, found in places.items() if any("peer" in r for r in found)}
    if not measured:
        raise ValueError("report: there must be at least one record of a measurement, got none")
    return {place: Results(found) for place, found in measured.items()}


def turn(record: Record) -> tuple[Any, int]:
    """The run and the round: what was measured side by side."""
    return record.get("run"), record.get("round", 0)


def ratios(ours: Sequence[Record], theirs: Sequence[Record]) -> list[float]:
    """Round by round of each run, our median time over theirs: below 1, we are faster."""
    times = {turn(record): record["ms"]["median"] for record in ours}
    pairs = [(times.get(turn(record)), record["ms"]["median"]) for record in theirs]
    return [mine / other for mine, other in pairs if mine is not None]


def by_run(records: Iterable[Record]) -> dict[Any, list[Record]]:
    """The records of each run."""
    runs: dict[Any, list[Record]] = {}
    for record in records:
        runs.setdefault(record.get("run"), []).append(record)
    return runs


def geometric_mean(values: Sequence[float]) -> float:
    """The nth root of the product."""
    return math.exp(statistics.fmean(map(math.log, values)))


class Results:
    """Records of measurements, of the machine's limit, of workloads' work, and of curves, of one place and any runs.

    **Raises** ``ValueError`` where nothing was measured.
    """

    def __init__(self, records: Sequence[Record]):
        self.measured = [r for r in records if "peer" in r and "curve" not in r]
        self.curves = [r for r in records if "curve" in r]
        self.limits = [r for r in records if "limit" in r]
        self.works = {r["workload"]: Work(**r["work"]) for r in records if "work" in r}
        self._limits = {r.get("run"): r["limit"] for r in self.limits}
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
        """The fastest of those that are to be beaten, measured against us side by side where we were there."""
        there = [p for p in self.peers if p not in NOT_PEERS and self.of(workload, p)]
        against = {peer: ratio for peer in there if (ratio := self.ratio(workload, peer)) is not None}
        if against:
            return max(against, key=lambda peer: against[peer])
        times = {peer: self.milliseconds(workload, peer) or math.inf for peer in there}
        return min(times, key=lambda peer: times[peer]) if times else None

    def ratio(self, workload: str, peer: str | None, ours: str = OURS) -> float | None:
        """Our time over a peer's: the median over rounds."""
        found = ratios(self.of(workload, ours), self.of(workload, peer)) if peer else []
        return statistics.median(found) if found else None

    def spread(self, workload: str, peer: str) -> float:
        """How far rounds of a run lie apart: the longest over the shortest median of a round, less 1."""
        runs = [[r["ms"]["median"] for r in records] for records in by_run(self.of(workload, peer)).values()]
        return max(max(medians) / min(medians) for medians in runs) - 1

    def of_limit(self, workload: str, peer: str) -> float | None:
        """Which share of what the machine can do at best the peer's median comes to."""
        shares = []
        for run, records in by_run(self.of(workload, peer)).items():
            if workload in self.works and run in self._limits:
                least = least_seconds(self._limits[run], self.works[workload])
                shares.append(1e3 * least / statistics.median(r["ms"]["median"] for r in records))
        return statistics.median(shares) if shares else None
