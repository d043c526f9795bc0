"""The runner of the course: budgets, seeds, targets, what is left out, what fails, and going on where it stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from scripts import ROOT

SCRIPT = """
import argparse, json, pathlib, time
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--seed", type=int)
parser.add_argument("--out", type=pathlib.Path)
args = parser.parse_args()
with (args.out / "runs.txt").open("a") as stream:
    stream.write("run\\n")
{body}
row = dict(system="net", data="numbers", parameters=1234, figure="accuracy", unit="%", seconds=2)
(args.out / "result.json").write_text(json.dumps([row | {{"value": 90.0 + args.seed + args.epochs}}]))
"""
GOAL = '(Goal("numbers", "accuracy", "≥", {}),)'


@pytest.fixture
def house(tmp_path):
    """A folder with the runner and scripts of its own: ``make(body, full, goals)``."""
    for name in ("run_all.py", "results.py"):
        shutil.copy(ROOT / "examples" / name, tmp_path)
    text = (ROOT / "examples" / "systems.py").read_text(encoding="utf-8").partition("RUNS: ")[0]

    def make(**scripts):
        rows = []
        for name, (body, goals) in scripts.items():
            (tmp_path / f"{name}.py").write_text(SCRIPT.format(body=body), encoding="utf-8")
            rows.append(f'Run("{name}", "", "--epochs 1", 0.1, {goals})')
        (tmp_path / "systems.py").write_text(f"{text}RUNS = [{', '.join(rows)}]\n", encoding="utf-8")

    make(one=("", GOAL.format(95.5)), two=("", GOAL.format(97)))
    return tmp_path, make


# What is started in the background of a shell ignores SIGINT and hands that on; forking to mend it, JAX warns of.
HEARS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def start(folder, *words):
    command = [sys.executable, "-c", HEARS, "run_all.py", "--out", "runs", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, text=True, start_new_session=True, **pipes)


def run(folder, *words, code=0):
    process = start(folder, *words)
    text, _ = process.communicate()
    assert process.returncode == code, text
    return text


def test_every_script_of_the_course_has_its_run():
    text = (ROOT / "examples" / "systems.py").read_text(encoding="utf-8")
    for path in (ROOT / "examples").glob("[0-9][0-9]_*.py"):
        assert f'"{path.stem}",' in text, path.stem


def test_a_tiny_budget_runs_each_once_and_goes_on_where_it_stopped(house):
    folder, _ = house
    text = run(folder, "--quick")
    assert "[1/2] python examples/one.py --epochs 1" in text
    assert "| net | 1,234 | numbers | accuracy | 91.00 % | 2 s | `python examples/two.py --epochs 1` |" in text
    assert not (folder / "RESULTS.md").exists()
    place = folder / "runs" / "quick" / "one_epochs_1" / "seed_0"
    (folder / "runs" / "quick" / "two_epochs_1" / "seed_0" / "outcome.json").unlink()
    assert run(folder, "--quick").count("91.00 %") == 4
    assert (place / "runs.txt").read_text().count("run") == 1
    assert (place.parent.parent / "two_epochs_1" / "seed_0" / "runs.txt").read_text().count("run") == 2
    with (folder / "one.py").open("a") as stream:
        stream.write("# the script is another now\n")
    assert "2 runs, 1 of them done before" in run(folder, "--quick")
    assert (place / "runs.txt").read_text().count("run") == 2
    assert "1 run; about" in run(folder, "--quick", "--again", "--only", "one")
    assert (place / "runs.txt").read_text().count("run") == 3


def test_the_real_budget_sets_the_mean_of_seeds_beside_the_target(house):
    folder, _ = house
    text = run(folder, "--full")
    table = (folder / "RESULTS.md").read_text(encoding="utf-8")
    assert table.startswith("# Results of the course")
    assert "96.00 (95.00 to 97.00) % | ≥ 95.5 | 2 s | `python examples/one.py` |" in table
    assert "| ≥ 97, **missed** | 2 s | `python examples/two.py` |" in table
    assert next(line for line in table.splitlines() if "two.py" in line) in text
    assert "one.py" not in run(folder, "--full", "--only", "two", "--seeds", "1")
    assert "Not run yet" not in table
    assert json.loads((folder / "records" / "one.2.json").read_text(encoding="utf-8"))["rows"][0]["value"] == 97


def test_records_outlive_the_folder_and_the_table_names_what_they_lack(house):
    folder, _ = house
    assert "RESULTS.md has all runs, but 5 not run yet" in run(folder, "--full", "--only", "one", "--seeds", "1")
    shutil.rmtree(folder / "runs")
    assert "5 runs; about" in run(folder, "--full", "--missing")
    assert not (folder / "runs" / "full" / "one" / "seed_0").exists()
    table = (folder / "RESULTS.md").read_text(encoding="utf-8")
    assert "96.00 (95.00 to 97.00) % | ≥ 95.5 | 2 s | `python examples/one.py` |" in table
    assert "6 runs, 5 of them done before" in run(folder, "--full")
    (folder / "records" / "two.1.json").unlink()
    with (folder / "one.py").open("a") as stream:
        stream.write("# the script is another now\n")
    words = "RESULTS.md has all runs, but 1 not run yet, 3 by an earlier text of the script"
    assert words in run(folder, "--table")
    table = (folder / "RESULTS.md").read_text(encoding="utf-8")
    assert "`python examples/one.py` † |" in table
    assert "† by an earlier text of the script." in table
    assert table.endswith("Not run yet:\n\n- `python examples/two.py`, seed 1\n")
    assert "| `python examples/two.py` |" in table
    assert "96.00 (95.00 to 97.00) %, 2 of 3 seeds" in table
    told = run(folder, "--full", "--only", "one", "--seeds", "1")
    assert "RESULTS.md has all runs, but 1 not run yet, 2 by an earlier text of the script" in told
    table = (folder / "RESULTS.md").read_text(encoding="utf-8")
    assert table.count("python examples/one.py") == 1, "one row, though its seeds are of unlike age"
    text = run(folder, "--full", "--missing")
    assert "3 runs, 1 of them done before" in text
    assert text.endswith("RESULTS.md has all runs\n")
    assert (folder / "records" / "two.1.json").exists()


def test_the_table_in_the_repository_is_that_of_its_records(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("RESULTS.md"))
    run(tmp_path / "examples", "--table")
    ours = (ROOT / "examples" / "RESULTS.md").read_text(encoding="utf-8")
    assert (tmp_path / "examples" / "RESULTS.md").read_text(encoding="utf-8") == ours


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_each_result_in_the_readme_is_one_of_the_table(name):
    def rows(path, heading):
        text = (ROOT / path).read_text(encoding="utf-8")
        table = text[text.index(heading) :].partition("\n\n")[0]
        return [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()[2:]]

    measured = rows("examples/RESULTS.md", "| system |")
    told = rows(name, {"README.md": "| system |", "README.zh.md": "| 系统 |"}[name])
    assert len(told) > 8
    for row in told:
        assert row in measured, f"{name} says {row}; python examples/run_all.py --table says otherwise"


def test_scripts_run_side_by_side_and_their_table_is_in_order(house):
    folder, make = house
    waits = """
begun = time.monotonic()
while not pathlib.Path("{}").exists():
    assert time.monotonic() - begun < 60, "the other does not run"
    time.sleep(0.02)
"""
    begun = 'pathlib.Path("begun").touch()'
    two = "runs/quick/two_epochs_1/seed_0/outcome.json"
    make(one=(begun + waits.format(two), "()"), two=(waits.format("begun"), "()"))
    text = run(folder, "--quick", "--jobs", "2")
    first, second = (text.index(f"/2] python examples/{name}.py --epochs 1\n    ") for name in ("two", "one"))
    assert first < second
    assert text.index("| `python examples/one.py") < text.index("| `python examples/two.py")


def test_what_has_no_data_is_left_out_and_what_fails_is_named(house):
    folder, make = house
    make(
        lost=('raise FileNotFoundError("no numbers; did you mean JAXDL_DATA_DIR=…?")', "()"),
        broken=('raise ValueError("something is wrong here")', "()"),
        silent=("raise SystemExit(0)", "()"),
        other=("", '(Goal("letters", "accuracy", "≥", 1),)'),
        sound=("", GOAL.format(1)),
    )
    text = run(folder, "--full", "--seeds", "1", code=1)
    assert "left out, its data is not at hand" in text
    assert "ValueError: something is wrong here" in text
    assert "is what is meant by Goal(data='letters'" in text
    assert "ended well, but without its result" in text
    assert "failed: python examples/broken.py; python examples/silent.py; python examples/other.py" in text
    assert "95.00 %, 1 of 3 seeds | ≥ 1 |" in text


def test_unknown_scripts_and_seeds_are_refused(house):
    folder, _ = house
    assert "--only 7: no script begins so; there are one, two" in run(folder, "--quick", "--only", "7", code=2)
    assert "--seeds goes with --full" in run(folder, "--quick", "--seeds", "3", code=2)
    assert "--missing goes with --full" in run(folder, "--quick", "--missing", code=2)
    (folder / "file").touch()
    assert "--out file: must be a folder" in run(folder, "--quick", "--out", "file", code=2)
    assert "--jobs must be 1 or more, got 0" in run(folder, "--quick", "--jobs", "0", code=2)
    assert "--seeds must be 1 or more, got 0" in run(folder, "--full", "--seeds", "0", code=2)


def test_an_interrupt_says_how_to_go_on(house):
    folder, make = house
    make(slow=('pathlib.Path("begun").touch(); time.sleep(60)', "()"))
    process = start(folder, "--quick")
    while not (folder / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    text, _ = process.communicate()
    assert process.returncode == 130
    assert "stopped; the same command goes on with python examples/slow.py --epochs 1" in text
    assert not list((folder / "runs").rglob("outcome.json"))
    make(slow=("", "()"))
    assert "91.00 %" in run(folder, "--quick")
