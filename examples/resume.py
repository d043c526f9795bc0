"""A training process that is killed with -9 again and again, and comes to the same bits as one that never was.

python examples/resume.py                         # three kills at random moments
python examples/resume.py --kills 10 --seed 7     # more of them, at others
python examples/resume.py --out runs/mine         # where the checkpoints are kept
"""

import argparse
import multiprocessing
import random
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import jaxdl as dl
from jaxdl import layers as L

MODEL = dl.sequential(L.flatten(), L.dense(64), jax.nn.relu, L.dropout(0.2), L.dense(10))


def train(epochs: int, **arguments: Any) -> tuple[dl.TrainState, dict[str, list[Any]]]:
    """One run on 1,797 real digits. With ``checkpoint=folder, resume=True`` it goes on from what the folder holds."""
    digits, held_out = dl.data.digits()
    return dl.fit(
        MODEL,
        digits,
        loss=dl.losses.cross_entropy,
        optimizer=optax.adam(1e-3),
        epochs=epochs,
        batch_size=32,
        validation=held_out,
        metrics={"accuracy": dl.metrics.accuracy},
        progress=False,
        **arguments,
    )


def life(folder: Path, epochs: int) -> None:
    """What the process that is killed does. All that is said about its earlier lives is the folder."""
    train(epochs, checkpoint=dl.Checkpoint(folder, every_steps=10), resume=True)


def newest(folder: Path) -> int:
    """The number of the newest checkpoint that is whole; it grows with each step and each epoch."""
    numbers = [path.name.removeprefix("checkpoint_") for path in folder.glob("checkpoint_*")]
    return max((int(number) for number in numbers if number.isdigit()), default=0)


def killed_once(folder: Path, epochs: int) -> bool:
    """Start a process, let it save something, and kill it at a random moment; False if it was done before that."""
    before = newest(folder)
    process = multiprocessing.get_context("spawn").Process(target=life, args=(folder, epochs))
    process.start()
    while process.is_alive() and newest(folder) == before:
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.5))
    process.kill()
    process.join()
    if process.exitcode == 0:
        return False
    if process.exitcode != -9:
        raise SystemExit(f"the process ended by itself with code {process.exitcode}")
    print(f"killed; what is left: {', '.join(sorted(path.name for path in folder.iterdir()))}", flush=True)
    return True


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3, help="how often the process is killed")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/resume"), help="folder for the run; begun anew each time"
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    random.seed(args.seed)
    folder = args.out / "checkpoints"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    kills = 0
    while kills < args.kills and killed_once(folder, args.epochs):
        kills += 1

    print(f"killed {kills} times; going on to the end from checkpoint_{newest(folder)}", flush=True)
    state, history = train(args.epochs, checkpoint=folder, resume=True)
    print("and once more without a kill, from the beginning", flush=True)
    whole_state, whole_history = train(args.epochs)

    one, other = [*map(bits, jax.tree.leaves(state))], [*map(bits, jax.tree.leaves(whole_state))]
    same = sum(a == b for a, b in zip(one, other, strict=True))
    same_history = all(history[name] == column for name, column in whole_history.items() if name != "seconds")
    print(f"test accuracy {100 * history['validation_accuracy'][-1]:.2f} %")
    print(f"{same} of {len(one)} arrays (parameters, optimizer, step, key) equal bit for bit")
    print(f"history equal: {same_history}")
    if same < len(one) or not same_history:
        raise SystemExit("NOT the same")


def bits(leaf: jax.Array) -> bytes:
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes()


if __name__ == "__main__":
    main()
