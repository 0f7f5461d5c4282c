"""TF1's `distributions`: sample, log_prob, entropy, divergence and the rest, all as operations of the graph."""
from graphc.distributions.continuous import Beta, Exponential, Gamma, Laplace, Normal, StudentT, Uniform
from graphc.distributions.discrete import Bernoulli, Categorical, Dirichlet, DirichletMultinomial, Multinomial
from graphc.distributions.distribution import (
    FULLY_REPARAMETERIZED,
    NOT_REPARAMETERIZED,
    Distribution,
    RegisterKL,
    ReparameterizationType,
    kl_divergence,
)

__all__ = [
    "FULLY_REPARAMETERIZED", "NOT_REPARAMETERIZED", "Bernoulli", "Beta", "Categorical", "Dirichlet", "DirichletMultinomial",
    "Distribution", "Exponential", "Gamma", "Laplace", "Multinomial", "Normal", "RegisterKL", "ReparameterizationType", "StudentT",
    "Uniform", "kl_divergence",
]
