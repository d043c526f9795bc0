"""What jaxdl shall reach, in one place: its time over the best peer's."""

TARGETS = {
    "mlp": (0.60, 0.50),
    "ae": (0.85, 0.75),
    "cnn": (0.55, 0.40),
    "cnn256": (0.58, 0.44),
    "deep": (0.80, 0.60),
    "rnn": (0.62, 0.42),
    "lstm": (0.90, 0.75),
    "gru": (0.70, 0.55),
    "gpt": (0.90, 0.75),
}
"""At most, and the aim."""

GEOMETRIC_MEAN = (0.72, 0.55)
"""Over these nine."""

ELSEWHERE = 1.0
"""At most, on every other workload: not slower than the best peer."""

OURS = "jaxdl"
FLOOR = "plain"
NOT_PEERS = (OURS, FLOOR)
"""Who is no peer to be beaten: jaxdl itself, and the floor of the same lowerings by hand."""


def at_most(workload: str) -> float:
    return TARGETS.get(workload, (ELSEWHERE, None))[0]


def aim(workload: str) -> float | None:
    return TARGETS[workload][1] if workload in TARGETS else None
