"""TF1's `metrics`: values that accumulate over runs, each with the operation that updates it."""

__all__: list[str] = []
