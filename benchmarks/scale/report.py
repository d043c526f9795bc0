"""What was compiled and measured, as tables with the words that they need."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.report import figure, table
from benchmarks.scale.cases import Case, case_of
from benchmarks.scale.collectives import KINDS, Collective
from benchmarks.scale.model import Device, Prediction, Work, predict, sent

Record = dict[str, Any]

NOTES = """\
Compiled, not run: no array was made. FLOPs are counted in the jaxpr, loops as often as they run (XLA's own
cost_analysis counts a loop's body once), and taken to be shared evenly. Collectives are those of the optimized HLO,
loops as often as they run, with two corrections: bytes in the program's own dtype, as the partitioner leaves it, since
XLA for CPU widens bfloat16 to float32; and an all-reduce of which each device keeps a slice is a reduce-scatter, which
XLA for CPU does not make. A step takes at least the longest of products, memory and links, and at most their sum."""

SHARED = """\
The devices are virtual ones of one processor: more of them show no speed-up, and none is to be read from this. What
they show is the work that is added: the time beyond that of one device for the same batch. It holds what each device
does for itself (an optimizer whose state is not spread is updated on each), what is sent, and waiting. It is below zero
where one device's program left a core idle that two can use. Within collectives a device also waits for those that
share its core, so that this share is a bound from above. Times are the least of several runs, of programs with the
least optimization of the machine code, which compile soonest. The model's rates are those of one device, its link's
what is left of the greater batch on two (nothing, where that is below zero); all else is predicted."""


def work_of(record: Record) -> Work:
    """What a device does in a step of a compiled case."""
    case, held = case_of(record["case"]), record["bytes"]
    return Work(
        record["products"] / case.devices,
        held["parameters"] + held["optimizer"],
        held["parameters"],
        held["activations"] + held["logits"],
        [Collective(*found) for found in record["collectives"]],
    )


def utilized(record: Record, device: Device, seconds: float) -> float:
    """The share of the peak that 6 operations a parameter and token come to, without what is computed once more."""
    case = case_of(record["case"])
    useful: float = 6 * record["parameters"] * case.batch * case.size.length
    return useful / (seconds * device.flops)


def ways(case: Case) -> str:
    return " × ".join(f"{name} {size}" for name, size in case.mesh.items())


def compiled_bytes(record: Record) -> int:
    """What the program of the CPU's compiler holds on a device."""
    return int(record["compiled"]["arguments"] + record["compiled"]["temporaries"])


def predicted(records: Iterable[Record], device: Device) -> list[Record]:
    """The records, each with what the model says."""
    found = []
    for record in records:
        work = work_of(record)
        times = predict(work, device)
        said = times._asdict() | {"least": times.least, "most": times.most, "held": work.held}
        found.append(record | {"device": vars(device), "predicted": said | {"fits": work.held <= device.capacity}})
    return found


def stated(device: Device) -> str:
    """The figures that a prediction rests on."""
    return (
        f"{device.name}: {device.flops / 1e12:g} TFLOP/s at {device.utilization:.0%}, memory {device.memory / 1e9:g} "
        f"GB/s of {device.capacity / 1e9:g} GB, links {device.link / 1e9:g} GB/s within {device.node} devices, "
        f"{device.network / 1e9:g} GB/s a device beyond, {device.latency * 1e6:g} µs a collective"
    )


def times_table(records: Sequence[Record], device: Device) -> str:
    """A row a case: what is done, what it takes, and how much of the peak that is."""
    head = ["size", "devices", "preset", "TFLOP", "collectives", "GB sent", "products ms", "memory ms", "links ms"]
    rows = []
    for record in records:
        case, work = case_of(record["case"]), work_of(record)
        times: Prediction = predict(work, device)
        runs = sum(c.times for c in work.collectives)
        gigabytes = sum(c.times * sent(c) for c in work.collectives) / 1e9
        parts = [f"{1e3 * value:.1f}" for value in times]
        used = [f"{utilized(record, device, seconds):.0%}" for seconds in (times.most, times.least)]
        said = [f"{1e3 * times.least:.0f} – {1e3 * times.most:.0f}", " – ".join(used)]
        names = [case.size.name, str(case.devices), f"{case.preset}, {ways(case)}"]
        rows.append([*names, f"{work.products / 1e12:.2f}", str(runs), f"{gigabytes:.2f}", *parts, *said])
    return table([*head, "step ms", "of the peak"], rows, text_columns=3)


def memory_table(records: Sequence[Record], device: Device) -> str:
    """A row a case: GB on a device, as counted and as the CPU's compiler has them."""
    head = ["size", "devices", "preset", "parameters", "gradients", "optimizer", "activations", "in all", "compiled"]
    rows = []
    for record in records:
        case, work = case_of(record["case"]), work_of(record)
        held = [work.gradients, work.gradients, record["bytes"]["optimizer"], work.activations, work.held]
        cells = [f"{value / 1e9:.2f}" for value in (*held, compiled_bytes(record))]
        fits = "yes" if work.held <= device.capacity else "no"
        spent = f"{record['seconds']['trace'] + record['seconds']['compile']:.0f}"
        rows.append([case.size.name, str(case.devices), case.preset, *cells, fits, spent])
    return table([*head, "fits", "compile s"], rows, text_columns=3)


def kinds_table(records: Sequence[Record]) -> str:
    """A row a case: by kind, how often collectives run and the GB of their arrays."""
    rows = []
    for record in records:
        case, found = case_of(record["case"]), work_of(record).collectives
        cells = []
        for kind in KINDS[:3]:
            some = [c for c in found if c.kind == kind]
            cells.append(f"{sum(c.times for c in some)} of {sum(c.times * c.bytes for c in some) / 1e9:.3f}")
        others = sum(c.times for c in found if c.kind not in KINDS[:3])
        rows.append([case.size.name, str(case.devices), case.preset, *cells, str(others)])
    return table(["size", "devices", "preset", *KINDS[:3], "others"], rows, text_columns=3)


def rendered(records: Sequence[Record], device: Device) -> str:
    """All of it."""
    case = case_of(records[0]["case"])
    said = f"{case.batch} sequences a device, {case.policy}" + (", layers computed anew" if case.remat else "")
    memory = (
        "GB on a device. Activations: what layers keep for the gradient, and logits with their gradient in float32;\n"
        "what a layer needs while it is at work is not in them. Compiled: arguments and temporaries of the CPU's\n"
        "program, by memory_analysis: half precision widened, attention's weights whole, another order of work."
    )
    parts = [f"{stated(device)}\n{said}\n\n{NOTES}", times_table(records, device)]
    parts += ["Runs in a step and GB of the arrays, on a device:", kinds_table(records)]
    return "\n\n".join([*parts, memory, memory_table(records, device)])


def measured_table(records: Sequence[Record]) -> str:
    """Rows of :func:`benchmarks.scale.measure.judged`: weak and strong scaling, and what the model says."""
    head = ["network", "preset", "devices", "batch", "scaling", "one device ms", "measured ms", "added", "efficiency"]
    rows = []
    for record in records:
        seconds, one = record["seconds"], record["one"]
        times = [f"{1e3 * one:.2f}", f"{1e3 * seconds:.2f}", f"{seconds / one - 1:+.0%}", f"{one / seconds:.0%}"]
        said = [f"{record['in_collectives']:.0%}", f"{1e3 * record['predicted']:.2f}"]
        said.append(figure(record["predicted"] / seconds))
        rows.append(
            [
                record["network"],
                record["preset"],
                str(record["devices"]),
                str(record["batch"]),
                record["scaling"],
                *times,
                *said,
            ]
        )
    return table([*head, "in collectives", "predicted ms", "predicted / measured"], rows, text_columns=2)
