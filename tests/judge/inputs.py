"""What the lines of the judge's samples may use: placeholders with these names, fed with these arrays.

Read by TensorFlow 1.15's Python 3.7 too: numpy and nothing else.
"""
import numpy as np

_RNG = np.random.RandomState(7)


def _grid(*shape):
    """Values that are exact in binary, so that both sides feed the same numbers."""
    return (np.round(_RNG.uniform(-2, 2, shape) * 64) / 64).astype(np.float32)


# name: (array, shape of its placeholder)
INPUTS = {
    "x": (np.array([[0.25, 0.5, 0.875], [0.125, 0.75, 0.375]], np.float32), (2, 3)),
    "y": (np.array([[0.5, 0.25, 0.25], [0.125, 0.625, 0.25]], np.float32), (2, 3)),
    "c": (np.array([0.5, 2.0, 1.25], np.float32), (3,)),
    "s": (np.array(1.75, np.float32), ()),
    "n": (_grid(3, 4), (3, 4)),  # of both signs
    "m": (_grid(3, 3) + 3 * np.eye(3, dtype=np.float32), (3, 3)),
    "t": (_grid(2, 3, 4), (2, 3, 4)),
    "u": (_grid(2, 3), (None, 3)),
    "v": (_grid(2, 3), None),
    "d": (_grid(4, 3).astype(np.float64), (4, 3)),
    "h": (_grid(2, 3).astype(np.float16), (2, 3)),
    "img": (_grid(2, 6, 5, 3) / 4 + 0.5, (2, 6, 5, 3)),
    "vol": (_grid(1, 4, 4, 3, 2), (1, 4, 4, 3, 2)),
    "e": (np.zeros((0, 3), np.float32), (0, 3)),
    "z": (np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], np.float32), (6,)),
    "i": (np.array([1, 0], np.int32), (2,)),
    "j": (np.array([[3, -7, 2], [0, 5, -1]], np.int32), (2, 3)),
    "k": (np.array([2, 0, 2, 1], np.int64), (4,)),
    "p": (np.array([3, 2, 5], np.int32), (3,)),
    "w": (np.array([200, 3, 0], np.uint8), (3,)),
    "b": (np.array([[True, False, True], [False, False, True]]), (2, 3)),
    "f": (np.array([True, False]), (2,)),
    "q": ((_grid(2, 3) + 1j * _grid(2, 3)).astype(np.complex64), (2, 3)),
}
