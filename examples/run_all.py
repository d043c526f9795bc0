"""Run every script of the course, and set each figure beside its target.

python examples/run_all.py --quick            # tiny budgets, minutes: does everything run?
python examples/run_all.py --full             # the real budgets, hours on two cores; writes examples/RESULTS.md
python examples/run_all.py --full --only 05 13

It goes on where it was stopped: a run whose result lies in the folder is not made again, unless its command or its
script has changed. Data sets are found through JAXDL_DATA_DIR or downloaded; a run whose data is nowhere is left out
with a word.
"""

import argparse
import fnmatch
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from systems import RUNS, Goal, Run

HERE = Path(__file__).parent
LEFT_OUT = "left out, its data is not at hand"


class Job(NamedTuple):
    """One process: a run with one seed, and the folder that it writes into."""

    run: Run
    words: str
    seed: int
    folder: Path

    @property
    def command(self) -> str:
        return f"python examples/{self.run.script}.py {self.words}".rstrip()


def main() -> None:
    args = arguments()
    jobs = list(planned(args))
    outcomes: dict[Job, Any] = {}
    left = [job for job in jobs if done_before(job) is None]
    done = f", {len(jobs) - len(left)} of them done before" if len(left) < len(jobs) else ""
    print(
        f"{len(jobs)} runs{done}; about {estimate(args, left)}, one alone on two cores; results in {args.out}/",
        flush=True,
    )
    for number, job in enumerate(jobs, 1):
        name = f"{job.command} --seed {job.seed}" if args.full else job.command
        print(f"[{number}/{len(jobs)}] {name}", flush=True)
        try:
            outcomes[job] = outcome = done_before(job) or made(job)
        except KeyboardInterrupt:
            print(f"\nstopped; the same command goes on with {name}")
            raise SystemExit(130) from None
        print(f"    {said(outcome)}", flush=True)
    text = table(outcomes, args.full)
    print(f"\n{text}")
    failed = [job.command for job, outcome in outcomes.items() if "error" in outcome]
    if args.full and not args.only and not args.seeds and all("rows" in outcome for outcome in outcomes.values()):
        (HERE / "RESULTS.md").write_text(head() + text + "\n", encoding="utf-8")
    elif args.full:
        print("RESULTS.md is as it was: it takes all runs, with all their seeds")
    if failed:
        raise SystemExit("failed: " + "; ".join(failed))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--quick", action="store_true", help="tiny budgets")
    how.add_argument("--full", action="store_true", help="the real budgets: hours")
    parser.add_argument("--only", nargs="+", metavar="NN", help="scripts whose names begin so, such as 05 13")
    parser.add_argument("--seeds", type=int, help="at most so many seeds of a run, with --full")
    parser.add_argument("--out", type=Path, default=Path("runs/course"), help="folder, default: runs/course")
    args = parser.parse_args()
    known = {run.script for run in RUNS}
    for start in args.only or ():
        if not any(script.startswith(start) for script in known):
            parser.error(f"--only {start}: no script begins so; there are {', '.join(sorted(known))}")
    if args.seeds is not None and args.quick:
        parser.error("--seeds goes with --full")
    if args.seeds is not None and args.seeds < 1:
        parser.error(f"--seeds must be 1 or more, got {args.seeds}")
    return args


def planned(args: argparse.Namespace) -> Iterator[Job]:
    """All runs of seed 0, then those of the next seed, so that a table that is not whole has all systems."""
    chosen = [run for run in RUNS if not args.only or any(run.script.startswith(start) for start in args.only)]
    for seed in range(max(run.seeds for run in RUNS) if args.full else 1):
        for run in chosen:
            words = run.full if args.full else run.quick
            if words is not None and seed < min(run.seeds, args.seeds or run.seeds):
                place = "_".join([run.script, *[word.lstrip("-") for word in shlex.split(words)]]).replace("/", "")
                yield Job(run, words, seed, args.out / ("full" if args.full else "quick") / place / f"seed_{seed}")


def estimate(args: argparse.Namespace, jobs: list[Job]) -> str:
    minutes = sum(job.run.minutes for job in jobs) if args.full else 0.4 * len(jobs)
    return f"{minutes / 60:.1f} hours" if minutes > 90 else f"{minutes:.0f} minutes"


def done_before(job: Job) -> Any:
    """The outcome that lies in the folder, if it is of the same command and the same script."""
    path = job.folder / "outcome.json"
    if not path.is_file():
        return None
    outcome = json.loads(path.read_text(encoding="utf-8"))
    return outcome if (outcome["command"], outcome.get("script")) == (job.command, digest(job)) else None


def digest(job: Job) -> str:
    return hashlib.sha256((HERE / f"{job.run.script}.py").read_bytes()).hexdigest()


def made(job: Job) -> dict[str, Any]:
    """Run the script in a process of its own; what it comes to is kept once it is whole."""
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / "result.json").unlink(missing_ok=True)
    log = job.folder / "log.txt"
    words = [sys.executable, str(HERE / f"{job.run.script}.py"), *shlex.split(job.words)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    script, begin = digest(job), time.perf_counter()  # of the script as it begins
    with log.open("w") as stream:
        code = subprocess.run(
            [*words, "--seed", str(job.seed), "--out", str(job.folder)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        ).returncode
    seconds = time.perf_counter() - begin
    if code:
        text = log.read_text(errors="replace")
        if "FileNotFoundError" in text and "JAXDL_DATA_DIR" in text:
            return {"left_out": LEFT_OUT}
        return {"error": f"ended with {code}; the last of {log}:\n" + "\n".join(text.strip().splitlines()[-15:])}
    rows = json.loads((job.folder / "result.json").read_text(encoding="utf-8"))
    if lost := [
        goal for goal in job.run.goals if job.words == job.run.full and not any(meant(goal, row) for row in rows)
    ]:
        return {"error": f"no row of {job.folder / 'result.json'} is what is meant by {lost[0]}"}
    outcome = {"command": job.command, "script": script, "seconds": seconds, "rows": rows}
    part = job.folder / "outcome.part"
    part.write_text(json.dumps(outcome, indent=1, ensure_ascii=False), encoding="utf-8")
    part.rename(job.folder / "outcome.json")
    return outcome


def said(outcome: dict[str, Any]) -> str:
    if "rows" not in outcome:
        return outcome.get("left_out") or outcome["error"]
    figures = [f"{row['system']}: {row['figure']} {shown([row['value']], row['unit'])}" for row in outcome["rows"]]
    return f"{outcome['seconds']:.0f} s; " + ", ".join(figures)


def shown(values: list[float], unit: str) -> str:
    """The figure, or the mean of several seeds with the least and the greatest."""
    form = ".2f" if unit == "%" else ".4g"
    spread = f" ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread} {unit}".rstrip()


def table(outcomes: dict[Job, Any], with_goals: bool) -> str:
    """A Markdown table: a line for each figure of each system, over its seeds."""
    head = ["system", "parameters", "data", "figure", "result", *(["target"] if with_goals else []), "time", "command"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    groups: dict[tuple[str, ...], list[Any]] = {}
    for job, outcome in outcomes.items():
        for row in outcome.get("rows", ()):
            key = (job.run.script, job.command, row["system"], row["data"], row["figure"])
            groups.setdefault(key, []).append((job.run, row))
    for (_, command, system, data, figure), found in sorted(groups.items(), key=lambda item: item[0][0]):
        rows = [row for _, row in found]
        size = rows[0]["parameters"]
        cells = [system, "" if size is None else f"{size:,}", data, figure]
        values = [row["value"] for row in rows]
        cells.append(shown(values, rows[0]["unit"]))
        if with_goals:
            cells.append(judged(found[0][0].goals, rows[0], statistics.mean(values)))
        seconds = statistics.mean(row["seconds"] for row in rows)
        time_of_it = "" if not seconds else f"{seconds:.0f} s" if seconds < 180 else f"{seconds / 60:.0f} min"
        cells += [time_of_it, f"`{command}`"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


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


def head() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jaxdl", "jax", "optax", "flax"))
    return f"""# Results of the course

Made by `python examples/run_all.py --full` with {versions}, on {platform.machine()} with {os.cpu_count()} cores: the
mean over seeds, with the least and the greatest, where a run takes under five minutes, else one seed. The time is of
the training, compiling included. The parameters of a GAN are its generator's. What is chosen is chosen on a validation
part; test parts are read once.

"""


if __name__ == "__main__":
    main()
