"""The runs of the course: which script, with which words, and what it must reach. ``run_all.py`` makes them."""

from typing import NamedTuple


class Goal(NamedTuple):
    """A target: that figure of the systems and the data that fit the globs."""

    data: str
    figure: str
    relation: str
    value: float
    system: str = "*"


class Run(NamedTuple):
    """A script with the words of its real budget and of a tiny one (None: not run then), and what it must reach.

    ``minutes``: how long the real one takes alone on two cores; ``seeds``: how many of them it is run with.
    """

    script: str
    full: str
    quick: str | None
    minutes: float
    goals: tuple[Goal, ...] = ()
    seeds: int = 3


def accuracy(data: str, value: float, system: str = "*") -> tuple[Goal, ...]:
    return (Goal(data, "test accuracy", "≥", value, system),)


def recalls(value: float, relation: str, *systems: str) -> tuple[Goal, ...]:
    return tuple(Goal("recall", "test accuracy at gap 160", relation, value, system) for system in systems)


RUNS: tuple[Run, ...] = (
    Run("01_neuron", "", "", 0.2, (Goal("iris setosa/versicolor", "train accuracy", "≥", 100),)),
    Run(
        "02_backpropagation",
        "",
        "--epochs 1000",
        0.3,
        (
            Goal("random numbers", "largest difference to jax.grad", "≤", 1e-6),
            Goal("XOR", "right", "≥", 4, "a hidden layer"),
        ),
    ),
    Run(
        "03_gradient_descent",
        "--dataset california_housing",
        "--epochs 4 --steps 200",
        1,
        (Goal("california_housing", "loss above the least", "≤", 1e-3),),
    ),
    *(
        Run(
            "04_regularisation",
            f"--dataset {data}",
            "--epochs 2 --tries 1" if data == "wine_quality" else None,
            4,
            (Goal(data, "largest difference to scikit-learn's coefficients", "≤", 1e-3),),
        )
        for data in ("wine_quality", "abalone")
    ),
    Run("05_mlp", "--dataset mnist", "--epochs 2", 2, accuracy("mnist", 98.3)),
    Run("06_cnn", "--dataset mnist", "--epochs 2", 1, accuracy("mnist", 98.4)),
    Run("06_cnn", "--dataset mnist --model small", "--model small --epochs 2", 3, accuracy("mnist", 99.2)),
    Run("06_cnn", "--dataset mnist --model better --validation 0", None, 18, accuracy("mnist", 99.55), 1),
    Run(
        "06_cnn",
        "--dataset fashion_mnist --model better --validation 0 --epochs 30",
        "--model better --epochs 1",
        36,
        accuracy("fashion_mnist", 93.5),
        1,
    ),
    Run(
        "07_resnet",
        "--dataset cifar10_subset --validation 0",
        "--depth 8 --epochs 1",
        20,
        accuracy("cifar10_subset", 70),
        1,
    ),
    Run("08_recurrent", "", "--epochs 10", 0.3, (Goal("two sentences", "train accuracy", "≥", 100),)),
    Run(
        "08_recurrent",
        "--dataset recall",
        "--dataset recall --gaps 5 --epochs 2",
        2,
        (*recalls(95, "≥", "LSTM", "GRU"), *recalls(60, "≤", "simple RNN")),
    ),
    Run("08_text", "", "--systems 'simple RNN' --epochs 1", 5, accuracy("trec", 90, "best by validation*"), 1),
    Run("08_text", "--dataset sst2", None, 7, accuracy("sst2", 79, "best by validation*"), 1),
    Run("08_text", "--dataset hotel_reviews", None, 12, accuracy("hotel_reviews", 89, "best by validation*"), 1),
    *(
        Run(
            "09_forecasting",
            f"--dataset {data}",
            "--epochs 2" if data == "airline_passengers" else None,
            1,
            (Goal(data, "test RMSE, share of the better baseline's", "≤", 99.9, "best by validation"),),
        )
        for data in ("airline_passengers", "daily_temperatures", "sunspots")
    ),
    Run(
        "10_autoencoder",
        "--dataset mnist",
        "--epochs 1",
        4,
        (
            Goal("mnist", "share of the error of PCA", "≤", 99.9),
            Goal("mnist", "share of the error of PCA of noisy", "≤", 99.9),
        ),
    ),
    Run(
        "11_vae",
        "--dataset mnist",
        "--latents 2 --epochs 1",
        6,
        (Goal("mnist", "test ELBO", "≥", -106, "VAE, 20 latents"),),
        1,
    ),
    *(
        Run(
            "12_gan",
            f"--dataset {data} --model {model}{more}",
            f"--model {model} --epochs 1" if data == "mnist" else None,
            15,
            (Goal(data, "mean confidence", "≥", 85), Goal(data, "rarest class", "≥", 4)),
            1,
        )
        for data in ("mnist", "fashion_mnist")
        for model, more in (("wgan", ""), ("dense", ""), ("dcgan", " --epochs 20"))
    ),
    Run(
        "13_language_model",
        "--dataset tiny_shakespeare",
        "--steps 16 --characters 20000",
        8,
        (Goal("tiny_shakespeare", "validation loss", "≤", 1.88, "GPT"),),
        1,
    ),
    Run("14_transformers", "--dataset trec --validation 0", "--dataset trec --epochs 1", 2, accuracy("trec", 88)),
    Run(
        "14_transformers",
        "--dataset mnist --validation 0 --epochs 30",
        "--epochs 2",
        20,
        accuracy("mnist", 98.5),
        1,
    ),
    Run(
        "15_seq2seq",
        "",
        "--pairs 2000 --epochs 1",
        5,
        (Goal("addition of numbers below 1,000", "exact match on unseen pairs", "≥", 99),),
        1,
    ),
    Run(
        "16_convolutions",
        "",
        "--epochs 2",
        1.5,
        (Goal("*", "training loss, last over first", "≤", 0.5),),
    ),
    Run(
        "17_many_devices",
        "",
        "--devices 2 --ways fsdp --epochs 1",
        4,
        (Goal("digits", "largest difference of the loss to one device's", "≤", 1e-4),),
        1,
    ),
    Run("18_many_processes", "", "--epochs 1", 1, accuracy("digits", 90)),
)
