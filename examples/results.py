"""What the runs of the course came to: a record of each in ``examples/records``, and the table of them, RESULTS.md.

A record is what one script printed with one seed, with the machine and the versions that it ran on. Records are kept in
the repository, so that hours of training need not be of one day: what lacks is said in the table.
"""

import fnmatch
import hashlib
import json
import os
import platform
import shlex
import statistics
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from systems import RUNS, Goal, Run

HERE = Path(__file__).parent
RECORDS = HERE / "records"
TABLE = HERE / "RESULTS.md"


def place(run: Run, words: str) -> str:
    """The name of a run's folder and of its records."""
    return "_".join([run.script, *[word.lstrip("-") for word in shlex.split(words)]]).replace("/", "")


def machine(beside: int) -> str:
    """What a run is made with and on, where so many run side by side."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version(name)}" for name in ("jaxdl", "jax", "optax", "flax"))
    shared = f", {beside} side by side" if beside > 1 else ""
    return f"{versions}, on {cores} core{'' if cores == 1 else 's'} of {platform.machine()}{shared}"


def digest(run: Run) -> str:
    """Of the script's text: what another script came to is not this one's."""
    return hashlib.sha256((HERE / f"{run.script}.py").read_bytes()).hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def record(run: Run, seed: int, outcome: dict[str, Any]) -> None:
    """Keep what a run of the real budget came to, and write the table anew."""
    write_whole(path_of(run, seed), json.dumps(outcome, indent=1, ensure_ascii=False) + "\n")
    write_table()


def path_of(run: Run, seed: int) -> Path:
    return RECORDS / f"{place(run, run.full)}.{seed}.json"


def recorded(run: Run, seed: int) -> Any:
    """The record of that run with that seed, or None."""
    path = path_of(run, seed)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write_table() -> str:
    """Write RESULTS.md from the records; returns what it lacks, in words."""
    kept = [(run, seed, recorded(run, seed)) for run in RUNS for seed in range(run.seeds)]
    found = [(run, outcome) for run, _, outcome in kept if outcome]
    text = f"""# Results of the course

What `python examples/run_all.py --full` came to: the mean over three seeds, with the least and the greatest, or one
seed of what takes long. The time is that of the clock over the training, compiling included, whatever else the machine
did; of three seeds the median. The parameters of a GAN are its generator's. What is chosen is chosen on a validation
part; GANs have none: how long they train was settled by what the judge says of their samples.

{table(found, with_goals=True)}
"""
    if machines := sorted({outcome["machine"] for _, outcome in found}):
        text += f"\nWith {'; '.join(machines)}.\n"
    old = sum(outdated(*one) for one in found)
    if old:
        text += "\n† by an earlier text of the script.\n"
    lacking: dict[str, list[str]] = {}
    for run, seed, outcome in kept:
        if not outcome:
            lacking.setdefault(command(run, run.full), []).append(str(seed))
    if lacking:
        text += "\nNot run yet:\n\n"
        text += "".join(f"- `{called}`, seed {', '.join(seeds)}\n" for called, seeds in lacking.items())
    write_whole(TABLE, text)
    said = {"not run yet": sum(map(len, lacking.values())), "by an earlier text of the script": old}
    return ", ".join(f"{count} {what}" for what, count in said.items() if count)


def command(run: Run, words: str) -> str:
    return f"python examples/{run.script}.py {words}".rstrip()


def outdated(run: Run, outcome: dict[str, Any]) -> bool:
    return outcome["script"] != digest(run)


def table(outcomes: Iterable[tuple[Run, dict[str, Any]]], with_goals: bool) -> str:
    """A Markdown table: a line for each figure of each system, over its seeds."""
    head = ["system", "parameters", "data", "figure", "result", *(["target"] if with_goals else []), "time", "command"]
    lines = [head, ["---"] * len(head), *_lines(outcomes, with_goals)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _lines(outcomes: Iterable[tuple[Run, dict[str, Any]]], with_goals: bool) -> Iterator[list[str]]:
    groups: dict[tuple[str, ...], list[Any]] = {}
    for run, outcome in outcomes:
        for row in outcome["rows"]:
            key = (run.script, outcome["command"], row["system"], row["data"], row["figure"])
            groups.setdefault(key, []).append((run, row, outdated(run, outcome)))
    for (_, called, system, data, figure), found in sorted(groups.items(), key=lambda item: item[0][0]):
        run, rows = found[0][0], [row for _, row, _ in found]
        sizes, values = {row["parameters"] for row in rows}, [row["value"] for row in rows]
        result = shown(values, rows[0]["unit"])
        if with_goals and len(values) < run.seeds:
            result += f", {len(values)} of {run.seeds} seeds"
        mark = " †" if any(old for _, _, old in found) else ""
        target = [judged(run.goals, rows[0], statistics.mean(values))] if with_goals else []
        seconds = statistics.median(row["seconds"] for row in rows)
        time = "" if not seconds else f"{seconds:.0f} s" if seconds < 180 else f"{seconds / 60:.0f} min"
        count = " or ".join(f"{size:,}" for size in sorted(sizes - {None}))  # seeds may choose other networks
        yield [system, count, data, figure, result, *target, time, f"`{called}`{mark}"]


def shown(values: list[float], unit: str) -> str:
    """The figure, or the mean of several seeds with the least and the greatest."""
    form = ".2f" if unit == "%" else ".4g"
    spread = f" ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread} {unit}".rstrip()


def meant(goal: Goal, row: dict[str, Any]) -> bool:
    same = goal.figure == row["figure"] and fnmatch.fnmatch(row["data"], goal.data)
    return same and fnmatch.fnmatch(row["system"], goal.system)


def judged(goals: tuple[Goal, ...], row: dict[str, Any], value: float) -> str:
    """The target of that row's figure, and whether it is reached."""
    for goal in goals:
        if meant(goal, row):
            reached = value >= goal.value if goal.relation == "≥" else value <= goal.value
            return f"{goal.relation} {goal.value:g}{'' if reached else ', **missed**'}"
    return ""
