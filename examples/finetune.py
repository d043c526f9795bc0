"""Warm start and fine-tuning: who knows the ten digits soon tells the odd ones.

A network learns the digits from many examples. Its body then gets a new head and another question, is the digit odd,
with a few examples of each: first with the body frozen, then thawed at a lower rate. The same network from scratch is
the comparison.

python examples/finetune.py                              # embedded digits, no network
python examples/finetune.py --few 1 --seed 2 --out runs/few
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

BODY = dl.sequential(L.conv(32, 3), jax.nn.relu, L.max_pool(2), L.flatten(), L.dense(64), jax.nn.relu)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=2, help="examples of each digit for the new question")
    parser.add_argument("--epochs", type=int, default=30, help="of each phase")
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


def some(data: dict[str, Any], count: int, seed: int) -> dict[str, Any]:
    """So many examples of each digit."""
    order = np.random.default_rng(seed).permutation(len(data["y"]))
    rows = np.concatenate([order[data["y"][order] == digit][:count] for digit in range(10)])
    return {name: leaf[rows] for name, leaf in data.items()}


def odd(data: dict[str, Any]) -> dict[str, Any]:
    """The same images with another question: 1 for odd digits, 0 for even ones."""
    return {"x": data["x"], "y": data["y"] % 2}


def main() -> None:
    args = arguments()
    train, test = dl.data.digits(seed=args.seed)
    new, held_out = odd(some(train, args.few, args.seed)), odd(test)
    digits = dl.sequential(("body", BODY), ("head", L.dense(10)))
    model = dl.sequential(("body", BODY), ("head", L.dense(2)))
    options = {"loss": dl.losses.cross_entropy, "seed": args.seed, "progress": False}
    few = options | {"batch_size": 5}
    adam = optax.adam(1e-3)

    def accuracy(trained: dl.TrainState) -> float:
        measure = {"accuracy": dl.metrics.accuracy}
        found = dl.evaluate(model, trained, held_out, loss=dl.losses.cross_entropy, metrics=measure)
        return 100 * float(found["accuracy"])

    print(f"pretraining on {len(train['y']):,} digits")
    pretrained, _ = dl.fit(digits, train, optimizer=adam, epochs=args.epochs, batch_size=32, **options)

    print(f"a new head on {len(new['y'])} of them, the body frozen")
    frozen = dl.freeze(optax.adam(1e-2), "body/*")
    start = dl.train.create_state(model, frozen, new["x"], seed=args.seed)
    start = start.replace(params=start.params | {"body": pretrained.params["body"]})
    tuned, _ = dl.fit(model, new, optimizer=frozen, train_state=start, epochs=args.epochs, **few)
    results = {"frozen": accuracy(tuned)}

    print("thawed, the body at a tenth of the rate")
    thawed = dl.by_path({"body/*": optax.adam(1e-4)}, adam)
    tuned = tuned.replace(opt_state=thawed.init(tuned.params))  # another optimizer begins with its own fresh state
    tuned, _ = dl.fit(model, new, optimizer=thawed, train_state=tuned, epochs=args.epochs, **few)
    results["fine-tuned"] = accuracy(tuned)

    print("the same network from scratch, for as many epochs")
    scratch, _ = dl.fit(model, new, optimizer=adam, epochs=2 * args.epochs, **few)
    results["from scratch"] = accuracy(scratch)

    dl.interop.save_params(args.out / "params.safetensors", tuned.params, metadata={"classes": "even, odd"})
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"wrote params.safetensors, results.json to {args.out}/")
    shown = ", ".join(f"{name} {value:.2f} %" for name, value in results.items())
    print(f"test accuracy on {len(held_out['y'])} digits after {len(new['y'])} examples: {shown}")


if __name__ == "__main__":
    main()
