"""TF1's `linalg`: matrices, their factors and solutions."""

__all__: list[str] = []
