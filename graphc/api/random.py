"""TF1's `random`: numbers drawn anew in each run, or determined by a seed."""
from graphc.ops.candidate_sampling import (
    all_candidate_sampler,
    fixed_unigram_candidate_sampler,
    log_uniform_candidate_sampler,
    uniform_candidate_sampler,
)
from graphc.ops.random import categorical, get_seed, multinomial, set_random_seed, truncated_normal
from graphc.ops.random import random_gamma as gamma
from graphc.ops.random import random_normal as normal
from graphc.ops.random import random_poisson as poisson
from graphc.ops.random import random_shuffle as shuffle
from graphc.ops.random import random_uniform as uniform
from graphc.ops.stateless_random import stateless_categorical, stateless_multinomial, stateless_truncated_normal
from graphc.ops.stateless_random import stateless_random_normal as stateless_normal
from graphc.ops.stateless_random import stateless_random_uniform as stateless_uniform

__all__ = [
    "all_candidate_sampler", "categorical", "fixed_unigram_candidate_sampler", "gamma", "get_seed", "log_uniform_candidate_sampler",
    "multinomial", "normal", "poisson", "set_random_seed", "shuffle", "stateless_categorical", "stateless_multinomial", "stateless_normal",
    "stateless_truncated_normal", "stateless_uniform", "truncated_normal", "uniform", "uniform_candidate_sampler",
]
