"""TF1's `layers`: functions from tensors to tensors that make their variables, and the classes behind them."""
from graphc.layers.base import InputSpec, Layer
from graphc.layers.core import Dense, Dropout, Flatten, dense, dropout, flatten
from graphc.layers.normalization import BatchNormalization, batch_normalization

__all__ = [
    "BatchNormalization", "Dense", "Dropout", "Flatten", "InputSpec", "Layer", "batch_normalization", "dense", "dropout", "flatten",
]
