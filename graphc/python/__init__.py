"""Where TensorFlow 1's programs import what has no public name: `from graphc.python.client import timeline`. Stands on top."""
