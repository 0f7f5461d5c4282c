"""Training: optimizers as graph nodes. TF1's `tf.train`."""
from graphc.train.adam import AdamOptimizer
from graphc.train.gradient_descent import GradientDescentOptimizer, MomentumOptimizer
from graphc.train.optimizer import Optimizer

__all__ = ["AdamOptimizer", "GradientDescentOptimizer", "MomentumOptimizer", "Optimizer"]
