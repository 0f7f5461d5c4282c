"""TF1's `debugging`: assertions and checks of numbers."""

__all__: list[str] = []
