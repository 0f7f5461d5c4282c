"""TF1's `sparse`: tensors of which most elements are zero."""

__all__: list[str] = []
