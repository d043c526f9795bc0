"""Layers: ``(init, apply)`` pairs over :mod:`jaxdl.functional`, one family a file.

Activations without parameters are plain functions, taken from :mod:`jax.nn`:
``sequential(dense(128), jax.nn.relu, dense(10))``.
"""

from jaxdl.layers.activation import glu as glu
from jaxdl.layers.activation import maxout as maxout
from jaxdl.layers.activation import prelu as prelu
from jaxdl.layers.activation import softmax as softmax
from jaxdl.layers.activity import activity_penalty as activity_penalty
from jaxdl.layers.adaptive_pool import adaptive_avg_pool as adaptive_avg_pool
from jaxdl.layers.adaptive_pool import adaptive_max_pool as adaptive_max_pool
from jaxdl.layers.adaptive_pool import global_avg_pool as global_avg_pool
from jaxdl.layers.adaptive_pool import global_max_pool as global_max_pool
from jaxdl.layers.attention import multi_head_attention as multi_head_attention
from jaxdl.layers.conv import conv as conv
from jaxdl.layers.conv import depthwise_conv as depthwise_conv
from jaxdl.layers.conv import separable_conv as separable_conv
from jaxdl.layers.conv_transpose import conv_transpose as conv_transpose
from jaxdl.layers.embedding import attend as attend
from jaxdl.layers.embedding import embedding as embedding
from jaxdl.layers.embedding import one_hot as one_hot
from jaxdl.layers.feed_forward import feed_forward as feed_forward
from jaxdl.layers.linear import bilinear as bilinear
from jaxdl.layers.linear import dense as dense
from jaxdl.layers.noise import alpha_dropout as alpha_dropout
from jaxdl.layers.noise import channel_dropout as channel_dropout
from jaxdl.layers.noise import drop_path as drop_path
from jaxdl.layers.noise import dropout as dropout
from jaxdl.layers.noise import gaussian_dropout as gaussian_dropout
from jaxdl.layers.noise import gaussian_noise as gaussian_noise
from jaxdl.layers.noise import gaussian_sample as gaussian_sample
from jaxdl.layers.norm import batch_norm as batch_norm
from jaxdl.layers.norm import group_norm as group_norm
from jaxdl.layers.norm import instance_norm as instance_norm
from jaxdl.layers.norm import layer_norm as layer_norm
from jaxdl.layers.norm import rms_norm as rms_norm
from jaxdl.layers.patches import fold as fold
from jaxdl.layers.patches import patches as patches
from jaxdl.layers.pool import avg_pool as avg_pool
from jaxdl.layers.pool import max_pool as max_pool
from jaxdl.layers.positions import learned_positions as learned_positions
from jaxdl.layers.positions import sinusoidal_positions as sinusoidal_positions
from jaxdl.layers.recurrent import bidirectional as bidirectional
from jaxdl.layers.recurrent import conv_lstm as conv_lstm
from jaxdl.layers.recurrent import gru as gru
from jaxdl.layers.recurrent import lstm as lstm
from jaxdl.layers.recurrent import simple_rnn as simple_rnn
from jaxdl.layers.resize import pixel_shuffle as pixel_shuffle
from jaxdl.layers.resize import pixel_unshuffle as pixel_unshuffle
from jaxdl.layers.resize import upsample as upsample
from jaxdl.layers.shape import crop as crop
from jaxdl.layers.shape import flatten as flatten
from jaxdl.layers.shape import pad as pad
from jaxdl.layers.shape import permute as permute
from jaxdl.layers.shape import reshape as reshape
from jaxdl.layers.tokens import class_token as class_token
from jaxdl.layers.tokens import first_step as first_step
from jaxdl.layers.transformer import transformer_block as transformer_block
from jaxdl.layers.transformer import transformer_decoder_block as transformer_decoder_block
