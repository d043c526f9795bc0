"""``python -m benchmarks.engine``."""

import argparse
import contextlib
import io
import sys
from collections.abc import Sequence

import jax

import jaxdl as dl
from benchmarks.engine import creating, guarding, kills, memory, starting, training
from benchmarks.report import table

TABLES = training.TABLES | guarding.TABLES | starting.TABLES | creating.TABLES | memory.TABLES | kills.TABLES


def told(row: list[str]) -> list[str]:
    """The row, which is also told at once, for whoever waits."""
    print(", ".join(row), file=sys.stderr, flush=True)
    return row


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.engine", description="What the engine costs.")
    found.add_argument("--only", choices=TABLES, help="one of the tables")
    found.add_argument("--rounds", type=int, default=3, help="how often the forms take turns")
    found.add_argument("--cache", help="a folder for compiled programs: a second measurement begins sooner")
    found.add_argument("--gigabytes", type=float, default=memory.gigabytes, help="of the memory map of --only memory")
    found.add_argument("--kills", type=int, default=kills.kills, help="of --only kills, which runs only when asked for")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    arguments = parser().parse_args(argv)
    memory.gigabytes, kills.kills = arguments.gigabytes, arguments.kills
    if arguments.cache:
        dl.enable_compile_cache(arguments.cache)
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}; medians of {arguments.rounds} rounds\n")
    for name, (head, rows) in TABLES.items():
        if name == arguments.only or (arguments.only is None and name not in kills.TABLES):
            with contextlib.redirect_stdout(io.StringIO()):  # the runs' own progress, which is on
                found = [told(row) for row in rows(arguments.rounds)]
            print(table(head, found), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
