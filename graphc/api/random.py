"""TF1's `random`: numbers drawn anew in each run."""

__all__: list[str] = []
