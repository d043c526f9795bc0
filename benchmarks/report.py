"""Saved results as tables, in Markdown."""

import statistics
from collections.abc import Mapping, Sequence

from benchmarks import targets
from benchmarks.hlo import BOOKKEEPING, difference
from benchmarks.results import Record, Results, by_run, geometric_mean, ratios, turn
from benchmarks.targets import NOT_PEERS, OURS
from benchmarks.workloads import WORKLOADS

HEAD = (
    "peer",
    "ms a step",
    "min – max",
    "spread",
    f"{OURS} / peer",
    "min – max",
    "of fastest",
    "of the limit",
    "first call, s",
    "peak, MB",
)

OF_LIMIT = (
    "Of the limit: a step's operations at that rate, or its bytes at that bandwidth if that is longer, over the time "
    "that it took. Operations are those of the direct form: a convolution that is filtered needs fewer and may pass "
    "100 %. Bytes are those of the parameters, of what the optimizer keeps, and of the batch."
)

QUIET = 0.05
"""The share of the processors that others may use, in the median, while one measures."""


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


def figure(value: float | None, form: str = ".2f") -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:{form}}"


def summary(results: Results) -> str:
    """One row a workload: our time over each peer's and over the best one's, what it shall be, and the limit."""
    peers = [peer for peer in results.peers if peer != OURS]
    head = ["workload", "best peer", f"{OURS}, ms", f"{OURS} / best", "at most"]
    head += ["aim", *(f"/ {peer}" for peer in peers), "of the limit"]
    rows = []
    for workload in results.workloads:
        best = results.best_peer(workload)
        row = [workload, best or "–", figure(results.milliseconds(workload, OURS), ".3g")]
        row += [figure(results.ratio(workload, best)), figure(targets.at_most(workload))]
        row += [figure(targets.aim(workload))]
        row += [figure(results.ratio(workload, peer)) for peer in peers]
        rows.append([*row, figure(results.of_limit(workload, OURS), ".0%")])
    return "\n\n".join(["## Summary", table(head, [*rows, *_mean_rows(results, peers)], text_columns=2)])


def _mean_rows(results: Results, peers: Sequence[str]) -> list[list[str]]:
    """The geometric means: over those of the nine workloads with targets that were measured, and over all."""
    rows = []
    nine = [workload for workload in results.workloads if workload in targets.TARGETS]
    for what, chosen, most, aim in (
        (f"mean of {len(nine)} with targets", nine, *targets.GEOMETRIC_MEAN),
        (f"mean of all {len(results.workloads)}", results.workloads, targets.ELSEWHERE, None),
    ):

        def mean(found: list[float | None]) -> str:
            there = [ratio for ratio in found if ratio is not None]
            return figure(geometric_mean(there) if there else None)

        to_best = [results.ratio(workload, results.best_peer(workload)) for workload in chosen]
        row = [what, "", "", mean(to_best), figure(most), figure(aim)]
        rows.append([*row, *(mean([results.ratio(w, peer) for w in chosen]) for peer in peers), ""])
    return rows[:1] + rows[1:] * (len(nine) < len(results.workloads)) if nine else rows[1:]


def by_peer(results: Results, title: str, field: str, form: str) -> str:
    """One row a workload and one column a peer, of a field that each process has one of."""
    rows = []
    for workload in results.workloads:
        found = [[r[field] for r in results.of(workload, peer) if r.get(field)] for peer in results.peers]
        rows.append([workload, *(figure(max(values) if values else None, form) for values in found)])
    return "\n\n".join([f"## {title}", table(["workload", *results.peers], rows)])


def peer_row(results: Results, workload: str, peer: str) -> list[str]:
    """One line of :data:`HEAD`: medians over rounds of each round's median; extremes over all epochs of all rounds.

    The ratio is told pair by pair, and once more of the fastest epochs, which sway least where others are at work.
    """
    records, ours = results.of(workload, peer), results.of(workload, OURS)
    times = [record["ms"] for record in records]
    row = [
        peer,
        figure(results.milliseconds(workload, peer), ".3g"),
        f"{min(t['min'] for t in times):.3g} – {max(t['max'] for t in times):.3g}",
        f"{results.spread(workload, peer):.0%}",
    ]
    pairs = ratios(ours, records) if peer != OURS else []
    if pairs:
        least = [{run: min(r["ms"]["min"] for r in of) for run, of in by_run(both).items()} for both in (ours, records)]
        fastest = statistics.median(least[0][run] / least[1][run] for run in least[0].keys() & least[1].keys())
        row += [f"{statistics.median(pairs):.2f}", span(pairs, ".2f"), f"{fastest:.2f}"]
    else:
        row += [""] * 3
    first = statistics.median(record["first_call_seconds"] for record in records)
    peak = max(record["peak_megabytes"] for record in records)
    return [*row, figure(results.of_limit(workload, peer), ".0%"), f"{first:.2f}", f"{peak:.0f}"]


def loop_lines(results: Results, workload: str) -> list[str]:
    """The instructions of each peer's loop, and where they differ from ours."""
    loops = {p: r["loop"] for p in results.peers for r in results.of(workload, p) if r.get("loop")}
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


def workload_section(results: Results, workload: str) -> str:
    """A heading, the table of the peers, what they agree on, the work, and the counts of their loops."""
    peers = [peer for peer in results.peers if results.of(workload, peer)]
    notes = []
    if losses := [r["first_losses"][0] for peer in peers for r in results.of(workload, peer) if "first_losses" in r]:
        apart = (max(losses) - min(losses)) / abs(min(losses))
        drawn = any(r.get("random") for peer in peers for r in results.of(workload, peer))
        among = "each with its own dropout, they differ by" if drawn else "over all peers equal within"
        notes.append(f"- loss of the first batch {losses[0]:.6g}, {among} {apart:.1g}")
    if (work := results.works.get(workload)) is not None:
        shares = f"{work.products / max(work.operations, 1):.0%} of them in products"
        notes.append(f"- a step: {work.operations / 1e9:.3g} GFLOP, {shares}; {work.bytes / 1e6:.3g} MB must move")
    if (known := WORKLOADS.get(workload.partition(":")[0])) is not None and known.note:
        notes.append(f"- {known.note}")
    rows = [peer_row(results, workload, peer) for peer in peers]
    return "\n\n".join([f"## {workload}", table(HEAD, rows), "\n".join([*notes, *loop_lines(results, workload)])])


def limit_lines(results: Results) -> list[str]:
    """What the machine can do at best, as measured beside."""
    lines = []
    for record in results.limits:
        limit = record["limit"]
        moves = ", ".join(f"{int(size) / 2**20:.0f} MB {rate / 1e9:.0f}" for size, rate in limit["bytes"].items())
        rate = f"{limit['operations'] / 1e9:.0f} GFLOP/s in products of matrices ({limit['by']})"
        lines.append(f"The limit in this run: {rate}; copying, in GB/s by working set: {moves}.")
    return lines + [OF_LIMIT] * bool(lines)


def conditions(records: Sequence[Record]) -> str:
    """On what and with what these were measured."""
    versions: dict[str, set[str]] = {}
    for record in records:
        for package, version in record["versions"].items():
            versions.setdefault(package, set()).add(version)
    rounds = len({turn(record) for record in records})
    places = sorted(
        {
            f"{record['cpu']}, {record['processors']} of {record['cpus']} processors, device {record['device']}, "
            f"{record.get('dtype', 'float32')}"
            for record in records
        }
    )
    packages = ", ".join(f"{package} {' and '.join(sorted(found))}" for package, found in versions.items())
    epochs = span([record["epochs"] for record in records], "d")
    when = f"{min(record['time'] for record in records)[:10]}: rounds {rounds}, epochs each {epochs}"
    load = span([record["load"] for record in records], ".1f")
    busy = max((record.get("busy_while_waiting", 0.0) for record in records), default=0.0)
    waits = f"while they waited, peers kept a processor at most {busy:.1%} busy"
    lines = [f"{when}. {'; '.join(places)}; load average {load}; {waits}.", f"{packages}.", *_others(records)]
    return "\n".join(lines)


def _others(records: Sequence[Record]) -> list[str]:
    """How much others used the processors during the turns, with a warning where that was much."""
    shares = [record["others"] for record in records if record.get("others") is not None]
    if not shares:
        return []
    line = f"Others used {statistics.median(shares):.0%} of the processors meanwhile ({span(shares, '.0%')})."
    if statistics.median(shares) > QUIET:
        line += " **That is much: whose threads wait for one another suffer most. Measure again where it is quiet.**"
    return [line]


def render_all(places: Mapping[str, Results]) -> str:
    """A report for each place, under its name where there are several."""
    if len(places) == 1:
        return render(*places.values())
    return "\n\n".join(f"# {place}\n\n{render(results)}" for place, results in places.items())


def render(results: Results) -> str:
    """All of it: the summary, compile times and memory, a section for each workload, and the conditions."""
    if not results.measured:
        return "Curves alone: see the charts (`--chart FILE.png`)."
    sections = [workload_section(results, workload) for workload in results.workloads]
    several = len([peer for peer in results.peers if peer not in NOT_PEERS]) > 0 and OURS in results.peers
    tops = [summary(results)] if several else []
    tops.append(by_peer(results, "First call (compile), s", "first_call_seconds", ".2f"))
    tops.append(by_peer(results, "Peak memory of the process, MB", "peak_megabytes", ".0f"))
    if any(record.get("device_megabytes") for record in results.measured):
        tops.append(by_peer(results, "Peak memory on the device, MB", "device_megabytes", ".0f"))
    ends = ["\n\n".join(limit_lines(results)), conditions(results.measured)]
    return "\n\n".join([*tops, *sections, *filter(None, ends)])
