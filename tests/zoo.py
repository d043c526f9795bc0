"""Every public layer, combinator and model, one row each or more: how to make it, and an input for it.

The tests of the contract (test_contract.py) run over every row; a public layer or model without a row fails them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L
from jaxdl import models as M


@dataclass(frozen=True)
class Row:
    """How to make a layer, and what it takes.

    Layers are smooth, so that finite differences are gradients: tanh, where a model would have ReLU.

    **Fields** ``make()`` gives the layer; ``shape``: its input's, or a tuple of such for several inputs; ``classes``:
    the input is integers below it; ``positionwise``: it treats each position alone, of ragged batches and of pieces;
    ``ragged``: it takes ragged batches though it mixes positions; ``decodes``: it reads a sequence piece by piece
    though it mixes positions; ``order``: how often it can be differentiated (1 says why in a comment, 0
    that nothing floating goes in); ``batch_axis``: where the output has the batch.
    """

    name: str
    make: Callable[[], dl.Layer]
    shape: tuple[Any, ...]
    classes: int | None = None
    positionwise: bool = False
    ragged: bool = False
    decodes: bool = False
    order: int = 2
    batch_axis: int = 0

    def spec(self, batch: int | None = None, dtype: Any = jnp.float32) -> Any:
        return self._each(lambda shape, index: jax.ShapeDtypeStruct(self._sized(shape, batch), self._dtype(dtype)))

    def x(self, batch: int | None = None, dtype: Any = jnp.float32) -> Any:
        """Numbers that are all different, so that a maximum has one winner by a clear margin; or ids."""

        def values(shape: tuple[int, ...], index: int) -> jax.Array:
            shape = self._sized(shape, batch)
            size = int(np.prod(shape))
            order = np.random.default_rng(1 + index).permutation(size)
            numbers = order / max(size, 1) * 4 - 2 if self.classes is None else order % self.classes
            return jnp.asarray(numbers.reshape(shape), self._dtype(dtype))

        return self._each(values)

    def _each(self, make: Callable[[tuple[int, ...], int], Any]) -> Any:
        if any(isinstance(item, tuple) for item in self.shape):
            return tuple(make(shape, index) for index, shape in enumerate(self.shape))
        return make(self.shape, 0)

    def _sized(self, shape: tuple[int, ...], batch: int | None) -> tuple[int, ...]:
        return shape if batch is None else (batch, *shape[1:])

    def _dtype(self, dtype: Any) -> Any:
        return dtype if self.classes is None else jnp.int32


LAYERS = [
    # Linear and lookup
    Row("dense", lambda: L.dense(5), (3, 4), positionwise=True),
    Row("dense_no_bias", lambda: L.dense(5, use_bias=False), (2, 3, 4), positionwise=True),
    Row("bilinear", lambda: L.bilinear(5), ((3, 4), (3, 2))),
    Row("bilinear_no_bias", lambda: L.bilinear(2, use_bias=False), ((2, 3, 4), (2, 3, 3))),
    Row("embedding", lambda: L.embedding(7, 3), (3, 5), classes=7, positionwise=True),
    Row("embedding_padding", lambda: L.embedding(5, 4, padding_index=1), (6,), classes=5, positionwise=True),
    Row("attend", lambda: L.attend(7), (3, 5, 4), positionwise=True),
    Row("one_hot", lambda: L.one_hot(6), (3, 5), classes=6, positionwise=True, order=0),
    # Convolution
    Row("conv_1d", lambda: L.conv(4, 3, strides=2, padding="SAME"), (3, 7, 2)),
    Row("conv_2d", lambda: L.conv(4, 3), (2, 5, 6, 3)),
    Row("conv_grouped", lambda: L.conv(4, (3, 2), groups=2, padding=1, use_bias=False), (2, 5, 5, 4)),
    Row("conv_dilated", lambda: L.conv(3, 2, dilation=(2, 1), padding=((1, 0), (0, 2))), (2, 5, 5, 2)),
    Row("conv_3d", lambda: L.conv(2, 2), (1, 3, 4, 3, 2)),
    Row("conv_causal", lambda: L.conv(3, 3, padding="CAUSAL", padding_mode="circular", dilation=2), (2, 6, 2)),
    Row("conv_4d", lambda: L.conv(2, 2), (1, 2, 3, 2, 3, 2)),
    Row("conv_ragged", lambda: L.conv(3, 2, padding="SAME"), (2, 5, 3), ragged=True),
    Row("depthwise_conv", lambda: L.depthwise_conv((3, 2), multiplier=2, padding="SAME"), (2, 4, 5, 3)),
    Row("separable_conv", lambda: L.separable_conv(4, 3, multiplier=2, strides=2), (2, 7, 2)),
    Row(
        "conv_transpose",
        lambda: L.conv_transpose(4, (3, 2), strides=(2, 3), padding=1, output_padding=1, dilation=(1, 2), groups=2),
        (2, 3, 4, 4),
    ),
    Row("patches", lambda: L.patches((2, 3), strides=2, padding="SAME"), (2, 4, 5, 2)),
    Row("fold", lambda: L.fold(3, 6, padding=1, strides=2), (2, 3, 6)),
    # Pooling and resizing
    Row("max_pool", lambda: L.max_pool(2), (2, 5, 6, 3)),
    Row("max_pool_overlapping", lambda: L.max_pool(3, strides=2, padding="SAME"), (2, 5, 5, 2)),
    Row("avg_pool", lambda: L.avg_pool((2, 3), strides=1, padding="SAME", count_include_pad=False), (2, 5, 6, 3)),
    Row("max_pool_dilated", lambda: L.max_pool(2, strides=1, dilation=2, padding=1), (2, 5, 4, 2)),
    Row("global_avg_pool", lambda: L.global_avg_pool(), (2, 3, 4, 5)),
    Row("global_max_pool", lambda: L.global_max_pool(), (2, 3, 4, 3)),
    Row("global_avg_pool_ragged", lambda: L.global_avg_pool(), (2, 5, 3), ragged=True),
    Row("global_max_pool_ragged", lambda: L.global_max_pool(), (2, 5, 3), ragged=True),
    Row("adaptive_avg_pool", lambda: L.adaptive_avg_pool(3), (2, 5, 2)),
    Row("adaptive_max_pool", lambda: L.adaptive_max_pool((3, 2)), (2, 5, 3, 2)),
    Row("upsample", lambda: L.upsample((3, 2), interpolation="linear"), (2, 3, 4, 2)),
    Row("pixel_shuffle", lambda: L.pixel_shuffle((2, 3)), (2, 3, 2, 12)),
    Row("pixel_unshuffle", lambda: L.pixel_unshuffle(2), (2, 4, 6, 3)),
    # Shape
    Row("flatten", lambda: L.flatten(), (2, 3, 4)),
    Row("reshape", lambda: L.reshape(3, -1), (2, 3, 4)),
    Row("permute", lambda: L.permute(3, 1, 2), (2, 3, 4, 5)),
    Row("pad", lambda: L.pad((1, (0, 2)), mode="reflect"), (2, 3, 4, 2)),
    Row("pad_1d", lambda: L.pad(1, value=0.5), (2, 3, 2)),
    Row("crop", lambda: L.crop((1, (0, 2))), (2, 4, 5, 2)),
    # Noise
    Row("dropout", lambda: L.dropout(0.5), (3, 4), positionwise=True),
    Row("channel_dropout", lambda: L.channel_dropout(0.3), (3, 4, 5), positionwise=True),
    Row("drop_path", lambda: L.drop_path(0.4), (5, 3), positionwise=True),
    Row("alpha_dropout", lambda: L.alpha_dropout(0.2), (3, 5), positionwise=True),
    Row("gaussian_noise", lambda: L.gaussian_noise(0.3), (3, 5), positionwise=True),
    Row("gaussian_dropout", lambda: L.gaussian_dropout(0.2), (3, 5), positionwise=True),
    Row("gaussian_sample", lambda: L.gaussian_sample(), ((3, 5), (3, 5))),
    Row(
        "gaussian_sample_ragged",
        lambda: dl.sequential(dl.branch(jnp.sin, jnp.cos, merge="tuple"), L.gaussian_sample()),
        (3, 5),
        positionwise=True,
    ),
    # Normalisation
    Row("batch_norm", lambda: L.batch_norm(), (6, 3, 4), positionwise=True),
    Row("batch_norm_plain", lambda: L.batch_norm(use_scale=False, use_bias=False, momentum=0.5), (5, 4)),
    Row("layer_norm", lambda: L.layer_norm(), (3, 5), positionwise=True),
    Row("layer_norm_plain", lambda: L.layer_norm(use_scale=False, use_bias=False, epsilon=1e-3), (2, 3, 4)),
    Row("rms_norm", lambda: L.rms_norm(), (2, 3, 4), positionwise=True),
    Row("group_norm", lambda: L.group_norm(2), (3, 5, 6), ragged=True),
    Row("group_norm_images", lambda: L.group_norm(3, use_bias=False), (2, 3, 2, 6)),
    Row("instance_norm", lambda: L.instance_norm(), (3, 5, 2), ragged=True),
    Row("instance_norm_plain", lambda: L.instance_norm(use_scale=False, use_bias=False), (2, 3, 4, 2)),
    # Recurrent
    Row("simple_rnn", lambda: L.simple_rnn(4), (3, 5, 2), ragged=True, decodes=True),
    Row("lstm", lambda: L.lstm(3), (3, 5, 2), ragged=True, decodes=True),
    Row("gru", lambda: L.gru(3), (3, 5, 2), ragged=True, decodes=True),
    Row("gru_reset_before", lambda: L.gru(3, reset="before"), (3, 5, 2), ragged=True, decodes=True),
    Row("conv_lstm", lambda: L.conv_lstm(2, 2, outputs="last"), (2, 3, 4, 1), ragged=True),
    Row("bidirectional", lambda: L.bidirectional(L.simple_rnn(2), outputs="last"), (2, 4, 3), ragged=True),
    # Attention and transformers
    Row("multi_head_attention", lambda: L.multi_head_attention(2), (2, 4, 6), ragged=True),
    Row(
        "multi_head_attention_causal",
        lambda: L.multi_head_attention(
            4, kv_heads=2, causal=True, window=3, rotate=F.rotary, position_bias=F.alibi, use_bias=False
        ),
        (2, 5, 8),
        ragged=True,
        decodes=True,
    ),
    Row("cross_attention", lambda: L.multi_head_attention(2, head_features=2, dropout=0.3), ((2, 3, 5), (2, 4, 3))),
    Row("learned_positions", lambda: L.learned_positions(7), (2, 4, 3), ragged=True, decodes=True),
    Row("sinusoidal_positions", lambda: L.sinusoidal_positions(), (2, 4, 3), ragged=True, decodes=True),
    Row("class_token", lambda: L.class_token(), (2, 4, 3)),
    Row("first_step", lambda: L.first_step(), (2, 4, 3), ragged=True),
    Row("feed_forward", lambda: L.feed_forward(5, gated=True, dropout=0.2), (3, 4), positionwise=True),
    Row("transformer_block", lambda: L.transformer_block(2, dropout=0.2), (2, 3, 4), ragged=True, decodes=True),
    Row(
        "transformer_decoder_block",
        lambda: L.transformer_decoder_block(2, hidden=5, pre_norm=False),
        ((2, 3, 4), (2, 2, 3)),
    ),
    # Activations
    Row("prelu", lambda: L.prelu(), (3, 5), positionwise=True),
    Row("maxout", lambda: L.maxout(4, 3), (3, 5), positionwise=True),
    Row("glu", lambda: L.glu(4), (3, 5), positionwise=True),
    Row("swiglu", lambda: L.glu(3, activation=jax.nn.silu, use_bias=False), (2, 3, 4), positionwise=True),
    Row("softmax", lambda: L.softmax(temperature=0.7), (3, 5), positionwise=True),
    Row("activity_l1", lambda: L.activity_penalty(dl.penalties.activity_l1(0.1)), (3, 4), positionwise=True),
    Row("activity_kl", lambda: L.activity_penalty(dl.penalties.activity_kl(0.1)), (2, 3, 4), positionwise=True),
    # Combinators
    Row(
        "sequential",
        lambda: dl.sequential(L.dense(4), jnp.tanh, ("mid", L.batch_norm()), L.dropout(0.2), L.dense(2)),
        (4, 3),
        positionwise=True,
    ),
    Row(
        "sequential_cnn",
        lambda: dl.sequential(("stem", dl.sequential(L.conv(3, 3), jnp.tanh, L.max_pool(2))), L.flatten(), L.dense(4)),
        (2, 6, 6, 1),
    ),
    Row("residual", lambda: dl.residual(L.dense(6), jnp.tanh, L.dense(3)), (4, 3), positionwise=True),
    Row(
        "residual_shortcut",
        lambda: dl.residual(L.conv(4, 3, padding="SAME"), L.batch_norm(), shortcut=L.conv(4, 1)),
        (2, 4, 4, 2),
    ),
    Row("parallel", lambda: dl.parallel(L.dense(3), ("right", L.dense(2))), ((3, 4), (2, 3))),
    Row("parallel_add", lambda: dl.parallel(L.dense(3), L.dense(3), merge="add"), ((3, 4), (3, 2))),
    Row("branch", lambda: dl.branch(L.dense(3), dl.sequential(L.dense(3), jnp.tanh)), (4, 2), positionwise=True),
    Row("branch_concat", lambda: dl.branch(L.conv(2, 1), L.conv(3, 3, padding="SAME"), merge="concat"), (2, 3, 4, 2)),
    Row(
        "repeat",
        lambda: dl.repeat(dl.residual(L.dense(3), L.batch_norm(), jnp.tanh, L.dropout(0.2)), 3),
        (4, 3),
        positionwise=True,
    ),
    Row("remat", lambda: dl.remat(dl.sequential(L.dense(4), L.batch_norm(), jnp.tanh)), (4, 3), positionwise=True),
    Row("vmapped", lambda: dl.vmapped(dl.sequential(L.dense(2), L.batch_norm()), 3), (5, 4), batch_axis=1),
    Row(
        "tie",
        lambda: dl.tie(
            dl.sequential(L.dense(4), jnp.tanh, L.dense(3)), {"dense_1/kernel": ("dense/kernel", jnp.transpose)}
        ),
        (4, 3),
        positionwise=True,
    ),
    Row(
        "lora", lambda: dl.lora(dl.sequential(L.dense(4), jnp.tanh, L.dense(2)), 2, alpha=3), (4, 3), positionwise=True
    ),
    Row(
        "encoder_decoder",
        lambda: dl.encoder_decoder(dl.sequential(L.dense(3), jnp.tanh), L.multi_head_attention(2)),
        ((2, 3, 4), (2, 5, 2)),
    ),
    Row("weight_norm", lambda: dl.weight_norm(L.dense(4)), (4, 3), positionwise=True),
    # Order 1: no gradient goes through the singular vectors, which matters where they have not yet converged.
    Row("spectral_norm", lambda: dl.spectral_norm(L.dense(2), iterations=30), (4, 3), positionwise=True, order=1),
    Row(
        "mixture_of_experts",
        lambda: dl.mixture_of_experts(dl.sequential(L.dense(4), jnp.tanh, L.dense(3)), 4),
        (5, 3),
        positionwise=True,
    ),
    Row("mixture_of_experts_capacity", lambda: dl.mixture_of_experts(L.dense(2), 3, top_k=1, capacity=0.9), (2, 3, 3)),
]

# Tiny ones, each called after its model; what they are made of has its own rows above.
MODELS = [
    Row("mlp", lambda: M.mlp(4, 3, dropout=0.2), (3, 5), positionwise=True),
    Row("course_cnn", lambda: M.course_cnn(3, filters=2, hidden=4), (2, 6, 6, 1)),
    Row("lenet", lambda: M.lenet(3), (2, 14, 12, 1)),
    Row("cnn", lambda: M.cnn(3, filters=(2, 3), padding="SAME", hidden=(4,), batch_norm=True), (2, 4, 4, 1)),
    Row("resnet", lambda: M.resnet(18, 3, width=2), (4, 32, 32, 1)),
    Row("resnet_bottleneck", lambda: M.resnet(50, 3, width=2), (4, 32, 32, 1)),
    Row("resnet_cifar", lambda: M.resnet_cifar(8, 3, width=2), (2, 8, 8, 3)),
    Row("unet", lambda: M.unet(2, features=(2, 3), batch_norm=True), (2, 4, 6, 1)),
    Row("text_cnn", lambda: M.text_cnn(7, 3, features=4, widths=(2, 3), filters=2), (2, 5), classes=7, ragged=True),
    Row(
        "text_rnn",
        lambda: M.text_rnn(7, 3, cell=L.gru, features=4, hidden=3, bidirectional=True, layers=2, dropout=0.2),
        (2, 5),
        classes=7,
        ragged=True,
    ),
    Row("seq2seq", lambda: M.seq2seq(6, 7, features=4, hidden=3, dropout=0.2), ((2, 3), (2, 4)), classes=6),
    Row(
        "autoencoder",
        lambda: M.autoencoder(6, 4, 2, noise=0.1, penalty=dl.penalties.activity_l1(0.1)),
        (3, 6),
        positionwise=True,
    ),
    Row("conv_autoencoder", lambda: M.conv_autoencoder(3, shape=(4, 8, 1), filters=(2, 3)), (2, 4, 8, 1)),
    Row("vae", lambda: M.vae(2, shape=(2, 3), hidden=(4,)), (3, 2, 3)),
    Row("dense_generator", lambda: M.dense_generator(shape=(2, 3, 1), hidden=(4,), norm=L.batch_norm), (3, 5)),
    Row("dense_discriminator", lambda: M.dense_discriminator(hidden=(4,), dropout=0.2), (3, 2, 3, 1)),
    Row("dcgan_generator", lambda: M.dcgan_generator(shape=(4, 8, 2), filters=(3, 2)), (3, 5)),
    Row("dcgan_discriminator", lambda: M.dcgan_discriminator(filters=(2, 3), dropout=0.2), (2, 8, 8, 1)),
    Row(
        "gpt",
        lambda: M.gpt(7, features=4, layers=2, heads=2, length=9, dropout=0.2),
        (2, 5),
        classes=7,
        ragged=True,
        decodes=True,
    ),
    Row("bert", lambda: M.bert(7, features=4, layers=2, heads=2, length=9), ((2, 5), (2, 5)), classes=2),
    Row(
        "bert_classifier",
        lambda: M.bert_classifier(7, 3, features=4, layers=2, heads=2, length=9),
        (2, 5),
        classes=7,
        ragged=True,
    ),
    Row("transformer", lambda: M.transformer(6, 7, features=4, layers=2, heads=2), ((2, 3), (2, 4)), classes=6),
    Row("vit", lambda: M.vit(3, patch=2, features=4, layers=2, heads=2, dropout=0.2), (2, 4, 5, 1)),
]

ROWS = [*LAYERS, *MODELS]
BY_NAME = {row.name: row for row in ROWS}
