"""TF1's `bitwise`: operations on the bits of integers."""

__all__: list[str] = []
