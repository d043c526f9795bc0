"""Run every script of the course, and set each figure beside its target.

python examples/run_all.py --quick --jobs 2   # tiny budgets, minutes: does everything run?
python examples/run_all.py --full             # the real budgets, hours on two cores; writes examples/RESULTS.md
python examples/run_all.py --full --missing   # of these only what examples/records lacks, or an older one
python examples/run_all.py --full --only 05 13
python examples/run_all.py --table            # runs nothing: RESULTS.md from the records

It goes on where it was stopped: a run whose result lies in the folder is not made again, unless its command or its
script has changed, or --again is said. Data sets are found through JAXDL_DATA_DIR or downloaded; a run whose data is
nowhere is left out with a word.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import results
from systems import RUNS, Run

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
        return results.command(self.run, self.words)


class Started(NamedTuple):
    """A script at work: its process, the digest of its text and what it runs on as it began, and when that was."""

    process: subprocess.Popen[bytes]
    digest: str
    machine: str
    time: float


def main() -> None:
    args = arguments()
    outcomes = {} if args.table else outcomes_of(args)
    if outcomes:
        found = [(job.run, outcome) for job, outcome in outcomes.items() if "rows" in outcome]
        print(f"\n{results.table(found, with_goals=args.full)}")
    if not args.quick:
        lacking = results.write_table()
        print(f"RESULTS.md has all runs, but {lacking}" if lacking else "RESULTS.md has all runs")
    if failed := [job.command for job, outcome in outcomes.items() if "error" in outcome]:
        raise SystemExit("failed: " + "; ".join(failed))


def outcomes_of(args: argparse.Namespace) -> dict[Job, Any]:
    """What each run came to, made now or before."""
    jobs = list(planned(args))
    outcomes = {} if args.again else {job: outcome for job in jobs if (outcome := done_before(job))}
    waiting = [job for job in jobs if job not in outcomes]
    done = f", {len(outcomes)} of them done before" if outcomes else ""
    runs = f"{len(jobs)} run{'' if len(jobs) == 1 else 's'}"
    took = f"about {estimate(args, waiting)}, one alone on two cores"
    print(f"{runs}{done}; {took}; results in {args.out}/", flush=True)
    names = {job: f"[{number}/{len(jobs)}] {name_of(job, args)}" for number, job in enumerate(jobs, 1)}

    def tell(job: Job, outcome: dict[str, Any]) -> None:
        outcomes[job] = outcome
        print(f"{names[job]}\n    {said(outcome)}", flush=True)
        if args.full and "rows" in outcome:
            results.record(job.run, job.seed, outcome)

    for job, outcome in outcomes.items():
        tell(job, outcome)
    running: dict[Job, Started] = {}
    try:
        while waiting or running:
            while waiting and len(running) < args.jobs:
                job = waiting.pop(0)
                print(f"{names[job]} …", flush=True)
                running[job] = begin(job, args.jobs)
            for job in [job for job, started in running.items() if started.process.poll() is not None]:
                tell(job, end(job, running.pop(job)))
            time.sleep(0.05)
    except KeyboardInterrupt:
        left = [name_of(job, args) for job in jobs if job not in outcomes]
        same = "the same command, without --again," if args.again else "the same command"
        print(f"\nstopped; {same} goes on with {left[0]}" if left else "\nstopped; all were done")
        raise SystemExit(130) from None
    finally:
        for started in running.values():  # none but after an interrupt or an error
            started.process.kill()
            started.process.wait()
    return {job: outcomes[job] for job in jobs}


def name_of(job: Job, args: argparse.Namespace) -> str:
    return f"{job.command} --seed {job.seed}" if args.full else job.command


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--quick", action="store_true", help="tiny budgets")
    how.add_argument("--full", action="store_true", help="the real budgets: hours")
    how.add_argument("--table", action="store_true", help="only write RESULTS.md, from examples/records")
    parser.add_argument("--only", nargs="+", metavar="NN", help="scripts whose names begin so, such as 05 13")
    parser.add_argument("--seeds", type=int, help="at most so many seeds of a run, with --full")
    parser.add_argument("--missing", action="store_true", help="only what has no record or an older one, with --full")
    parser.add_argument("--again", action="store_true", help="make all of them anew, also what was done before")
    parser.add_argument("--jobs", type=int, default=1, help="so many side by side; each then takes longer; default: 1")
    parser.add_argument("--out", type=Path, default=Path("runs/course"), help="folder, default: runs/course")
    args = parser.parse_args()
    known = {run.script for run in RUNS}
    for start in args.only or ():
        if not any(script.startswith(start) for script in known):
            parser.error(f"--only {start}: no script begins so; there are {', '.join(sorted(known))}")
    for name in ("seeds", "missing"):
        if getattr(args, name) and not args.full:
            parser.error(f"--{name} goes with --full")
    if args.table and (args.only or args.again or args.jobs != 1):
        parser.error("--table runs nothing: it takes no --only, --again and --jobs")
    for name in ("seeds", "jobs"):
        if (count := getattr(args, name)) is not None and count < 1:
            parser.error(f"--{name} must be 1 or more, got {count}")
    if args.out.exists() and not args.out.is_dir():
        parser.error(f"--out {args.out}: must be a folder")
    return args


def planned(args: argparse.Namespace) -> Iterator[Job]:
    """All runs of seed 0, then those of the next seed, so that a table that is not whole has all systems."""
    chosen = [run for run in RUNS if not args.only or any(run.script.startswith(start) for start in args.only)]
    for seed in range(max(run.seeds for run in RUNS) if args.full else 1):
        for run in chosen:
            words = run.full if args.full else run.quick
            if words is None or seed >= min(run.seeds, args.seeds or run.seeds):
                continue
            if args.missing and (kept := results.recorded(run, seed)) and not results.outdated(run, kept):
                continue
            kind = "full" if args.full else "quick"
            yield Job(run, words, seed, args.out / kind / results.place(run, words) / f"seed_{seed}")


def estimate(args: argparse.Namespace, jobs: list[Job]) -> str:
    minutes = sum(job.run.minutes for job in jobs) if args.full else 0.4 * len(jobs)
    return f"{minutes / 60:.1f} hours" if minutes > 90 else f"{minutes:.0f} minutes"


def done_before(job: Job) -> Any:
    """The outcome that lies in the folder, if it is of the same command and the same script."""
    path = job.folder / "outcome.json"
    if not path.is_file():
        return None
    outcome = json.loads(path.read_text(encoding="utf-8"))
    same = outcome["command"] == job.command and not results.outdated(job.run, outcome)
    return outcome if same else None


def begin(job: Job, beside: int) -> Started:
    """Start the script in a process of its own."""
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / "result.json").unlink(missing_ok=True)
    words = [sys.executable, str(HERE / f"{job.run.script}.py"), *shlex.split(job.words)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    digest = results.digest(job.run)
    with (job.folder / "log.txt").open("w") as stream:
        process = subprocess.Popen(
            [*words, "--seed", str(job.seed), "--out", str(job.folder)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    return Started(process, digest, results.machine(beside), time.perf_counter())


def end(job: Job, started: Started) -> dict[str, Any]:
    """What a script that has ended came to; it is kept once it is whole."""
    seconds, log = time.perf_counter() - started.time, job.folder / "log.txt"
    code = started.process.returncode
    if code:
        text = log.read_text(errors="replace")
        if "FileNotFoundError" in text and "JAXDL_DATA_DIR" in text:
            return {"left_out": LEFT_OUT}
        return {"error": f"ended with {code}; the last of {log}:\n" + "\n".join(text.strip().splitlines()[-15:])}
    try:
        rows = json.loads((job.folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {"error": f"ended well, but without its result: {error}"}
    if lost := [
        goal
        for goal in job.run.goals
        if job.words == job.run.full and not any(results.meant(goal, row) for row in rows)
    ]:
        return {"error": f"no row of {job.folder / 'result.json'} is what is meant by {lost[0]}"}
    outcome = {"command": job.command, "script": started.digest, "machine": started.machine}
    outcome |= {"seconds": seconds, "rows": rows}
    results.write_whole(job.folder / "outcome.json", json.dumps(outcome, indent=1, ensure_ascii=False))
    return outcome


def said(outcome: dict[str, Any]) -> str:
    if "rows" not in outcome:
        return outcome.get("left_out") or outcome["error"]
    figures = [
        f"{row['system']}: {row['figure']} {results.shown([row['value']], row['unit'])}" for row in outcome["rows"]
    ]
    return f"{outcome['seconds']:.0f} s; " + ", ".join(figures)


if __name__ == "__main__":
    main()
