"""TF1's `contrib`, the few parts of it that most programs use: layers with normalisers, scopes of default arguments, model variables."""
from graphc.contrib import framework, layers, slim

__all__ = ["framework", "layers", "slim"]
