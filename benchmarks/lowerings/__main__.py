"""``python -m benchmarks.lowerings``."""

import argparse
from collections.abc import Sequence

import jax

from benchmarks.lowerings import batch_norm, convolution, pooling, recurrent, transformer
from benchmarks.lowerings.rounds import Measuring, head
from benchmarks.report import table

FAMILIES = (convolution, batch_norm, pooling, recurrent, transformer)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    tables = {name: found for family in FAMILIES for name, found in family.TABLES.items()}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lowerings", description="Fast forms beside plain ones.")
    parser.add_argument("--only", choices=tables, help="one of the tables")
    parser.add_argument("--seconds", type=float, default=0.4, help="about how long a loop is measured")
    parser.add_argument("--match", default="", help="only rows whose name holds this")
    arguments = parser.parse_args(argv)
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}; milliseconds a round\n")
    for name, (rounds, rows) in tables.items():
        if arguments.only in (None, name):
            found = [row for row in rows(Measuring(arguments.seconds, arguments.match)) if row]
            print(table(head(name, rounds), found), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
