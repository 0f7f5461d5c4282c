"""Optimizers: operations appended to the graph that holds the model."""
