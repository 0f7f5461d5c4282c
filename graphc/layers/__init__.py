"""TF1's `layers`: functions from tensors to tensors that make their variables, and the classes behind them."""
from graphc.layers.base import InputSpec, Layer
from graphc.layers.core import Dense, Dropout, Flatten, dense, dropout, flatten

__all__ = ["Dense", "Dropout", "Flatten", "InputSpec", "Layer", "dense", "dropout", "flatten"]
