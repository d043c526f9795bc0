"""The command line of ``python -m benchmarks``."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import report, runner
from benchmarks.peers import PEERS, LeftOutError
from benchmarks.workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results"


def list_command(arguments: argparse.Namespace) -> int:
    """Print the workloads and the peers."""
    rows = [[w.name, w.about, f"{w.steps} steps of {w.batch}"] for w in WORKLOADS.values()]
    print(report.table(["workload", "what it is", "an epoch"], rows, text_columns=2))
    print(f"\npeers: {', '.join(PEERS)}")
    return 0


def run_command(arguments: argparse.Namespace) -> int:
    """Measure one peer here and print the record as one line of JSON."""
    try:
        record = runner.measure(WORKLOADS[arguments.workload], arguments.peer, arguments.epochs)
    except LeftOutError as word:
        print(word, file=sys.stderr)
        return 0
    print(json.dumps(record))
    return 0


def compare_command(arguments: argparse.Namespace) -> int:
    """Measure several peers by turns, save each record as it comes, and print the tables."""
    out: Path = arguments.out or RESULTS / time.strftime("compare-%Y%m%d-%H%M%S.jsonl")
    out.parent.mkdir(parents=True, exist_ok=True)
    peers = list(dict.fromkeys([report.OURS, *arguments.peers]))
    records: list[runner.Record] = []
    try:
        for workload in dict.fromkeys(arguments.workloads):
            for record in runner.by_turns(workload, peers, arguments.rounds, arguments.epochs):
                records.append(record)
                with out.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                ms = record["ms"]["median"]
                print(f"{workload} round {record['round'] + 1}: {record['peer']} {ms:.3g} ms", file=sys.stderr)
                runner.check_same(records)
    except runner.DisagreementError as told:
        print(f"not the same mathematics: {told}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as told:
        print(f"a measurement failed: {' '.join(told.cmd)}", file=sys.stderr)
        return 1
    print(f"{report.render(records)}\n\nsaved as {out}")
    return 0


def report_command(arguments: argparse.Namespace) -> int:
    """Print saved records as Markdown."""
    print(report.render([record for path in arguments.files for record in report.read(path)]))
    return 0


def positive(text: str) -> int:
    """An argument that counts something."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {number}")
    return number


def parser() -> argparse.ArgumentParser:
    """The arguments of all commands."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description="Training steps, measured.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    epochs: dict[str, Any] = {
        "type": positive,
        "default": runner.EPOCHS,
        "help": "epochs to measure, after one to warm up",
    }

    command = commands.add_parser("list", help="the workloads and the peers")
    command.set_defaults(run=list_command)

    command = commands.add_parser("run", help="measure one peer in this process: a line of JSON")
    command.add_argument("workload", choices=WORKLOADS)
    command.add_argument("--peer", choices=PEERS, default=report.OURS)
    command.add_argument("--epochs", **epochs)
    command.set_defaults(run=run_command)

    command = commands.add_parser("compare", help="measure peers by turns, each in its own process: a table")
    command.add_argument("workloads", nargs="+", choices=WORKLOADS, metavar="workload")
    command.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help=f"beside {report.OURS}")
    command.add_argument("--rounds", type=positive, default=runner.ROUNDS)
    command.add_argument("--epochs", **epochs)
    command.add_argument("--out", type=Path, metavar="FILE.jsonl", help="where records are added; default: results/")
    command.set_defaults(run=compare_command)

    command = commands.add_parser("report", help="saved records as Markdown")
    command.add_argument("files", nargs="+", type=Path, metavar="FILE.jsonl")
    command.set_defaults(run=report_command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    arguments = parser().parse_args(argv)
    status: int = arguments.run(arguments)
    return status
