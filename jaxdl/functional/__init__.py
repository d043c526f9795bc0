"""Arrays in, arrays out: the mathematics of deep learning, each piece in its fastest form for the platform.

Where a form differs from the plain one in what it computes with, it can be chosen: ``method="lax"`` is the plain one.
Attention, layer and batch norm have one form and a derivative that is written down, the same mathematics in forward
mode and reverse, and no ``method``.

Activations without parameters are not here: take them from :mod:`jax.nn`.
"""

from jaxdl.functional.activation import glu as glu
from jaxdl.functional.activation import maxout as maxout
from jaxdl.functional.activation import prelu as prelu
from jaxdl.functional.activation import softmax as softmax
from jaxdl.functional.adaptive_pool import adaptive_avg_pool as adaptive_avg_pool
from jaxdl.functional.adaptive_pool import adaptive_max_pool as adaptive_max_pool
from jaxdl.functional.adaptive_pool import global_avg_pool as global_avg_pool
from jaxdl.functional.adaptive_pool import global_max_pool as global_max_pool
from jaxdl.functional.attention import attention as attention
from jaxdl.functional.conv import conv as conv
from jaxdl.functional.conv import depthwise_conv as depthwise_conv
from jaxdl.functional.conv import separable_conv as separable_conv
from jaxdl.functional.conv_transpose import conv_transpose as conv_transpose
from jaxdl.functional.embedding import attend as attend
from jaxdl.functional.embedding import embedding as embedding
from jaxdl.functional.embedding import one_hot as one_hot
from jaxdl.functional.linear import bilinear as bilinear
from jaxdl.functional.linear import dense as dense
from jaxdl.functional.noise import alpha_dropout as alpha_dropout
from jaxdl.functional.noise import channel_dropout as channel_dropout
from jaxdl.functional.noise import drop_path as drop_path
from jaxdl.functional.noise import dropout as dropout
from jaxdl.functional.noise import gaussian_dropout as gaussian_dropout
from jaxdl.functional.noise import gaussian_noise as gaussian_noise
from jaxdl.functional.noise import gaussian_sample as gaussian_sample
from jaxdl.functional.norm import batch_norm as batch_norm
from jaxdl.functional.norm import group_norm as group_norm
from jaxdl.functional.norm import instance_norm as instance_norm
from jaxdl.functional.norm import layer_norm as layer_norm
from jaxdl.functional.norm import rms_norm as rms_norm
from jaxdl.functional.patches import fold as fold
from jaxdl.functional.patches import patches as patches
from jaxdl.functional.pool import avg_pool as avg_pool
from jaxdl.functional.pool import max_pool as max_pool
from jaxdl.functional.positions import alibi as alibi
from jaxdl.functional.positions import alibi_slopes as alibi_slopes
from jaxdl.functional.positions import rotary as rotary
from jaxdl.functional.positions import sinusoidal_positions as sinusoidal_positions
from jaxdl.functional.recurrent import conv_lstm as conv_lstm
from jaxdl.functional.recurrent import conv_lstm_cell as conv_lstm_cell
from jaxdl.functional.recurrent import first_step as first_step
from jaxdl.functional.recurrent import flip_sequence as flip_sequence
from jaxdl.functional.recurrent import gru as gru
from jaxdl.functional.recurrent import gru_cell as gru_cell
from jaxdl.functional.recurrent import last_step as last_step
from jaxdl.functional.recurrent import lstm as lstm
from jaxdl.functional.recurrent import lstm_cell as lstm_cell
from jaxdl.functional.recurrent import simple_rnn as simple_rnn
from jaxdl.functional.recurrent import simple_rnn_cell as simple_rnn_cell
from jaxdl.functional.resize import pixel_shuffle as pixel_shuffle
from jaxdl.functional.resize import pixel_unshuffle as pixel_unshuffle
from jaxdl.functional.resize import upsample as upsample
from jaxdl.functional.routing import load_balance as load_balance
from jaxdl.functional.routing import queue_places as queue_places
from jaxdl.functional.routing import top_k_gates as top_k_gates
from jaxdl.functional.sampling import sample as sample
from jaxdl.functional.sampling import top_k_logits as top_k_logits
from jaxdl.functional.sampling import top_p_logits as top_p_logits
from jaxdl.functional.shape import flatten as flatten
from jaxdl.functional.weights import spectral_norm as spectral_norm
from jaxdl.functional.weights import weight_norm as weight_norm
