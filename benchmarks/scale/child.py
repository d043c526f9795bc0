"""``python -m benchmarks.scale.child``: what needs devices of its own number, by a line of JSON in and one out.

The process that starts it says by ``XLA_FLAGS`` how many devices it has.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.scale.cases import PASS, Case, case_of

ROOT = Path(__file__).parents[2]


def asked(task: str, devices: int, what: dict[str, Any], flags: tuple[str, ...] = (), quick: bool = True) -> Any:
    """What a task finds in a process of its own.

    **Args** ``task``: ``"compile"`` or ``"measure"``; ``flags``: of XLA; ``quick``: have it compile with the least
    optimization of the machine code, which leaves the collectives alone.

    **Raises** ``RuntimeError`` with the last words of a process that failed.
    """
    forced = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {
        "XLA_FLAGS": " ".join((forced, *flags)),
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": str(int(quick)),
        "JAX_ENABLE_COMPILATION_CACHE": "0",  # A program from a cache is not partitioned again.
    }
    words = [sys.executable, "-m", "benchmarks.scale.child", task, json.dumps(what)]
    done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise RuntimeError(f"scale: {task} over {devices} devices must end well, got {done.returncode}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def compiled(case: Case) -> dict[str, Any]:
    """The record of a case, compiled in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        flags = (f"--xla_dump_to={folder}", f"--xla_dump_hlo_pass_re=^{PASS}$", "--xla_dump_hlo_module_re=.*_loop.*")
        found: dict[str, Any] = asked("compile", case.devices, {"case": case.as_json(), "folder": folder}, flags)
    return found


def main() -> None:
    """Do a task and print what it finds."""
    task, what = sys.argv[1], json.loads(sys.argv[2])
    if task == "compile":
        from benchmarks.scale.program import described

        found: Any = described(case_of(what["case"]), Path(what["folder"]))
    else:
        from benchmarks.scale.running import measured

        found = measured(**what)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
