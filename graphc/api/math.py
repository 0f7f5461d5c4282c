"""TF1's `math`: functions of numbers, reductions, segments, special functions."""

__all__: list[str] = []
