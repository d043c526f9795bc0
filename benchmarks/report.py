"""Tables of saved results, in Markdown."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.hlo import BOOKKEEPING, difference
from benchmarks.runner import Record

OURS = "jaxdl"

HEAD = ("peer", "ms a step", "min – max", f"{OURS} / peer", "min – max", "of fastest", "first call, s", "peak, MB")


def read(path: Path) -> list[Record]:
    """The records of a file, one JSON object a line."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table that also reads well as it is: columns of text to the left, then figures to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            c.ljust(w) if at < text_columns else c.rjust(w) for at, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if at < text_columns else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def span(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}} – {max(values):{form}}"


def ratios(ours: Sequence[Record], theirs: Sequence[Record]) -> list[float]:
    """Round by round, our median time over theirs: below 1, we are faster."""
    times = {record.get("round", 0): record["ms"]["median"] for record in ours}
    pairs = [(times.get(record.get("round", 0)), record["ms"]["median"]) for record in theirs]
    return [mine / other for mine, other in pairs if mine is not None]


def peer_row(peer: str, records: Sequence[Record], ours: Sequence[Record]) -> list[str]:
    """One line of :data:`HEAD`: medians over rounds of each round's median; extremes over all epochs of all rounds.

    The ratio is told pair by pair, and once more of the fastest epochs, which sway least where others are at work.
    """
    times = [record["ms"] for record in records]
    row = [
        peer,
        f"{statistics.median(t['median'] for t in times):.3g}",
        f"{min(t['min'] for t in times):.3g} – {max(t['max'] for t in times):.3g}",
    ]
    pairs = ratios(ours, records) if peer != OURS else []
    if pairs:
        fastest = min(record["ms"]["min"] for record in ours) / min(t["min"] for t in times)
        row += [f"{statistics.median(pairs):.2f}", span(pairs, ".2f"), f"{fastest:.2f}"]
    else:
        row += [""] * 3
    first = statistics.median(record["first_call_seconds"] for record in records)
    return [*row, f"{first:.2f}", f"{max(record['peak_megabytes'] for record in records):.0f}"]


def loop_lines(by_peer: dict[str, list[Record]]) -> list[str]:
    """The instructions of each peer's loop, and where they differ from ours."""
    loops = {peer: records[0]["loop"] for peer, records in by_peer.items() if records[0]["loop"]}
    lines = []
    for peer, loop in loops.items():
        work = sum(n for opcode, n in loop.items() if opcode not in BOOKKEEPING)
        line = f"- loop of {peer}: {sum(loop.values())} instructions, {work} of them work"
        if peer != OURS and OURS in loops:
            gaps = difference(loops[OURS], loop)
            told = ", ".join(f"{opcode} {gap:+d}" for opcode, gap in gaps.items())
            line += f"; {OURS} against it: {told}" if gaps else f"; by opcode equal to {OURS}"
        lines.append(line)
    return lines


def workload_section(name: str, records: Sequence[Record]) -> str:
    """A heading, the table of the peers, and the counts of their loops."""
    by_peer: dict[str, list[Record]] = {}
    for record in records:
        by_peer.setdefault(record["peer"], []).append(record)
    ours = by_peer.get(OURS, [])
    losses = [record["first_losses"][0] for record in records]
    apart = (max(losses) - min(losses)) / abs(min(losses))
    notes = [f"- loss of the first batch {losses[0]:.6g}, over all peers equal within {apart:.1g}"]
    rows = [peer_row(peer, theirs, ours) for peer, theirs in by_peer.items()]
    return "\n\n".join([f"## {name}", table(HEAD, rows), "\n".join([*notes, *loop_lines(by_peer)])])


def conditions(records: Sequence[Record]) -> str:
    """On what and with what these were measured."""
    versions: dict[str, set[str]] = {}
    for record in records:
        for package, version in record["versions"].items():
            versions.setdefault(package, set()).add(version)
    rounds = len({record.get("round", 0) for record in records})
    places = sorted(
        {
            f"{record['cpu']}, {record['threads']} threads on {record['cpus']} processors, device {record['device']}"
            for record in records
        }
    )
    packages = ", ".join(f"{package} {' and '.join(sorted(found))}" for package, found in versions.items())
    when = f"{min(record['time'] for record in records)[:10]}: rounds {rounds}, epochs each {records[0]['epochs']}"
    load = span([record["load"] for record in records], ".1f")
    return "\n".join([f"{when}. {'; '.join(places)}; load average {load}.", f"{packages}."])


def render(records: Sequence[Record]) -> str:
    """All of it: a section for each workload, in the order of the records, and the conditions."""
    if not records:
        raise ValueError("report: there must be at least one record, got none")
    names = dict.fromkeys(record["workload"] for record in records)
    sections = [workload_section(name, [r for r in records if r["workload"] == name]) for name in names]
    return "\n\n".join([*sections, conditions(records)])
