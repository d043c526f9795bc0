"""Predicted steps and memory as a picture; needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.scale.cases import PRESETS
from benchmarks.scale.model import Device, predict
from benchmarks.scale.report import Record, stated, utilized, work_of

COLOURS = dict(zip(PRESETS, ("#999999", "#0072B2", "#E69F00", "#D55E00"), strict=True))
PARTS = {"products": "#0072B2", "memory": "#E69F00", "links": "#D55E00"}


def draw(records: Sequence[Record], device: Device, path: Path) -> None:
    """For each size: what a step's time goes to, the share of the peak, and the memory of a device."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    sizes: dict[str, list[Record]] = {}
    for record in records:
        sizes.setdefault(record["case"]["size"]["name"], []).append(record)
    most = max(map(len, sizes.values()))
    figure, grid = plt.subplots(
        len(sizes), 3, figsize=(14, (1.2 + 0.3 * most) * len(sizes) + 0.8), squeeze=False, layout="constrained"
    )
    for row, (size, found) in zip(grid, sizes.items(), strict=True):
        labels = [f"{r['case']['preset']}, {r['case']['devices']}" for r in found]
        _times(row[0], found, device, f"{size}: ms a step, if nothing overlaps")
        _peak(row[1], found, device)
        _memory(row[2], found, device)
        for at, axes in enumerate(row):
            axes.set_yticks(range(len(found)), labels if not at else [])
            axes.set_ylim(len(found) - 0.5, -0.5)
    for axes in grid[-1]:
        axes.legend(frameon=False, fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    figure.suptitle(stated(device), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _times(axes: Any, records: Sequence[Record], device: Device, title: str) -> None:
    for at, record in enumerate(records):
        left = 0.0
        for (name, colour), seconds in zip(PARTS.items(), predict(work_of(record), device), strict=True):
            axes.barh(at, 1e3 * seconds, left=left, height=0.66, color=colour, label=None if at else name)
            left += 1e3 * seconds
    axes.set_title(title)
    axes.margins(x=0.08)


def _peak(axes: Any, records: Sequence[Record], device: Device) -> None:
    """From nothing overlapping to all of it."""
    for at, record in enumerate(records):
        times = predict(work_of(record), device)
        low, high = (100 * utilized(record, device, seconds) for seconds in (times.most, times.least))
        axes.plot([low, high], [at, at], color=COLOURS[record["case"]["preset"]], linewidth=6, solid_capstyle="butt")
        axes.text(high + 1, at, f"{low:.0f} – {high:.0f}", va="center", fontsize=7)
    axes.axvline(100 * device.utilization, color="black", linewidth=0.8, linestyle=":", label="what products reach")
    axes.set(xlim=(0, 115 * device.utilization), title="% of the peak, 6 operations a parameter and token")


def _memory(axes: Any, records: Sequence[Record], device: Device) -> None:
    parts = {"parameters": "#0072B2", "gradients": "#56B4E9", "optimizer": "#999999", "activations": "#E69F00"}
    for at, record in enumerate(records):
        work, left = work_of(record), 0.0
        held = (work.gradients, work.gradients, work.state - work.gradients, work.activations)
        for (name, colour), size in zip(parts.items(), held, strict=True):
            axes.barh(at, size / 1e9, left=left, height=0.66, color=colour, label=None if at else name)
            left += size / 1e9
        axes.text(left, at, "" if work.held <= device.capacity else " does not fit", va="center", fontsize=7)
    axes.set_title(f"GB on a device of {device.capacity / 1e9:g}")
    if max(work_of(record).held for record in records) > 0.6 * device.capacity:
        axes.axvline(device.capacity / 1e9, color="black", linewidth=0.8, linestyle=":")
    axes.margins(x=0.12)
