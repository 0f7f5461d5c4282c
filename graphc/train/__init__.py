"""Training: optimizers as graph nodes. TF1's `tf.train`."""
from graphc.exports import write_graph
from graphc.global_step import assert_global_step, create_global_step, get_global_step, get_or_create_global_step, global_step
from graphc.moving_averages import ExponentialMovingAverage
from graphc.train.adam import AdamOptimizer
from graphc.train.gradient_descent import GradientDescentOptimizer, MomentumOptimizer
from graphc.train.optimizer import Optimizer

__all__ = [
    "AdamOptimizer", "ExponentialMovingAverage", "GradientDescentOptimizer", "MomentumOptimizer", "Optimizer", "assert_global_step",
    "create_global_step", "get_global_step", "get_or_create_global_step", "global_step", "write_graph",
]
