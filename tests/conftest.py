"""What holds for every test: nothing is broadcast in silence between arrays of different rank."""

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
