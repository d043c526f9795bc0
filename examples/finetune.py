"""Warm start and fine-tuning: learn five digits, then five others from a few examples.

A network is trained on the digits 0 to 4. Its stem then reads the digits 5 to 9, of which there are only a few: first
under a new head, with the stem frozen; then thawed, at a lower rate. The same network from scratch is the comparison.

python examples/finetune.py                              # embedded digits, no network
python examples/finetune.py --few 3 --seed 2 --out runs/few
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import jaxdl as dl
from jaxdl import layers as L

STEM = dl.sequential(L.conv(32, 3), jax.nn.relu, L.conv(32, 3), jax.nn.relu, L.max_pool(2), L.flatten())
MODEL = dl.sequential(("stem", STEM), ("hidden", L.dense(64)), jax.nn.relu, ("head", L.dense(5)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=5, help="examples of each new digit")
    parser.add_argument("--epochs", type=int, default=30, help="of each phase on the new digits")
    parser.add_argument("--seed", type=int, default=0, help="of the initial values, the order and the choice")
    parser.add_argument("--out", type=Path, default=Path("runs/finetune"), help="folder for weights and results")
    args = parser.parse_args()
    if args.few < 1 or args.epochs < 1:
        parser.error("--few and --epochs must be 1 or more")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {args.out}: cannot write there ({error.strerror})")
    return args


def digits(data: dict[str, Any], first: int) -> dict[str, Any]:
    """The five digits from that one on, as the labels 0 to 4."""
    chosen = (data["y"] >= first) & (data["y"] < first + 5)
    return {"x": data["x"][chosen], "y": data["y"][chosen] - first}


def some(data: dict[str, Any], count: int, seed: int) -> dict[str, Any]:
    """So many examples of each label."""
    order = np.random.default_rng(seed).permutation(len(data["y"]))
    rows = np.concatenate([order[data["y"][order] == label][:count] for label in range(5)])
    return {name: leaf[rows] for name, leaf in data.items()}


def main() -> None:
    args = arguments()
    train, test = dl.data.digits(seed=args.seed)
    old, new, held_out = digits(train, 0), some(digits(train, 5), args.few, args.seed), digits(test, 5)
    count = len(new["y"])
    options = {"loss": dl.losses.cross_entropy, "seed": args.seed, "progress": False}

    def accuracy(trained: dl.TrainState) -> float:
        measured = dl.evaluate(
            MODEL, trained, held_out, loss=dl.losses.cross_entropy, metrics={"accuracy": dl.metrics.accuracy}
        )
        return 100 * float(measured["accuracy"])

    print(f"pretraining on {len(old['y'])} of the digits 0 to 4")
    adam = optax.adam(1e-3)
    pretrained, _ = dl.fit(MODEL, old, optimizer=adam, epochs=10, batch_size=32, **options)

    print(f"a new head on {count} of the digits 5 to 9, the stem frozen")
    frozen = dl.freeze(adam, "stem/*")
    start = dl.train.create_state(MODEL, frozen, new["x"], seed=args.seed)  # fresh values, and the stem's learnt ones
    start = start.replace(params=start.params | {"stem": pretrained.params["stem"]})
    tuned, _ = dl.fit(MODEL, new, optimizer=frozen, train_state=start, epochs=args.epochs, batch_size=5, **options)
    results = {"frozen": accuracy(tuned)}

    print("thawed: the stem at a tenth of the rate")
    thawed = dl.by_path({"stem/*": optax.adam(1e-4)}, adam)
    tuned = tuned.replace(opt_state=thawed.init(tuned.params))  # another optimizer, its fresh state
    tuned, _ = dl.fit(MODEL, new, optimizer=thawed, train_state=tuned, epochs=args.epochs, batch_size=5, **options)
    results["fine-tuned"] = accuracy(tuned)

    print("the same from scratch, for as many epochs")
    scratch, _ = dl.fit(MODEL, new, optimizer=adam, epochs=2 * args.epochs, batch_size=5, **options)
    results["from scratch"] = accuracy(scratch)

    dl.interop.save_params(args.out / "params.safetensors", tuned.params, metadata={"digits": "5 to 9"})
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"wrote params.safetensors, results.json to {args.out}/")
    shown = ", ".join(f"{name} {value:.2f} %" for name, value in results.items())
    print(f"test accuracy on {len(held_out['y'])} digits after {count} examples: {shown}")


if __name__ == "__main__":
    main()
