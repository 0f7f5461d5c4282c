"""The training step of the multilayer perceptron written by hand in numpy: the peer that the compiled step is measured and checked against.

Written as someone who knows numpy would: float32 throughout, one matrix product per layer and direction, softmax and cross-entropy fused by
algebra (the gradient of both is `probabilities - one_hot`), results written in place, and all parameters in one flat array so that Adam's
dozen elementwise calls are paid once, not once per parameter. Imports nothing of graphc.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class MlpByHand:
    """images [n, inputs] -> relu(images @ w1 + b1) @ w2 + b2 -> softmax cross-entropy with integer labels, trained by Adam.

    Adam as D. P. Kingma and J. Ba give it at the end of section 2 (arXiv:1412.6980), which is also TensorFlow's: the bias corrections are
    folded into the step size, and epsilon is added to the uncorrected root.
    """

    def __init__(self, weights: Sequence[Floats], learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-8) -> None:
        """`weights` are w1 [inputs, hidden], b1 [hidden], w2 [hidden, classes], b2 [classes]; they are copied."""
        self.learning_rate, self.beta1, self.beta2, self.epsilon = learning_rate, beta1, beta2, epsilon
        self.steps = 0
        self._parameters: Floats = np.concatenate([w.ravel() for w in weights]).astype(np.float32)
        self._gradients, self._mean, self._variance, self._scratch = (np.zeros_like(self._parameters) for _ in range(4))
        shapes = [w.shape for w in weights]
        self.w1, self.b1, self.w2, self.b2 = _views(self._parameters, shapes)
        self._dw1, self._db1, self._dw2, self._db2 = _views(self._gradients, shapes)

    def logits(self, images: Floats) -> Floats:
        """Unscaled log probabilities [n, classes]."""
        hidden: Floats = np.matmul(images, self.w1)
        hidden += self.b1
        np.maximum(hidden, 0, out=hidden)
        scores: Floats = np.matmul(hidden, self.w2)
        scores += self.b2
        return scores

    def step(self, images: Floats, labels: NDArray[np.int64]) -> float:
        """One step of Adam on a batch; gives the mean cross-entropy before it."""
        n = len(images)
        rows = np.arange(n)
        hidden: Floats = np.matmul(images, self.w1)
        hidden += self.b1
        np.maximum(hidden, 0, out=hidden)
        scores: Floats = np.matmul(hidden, self.w2)
        scores += self.b2
        scores -= scores.max(axis=1, keepdims=True)
        label_scores = scores[rows, labels]
        np.exp(scores, out=scores)
        sums = scores.sum(axis=1)
        loss = float(np.mean(np.log(sums) - label_scores))
        scores /= sums[:, None]  # now the probabilities, and then their gradient
        scores[rows, labels] -= 1
        scores /= n
        np.matmul(hidden.T, scores, out=self._dw2)
        np.sum(scores, axis=0, out=self._db2)
        d_hidden: Floats = np.matmul(scores, self.w2.T)
        d_hidden *= hidden > 0
        np.matmul(images.T, d_hidden, out=self._dw1)
        np.sum(d_hidden, axis=0, out=self._db1)
        self._adam()
        return loss

    def _adam(self) -> None:
        self.steps += 1
        gradients, scratch = self._gradients, self._scratch
        rate = self.learning_rate * math.sqrt(1 - self.beta2**self.steps) / (1 - self.beta1**self.steps)
        np.subtract(gradients, self._mean, out=scratch)
        scratch *= 1 - self.beta1
        self._mean += scratch
        np.square(gradients, out=scratch)
        scratch -= self._variance
        scratch *= 1 - self.beta2
        self._variance += scratch
        np.sqrt(self._variance, out=scratch)
        scratch += self.epsilon
        np.divide(self._mean, scratch, out=scratch)
        scratch *= rate
        self._parameters -= scratch


def _views(flat: Floats, shapes: Sequence[tuple[int, ...]]) -> list[Floats]:
    """The arrays of `shapes` that lie one after the other in `flat`."""
    views, start = [], 0
    for shape in shapes:
        views.append(flat[start : start + math.prod(shape)].reshape(shape))
        start += math.prod(shape)
    return views
