"""``python -m benchmarks scale``."""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scale import measure, report
from benchmarks.scale.cases import POLICIES, PRESETS, SIZES, Case, ways_of
from benchmarks.scale.child import ROOT, asked, compiled
from benchmarks.scale.model import DEVICES, Device, known_device

SOME: dict[str, tuple[Any, ...]] = {
    "sizes": ("124M", "1.5B"),
    "devices": (8, 64),
    "presets": ("data", "fsdp", "fsdp+tensor"),
}
ALL: dict[str, tuple[Any, ...]] = {"sizes": tuple(SIZES), "devices": (8, 64, 512), "presets": PRESETS}
RATES = {
    "flops": "operations a second at the peak",
    "utilization": "the share of the peak that products reach",
    "memory": "bytes a second of a device's memory",
    "link": "bytes a second to devices of its node",
    "network": "bytes a second to devices of other nodes",
    "node": "devices in a node",
    "capacity": "bytes that a device holds",
    "latency": "seconds a collective",
}

Say = Callable[[str], None]


def say(text: str) -> None:
    """A word about how it goes, beside the results."""
    print(text, file=sys.stderr, flush=True)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    default = "{} by default"
    command.add_argument(
        "--all", action="store_true", help="all sizes, presets, and 8, 64 and 512 devices, unless named"
    )
    command.add_argument("--sizes", nargs="+", choices=SIZES, help=default.format(" ".join(SOME["sizes"])))
    command.add_argument("--devices", nargs="+", type=int, help=default.format("8 64"))
    command.add_argument("--presets", nargs="+", choices=PRESETS, help=default.format(" ".join(SOME["presets"])))
    command.add_argument("--ways", type=int, default=8, help="over how many devices tensor spreads at most")
    command.add_argument("--batch", type=int, default=8, help="sequences a device")
    command.add_argument("--length", type=int, help="positions of a sequence; by default as the size has it")
    command.add_argument("--policy", choices=POLICIES, default=POLICIES[0], help="the dtype that is computed in")
    command.add_argument("--no-remat", dest="remat", action="store_false", help="keep all that layers compute")
    command.add_argument("--device", choices=DEVICES, default="h100", help="whose rates are taken where none are given")
    for name, help in RATES.items():
        command.add_argument(f"--{name}", type=int if name == "node" else float, help=help)
    command.add_argument("--measure", action="store_true", help="run small steps over virtual devices instead")
    command.add_argument("--out", type=Path, metavar="FILE.jsonl", help="where records are added; default: runs/")
    command.add_argument("--chart", type=Path, metavar="FILE.png", help="where the chart is drawn; default: runs/")


def device_of(arguments: argparse.Namespace) -> Device:
    """The device that is named, with the rates that are given.

    **Raises** ``ValueError`` for rates that cannot be.
    """
    given = {name: getattr(arguments, name) for name in RATES if getattr(arguments, name) is not None}
    found = known_device(arguments.device, arguments.policy)
    return dataclasses.replace(found, **given, name=found.name + (", changed" if given else "")) if given else found


def cases_of(arguments: argparse.Namespace, told: Say = say) -> list[Case]:
    """The cases that are asked for; with a word for ``tensor`` where it cannot spread a size's heads.

    **Raises** ``ValueError`` for sizes that cannot be.
    """
    chosen = ALL if arguments.all else SOME
    names, devices, presets = (getattr(arguments, kind) or chosen[kind] for kind in ("sizes", "devices", "presets"))
    found = []
    for name in names:
        size = SIZES[name]
        if arguments.length is not None:
            if arguments.length < 1:
                raise ValueError(f"scale: length must be 1 or more, got {arguments.length}")
            size = dataclasses.replace(size, length=arguments.length)
        for count in devices:
            for preset in presets:
                ways = ways_of(size, count, arguments.ways) if "tensor" in preset and count > 0 else 1
                if "tensor" in preset and ways == 1:
                    told(
                        f"{name}, {count} devices, {preset} is left out: no number to {arguments.ways} divides both "
                        f"its {size.heads} heads and the devices"
                    )
                    continue
                found.append(Case(size, count, preset, ways, arguments.batch, arguments.policy, arguments.remat))
    return found


def path_of(given: Path | None, kind: str, end: str) -> Path:
    path = given or ROOT / "runs" / f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}.{end}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def saved(records: Iterator[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """The records, each written as it comes."""
    found = []
    with path.open("a") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")
            file.flush()
            found.append(record)
    return found


def on_paper(cases: Sequence[Case], device: Device) -> Iterator[dict[str, Any]]:
    """The cases compiled, one after the other, each with what the model says."""
    for case in cases:
        began = time.perf_counter()
        try:
            record = compiled(case)
        except RuntimeError as error:
            say(f"{case.name} is left out: {error}")
            continue
        spent = f"{time.perf_counter() - began:.0f} s, {record['peak_megabytes'] / 1e3:.1f} GB"
        say(f"{case.name}: compiled in {spent}")
        yield from report.predicted([record], device)


def measured(presets: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The small networks over one device and over several, with what the model says."""
    for network in measure.EXAMPLES:
        for preset in presets:
            records = []
            for devices in measure.DEVICES:
                what = {"network": network, "preset": preset, "devices": devices}
                records += asked("measure", devices, what)
                say(f"{network}, {preset}, {devices} devices: {1e3 * records[-1]['seconds']:.2f} ms")
            yield from measure.judged(records)


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked; the exit status."""
    if arguments.measure:
        path = path_of(arguments.out, "scale-measured", "jsonl")
        presets = [preset for preset in arguments.presets or measure.PRESETS if preset in measure.PRESETS]
        records = saved(measured(presets), path)
        print(f"{report.SHARED}\n\n{report.measured_table(records)}\n\nsaved as {path}")
        return int(not records)
    try:
        device, cases = device_of(arguments), cases_of(arguments)
    except ValueError as error:
        say(str(error))
        return 2
    path = path_of(arguments.out, "scale", "jsonl")
    records = saved(on_paper(cases, device), path)
    if not records:
        return 1
    print(f"{report.rendered(records, device)}\n\nsaved as {path}")
    from benchmarks.scale.chart import draw

    drawn = path_of(arguments.chart, "scale", "png")
    draw(records, device, drawn)
    print(f"drawn as {drawn}")
    return 0
