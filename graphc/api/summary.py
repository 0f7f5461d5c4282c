"""TF1's `summary`: files for TensorBoard, so far with graphs and runs in them."""
from graphc.exports.events import FileWriter

__all__ = [
    "FileWriter",
]
