"""TF1's `signal` and `spectral`: Fourier transforms."""

__all__: list[str] = []
