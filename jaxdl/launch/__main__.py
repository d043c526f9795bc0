"""Run a script as one of several processes, or start them all on this machine.

The script is the same as for one process: with mesh=dl.mesh(data=-1), which is of the devices of all processes,
dl.fit and dl.run share out the work. Each process runs the whole script, so let only the first one write and print:
if jax.process_index() == 0.

python -m jaxdl.launch --processes 4 train.py --epochs 3    # four processes on this machine
srun python -m jaxdl.launch train.py --epochs 3             # on a cluster: SLURM, Open MPI, Kubernetes, Cloud TPU
python -m jaxdl.launch --processes 2 --process 0 --coordinator 10.0.0.1:1234 train.py    # on the first machine
python -m jaxdl.launch --processes 2 --process 1 --coordinator 10.0.0.1:1234 train.py    # on the second one
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxdl.launch.launcher import launch
from jaxdl.launch.worker import Place, work


def parser() -> argparse.ArgumentParser:
    """The words of the command."""
    made = argparse.ArgumentParser(
        "python -m jaxdl.launch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--processes", type=int, help="how many there are; without it the cluster says so")
    made.add_argument("--process", type=int, help="which of them this one is, from 0; without it all are started here")
    made.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 is to be found by the others")
    devices = "of each process: so many CPU devices, or GPUs of its own in their order (default: 1)"
    made.add_argument("--devices", type=int, help=devices)
    timeout = "how long processes wait for one that does not come or does not answer (default: 100)"
    made.add_argument("--timeout", type=int, default=100, metavar="SECONDS", help=timeout)
    made.add_argument("--all-output", action="store_true", help="show what the other processes print as well")
    made.add_argument("script", help="a Python file")
    made.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…", help="what the script is given")
    return made


def check(made: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a word for what cannot be."""
    for name in ("processes", "devices", "timeout"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            made.error(f"--{name} must be 1 or more; got {getattr(args, name)}")
    if (args.process is None) != (args.coordinator is None):
        made.error("--process and --coordinator go together: which one this is, and where the first one is found")
    if args.process is not None and args.processes is None:
        made.error("--process needs --processes: how many there are")
    if args.process is not None and not 0 <= args.process < args.processes:
        made.error(f"--process must be from 0 to {args.processes - 1}; got {args.process}")
    if not Path(args.script).is_file():
        made.error(f"the script must be a file; got {args.script}")


def main(words: Sequence[str] | None = None) -> int:
    """What the command does; its exit status."""
    made = parser()
    args = made.parse_args(words)
    check(made, args)
    if args.processes is not None and args.process is None:
        command = [args.script, *args.arguments]
        return launch(command, args.processes, args.devices or 1, args.timeout, all_output=args.all_output)
    place = Place(args.processes, args.process, args.coordinator, args.devices, args.timeout)
    return work(place, args.script, args.arguments)


if __name__ == "__main__":
    sys.exit(main())
