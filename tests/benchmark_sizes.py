"""Every workload of the benchmark at sizes that compile in a moment."""

from benchmarks.workloads import (
    CNN,
    GPT,
    MLP,
    Autoencoder,
    Conv3D,
    Deep,
    Network,
    Recurrent,
    UNet,
    ViT,
    WordBag,
    Workload,
)

SMALL = Workload("small", "a small CNN", CNN(side=10, filters=4, hidden=8, classes=3), batch=8, examples=32)


def tiny(name: str, network: Network, batch: int = 4) -> Workload:
    """An epoch of four steps."""
    return Workload(name, f"a tiny {name}", network, batch, 4 * batch)


def tiny_recurrent(cell: str) -> Workload:
    """Its recurrence is longer than a compiler would unroll."""
    return tiny(cell, Recurrent(cell, 6, vocabulary=11, features=4, time=7), 8)


SIZES = {"layers": 2, "heads": 2, "width": 8}
TINY = {
    workload.name: workload
    for workload in (
        tiny("mlp", MLP((12, 8, 6, 3)), 8),
        tiny("ae", Autoencoder((12, 8, 4, 8, 12)), 8),
        tiny("cnn", CNN(side=10, filters=4, hidden=8, classes=3), 8),
        tiny("deep", Deep(side=8, features=(4, 4, 6), strides=(1, 1, 2), classes=3), 8),
        tiny_recurrent("simple_rnn"),
        tiny_recurrent("lstm"),
        tiny_recurrent("gru"),
        tiny("gpt", GPT(time=6, vocabulary=11, **SIZES)),
        tiny("gpt_dropout", GPT(time=6, vocabulary=11, dropout=0.1, **SIZES)),
        tiny("vit", ViT(side=8, classes=3, **SIZES | {"layers": 1})),
        tiny("unet", UNet(side=4, features=(3, 4))),
        tiny("conv3d", Conv3D(side=4, features=(3, 4), classes=3)),
        tiny("embedding", WordBag(vocabulary=20, features=5, words=4)),
    )
}
