"""The command line of ``python -m benchmarks``."""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import curves, machine, report, results, runner, turns
from benchmarks.peers import PEERS, LeftOutError
from benchmarks.scale import command as scale
from benchmarks.targets import OURS
from benchmarks.workloads import WORKLOADS, Workload, find

RESULTS = Path(__file__).parent / "results"


def say(text: str) -> None:
    """A word about how it goes, beside the results."""
    print(text, file=sys.stderr, flush=True)


def list_command(arguments: argparse.Namespace) -> int:
    """Print the workloads, the peers and the curves."""
    rows = [[w.name, w.about, f"{w.steps} steps of {w.batch}", " ".join(w.on)] for w in WORKLOADS.values()]
    print(report.table(["workload", "what it is", "an epoch", "by default on"], rows, text_columns=4))
    print(f"\npeers: {', '.join(PEERS)}\ncurves: {', '.join(curves.NAMES)}")
    return 0


def run_command(arguments: argparse.Namespace) -> int:
    """Measure one peer here and print the record as one line of JSON."""
    try:
        record = runner.measure(arguments.workload.name, arguments.peer, arguments.seconds)
    except LeftOutError as word:
        say(str(word))
        return 0
    print(json.dumps(record))
    return 0


def limit_command(arguments: argparse.Namespace) -> int:
    """Measure the machine's limit here and count the workloads' work: lines of JSON."""
    from benchmarks import count, limit

    print(json.dumps(limit.measure()))
    for workload in arguments.workloads:
        print(json.dumps({"workload": workload.name, "work": count.work(workload)._asdict()}), flush=True)
    return 0


def memory_command(arguments: argparse.Namespace) -> int:
    """The curve of memory: lines of JSON."""
    for record in curves.memory():
        print(json.dumps(record), flush=True)
    return 0


def members_command(arguments: argparse.Namespace) -> int:
    """The curve of members: lines of JSON."""
    from benchmarks import members

    for record in members.measure():
        say(f"{record['curve']}, {record['x']}: {record['peer']} {record['y']:.3g} ms")
        print(json.dumps(record), flush=True)
    return 0


class Saved:
    """Records of one run, each saved as it comes."""

    def __init__(self, path: Path):
        self.path, self.records, self.run = path, list[runner.Record](), uuid.uuid4().hex
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, record: runner.Record) -> None:
        self.records.append(record | {"run": self.run})
        with self.path.open("a") as file:
            file.write(json.dumps(self.records[-1]) + "\n")

    def add_apart(self, *command: str) -> None:
        """The lines that a command gives in a process of its own; where it fails, those until then and a word."""
        words = [sys.executable, "-m", "benchmarks", *command]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, cwd=turns.ROOT, check=False)
        for line in done.stdout.splitlines():
            self.add(json.loads(line))
        if done.returncode:
            say(f"{command[0]} is left out: it ended with {done.returncode}")


def default_path(kind: str) -> Path:
    """Where results go when nothing else is said: what they are, on which device, in which dtype, when."""
    device = machine.gpu_name() if machine.platform() == "gpu" else machine.cpu_name()
    name = re.sub(r"[^a-z0-9]+", "-", str(device).lower()).strip("-")
    when = time.strftime("%Y%m%d-%H%M%S")
    return RESULTS / f"{kind}-{machine.platform()}-{name}-{machine.dtype()}-{when}.jsonl"


def compare_command(arguments: argparse.Namespace) -> int:
    """Measure several peers by turns, save each record as it comes, and print the tables."""
    saved = Saved(arguments.out or default_path("compare"))
    workloads = arguments.workloads or [w for w in WORKLOADS.values() if machine.platform() in w.on]
    workloads = list({workload.name: workload for workload in workloads}.values())
    peers = list(dict.fromkeys([OURS, *arguments.peers]))
    saved.add_apart("limit", *(workload.name for workload in workloads))
    measured = disagreed = 0
    for workload in workloads:
        try:
            for record in turns.by_turns(workload, peers, arguments.rounds, arguments.seconds, say):
                saved.add(record)
                measured += 1
                told = f"{record['ms']['median']:.3g} ms"
                say(f"{workload.name} round {record['round'] + 1}: {record['peer']} {told}")
        except runner.DisagreementError as told:
            say(str(told))
            disagreed += 1
    if measured:
        shown(saved.records, saved.path, arguments.chart)
    return int(disagreed > 0 or not measured)


def curves_command(arguments: argparse.Namespace) -> int:
    """Measure how time and memory grow."""
    saved = Saved(arguments.out or default_path("curves"))
    names = arguments.names or curves.NAMES
    disagreed = 0
    try:
        for record in curves.measure(names, list(dict.fromkeys(arguments.peers)), arguments.seconds, say):
            saved.add(record)
    except runner.DisagreementError as told:
        say(str(told))
        disagreed = 1
    for name, command in ((curves.MEMORY, "memory"), (curves.MEMBERS, "members")):
        if name in names:
            saved.add_apart(command)
    if saved.records:
        shown(saved.records, saved.path, arguments.chart)
    return int(disagreed or not saved.records)


def report_command(arguments: argparse.Namespace) -> int:
    """Print saved records as Markdown, and draw them."""
    shown(results.read(arguments.files), None, arguments.chart)
    return 0


def shown(records: Sequence[runner.Record], path: Path | None, chart: Path | None) -> None:
    """Print the tables; draw the chart where one is asked for, one for each machine, device and dtype."""
    places = results.by_place(records)
    print(report.render_all(places))
    if path is not None:
        print(f"\nsaved as {path}")
    if chart is not None:
        from benchmarks.chart import draw

        for number, found in enumerate(places.values(), 1):
            drawn = chart.with_stem(f"{chart.stem}-{number}") if len(places) > 1 else chart
            draw(found, drawn)
            print(f"\ndrawn as {drawn}")


def positive(text: str) -> int:
    """An argument that counts something."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {number}")
    return number


def duration(text: str) -> float:
    """An argument of seconds."""
    if not (number := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"must be more than 0 seconds, got {text}")
    return number


def workload(text: str) -> Workload:
    """An argument that names a workload."""
    try:
        return find(text)
    except ValueError as told:
        raise argparse.ArgumentTypeError(str(told)) from None


def parser() -> argparse.ArgumentParser:
    """The arguments of all commands."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description="Training steps, measured.")
    platform, dtype = machine.platform(), machine.dtype()  # As the process that started this one has it.
    top.add_argument("--platform", choices=("cpu", "gpu"), default=platform, help="where peers compute")
    top.add_argument("--dtype", choices=("float32", "bfloat16"), default=dtype, help="in what peers compute")
    commands = top.add_subparsers(metavar="COMMAND", help="by default: compare everything")
    seconds: dict[str, Any] = {"type": duration, "help": "about how long a turn is, of whole epochs"}
    several: dict[str, Any] = {"nargs": "*", "type": workload, "metavar": "workload"}
    out: dict[str, Any] = {"type": Path, "metavar": "FILE.jsonl", "help": "where records are added; default: results/"}
    chart: dict[str, Any] = {"type": Path, "metavar": "FILE.png", "help": "draw a chart as well"}

    def add(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help)
        command.set_defaults(run=run)
        return command

    add("list", list_command, "the workloads, the peers and the curves")

    command = add("run", run_command, "measure one peer in this process: a line of JSON")
    command.add_argument("workload", type=workload)
    command.add_argument("--peer", choices=PEERS, default=OURS)
    command.add_argument("--seconds", default=runner.SECONDS, **seconds)

    command = add("compare", compare_command, "measure peers by turns, each in its own process: tables")
    command.add_argument("workloads", **several, help="also with other sizes: gpt:width=256,batch=4; default: all")
    command.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help=f"beside {OURS}")
    command.add_argument("--rounds", type=positive, default=runner.ROUNDS)
    command.add_argument("--seconds", default=runner.SECONDS, **seconds)
    command.add_argument("--out", **out)
    command.add_argument("--chart", **chart)

    command = add("curves", curves_command, "measure how time and memory grow with batch, width, depth and length")
    command.add_argument("names", nargs="*", choices=[*curves.NAMES, []], metavar="curve")
    command.add_argument("--peers", nargs="+", choices=PEERS, default=list(curves.PEERS))
    command.add_argument("--seconds", default=0.5, **seconds)
    command.add_argument("--out", **out)
    command.add_argument("--chart", **chart)

    command = add("report", report_command, "saved records as Markdown")
    command.add_argument("files", nargs="+", type=Path, metavar="FILE.jsonl")
    command.add_argument("--chart", **chart)

    command = add("limit", limit_command, "measure the machine's limit, count the workloads' work: lines of JSON")
    command.add_argument("workloads", **several)
    scale.add_arguments(
        add("scale", scale.run, "predict training steps over many devices from their compiled programs")
    )
    add("memory", memory_command, "the curve of memory: lines of JSON")
    add("members", members_command, "the curve of members: lines of JSON")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(words)
    if not hasattr(arguments, "run"):
        arguments = parser().parse_args([*words, "compare"])
    # What is chosen here holds for this process and for those that it starts.
    os.environ.update(turns.environment(arguments.platform, arguments.dtype))
    if arguments.run is not report_command and machine.platform() == "gpu" and machine.gpu_name() is None:
        say("no NVIDIA GPU is at hand here (nvidia-smi names none): nothing was measured")
        return 1
    try:
        status: int = arguments.run(arguments)
    except KeyboardInterrupt:
        say("interrupted; what was measured is saved")
        return 130
    return status
