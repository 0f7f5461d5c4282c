"""TF1's `image`: resizing, cropping, flips and colours of batches of pictures."""

__all__: list[str] = []
