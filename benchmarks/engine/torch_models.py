"""The models in PyTorch."""

from collections.abc import Callable

import torch
from torch import nn


def mlp() -> nn.Module:
    hidden = (nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU())
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(128, 10))


class CNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(5408, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(x.permute(0, 3, 1, 2)))
        return logits


class LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.recurrent = nn.Embedding(1000, 32), nn.LSTM(32, 64, batch_first=True)
        self.last = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(self.recurrent(self.embedding(x))[0][:, -1])
        return logits


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.places = nn.Embedding(65, 128), nn.Embedding(64, 128)
        options = {"activation": "gelu", "batch_first": True, "norm_first": True, "dropout": 0.0}
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(128, 4, 512, **options) for _ in range(4)])
        self.norm, self.last = nn.LayerNorm(128), nn.Linear(128, 65)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        x = self.embedding(x) + self.places(torch.arange(x.shape[1]))
        for block in self.blocks:
            x = block(x, src_mask=mask, is_causal=True)
        logits: torch.Tensor = self.last(self.norm(x))
        return logits


MODELS: dict[str, Callable[[], nn.Module]] = {"mlp": mlp, "cnn": CNN, "lstm": LSTM, "gpt": GPT}
