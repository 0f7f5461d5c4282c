"""The built-in models in JAX: one jitted function for each, a training step whole, with its optimizer and its state given back to it.

Loaded by `graphc.peers` when it is first asked for, since it needs the package jax. Functions here take the weights and the feeds by the
names that they have in graphc's graph. Adam is TensorFlow 1's: epsilon stands beside the uncorrected root.
"""
from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from graphc.models import attention as attention_model
from graphc.models import cnn as cnn_model
from graphc.models import mlp as mlp_model
from graphc.models import transformer as transformer_model

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
Arrays = Mapping[str, Any]
LAYER_NORM_EPSILON, BATCH_NORM_EPSILON, MOMENTUM = 1e-6, 1e-3, 0.9
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Training:
    """What a training step is made of. loss(weights, feeds, state) gives the loss and the new state (moving averages, by name). adam:
    whether it is Adam or plain descent. clip: the largest global norm."""

    loss: Callable[[Arrays, Arrays, Arrays], tuple[Any, Arrays]]
    rate: float
    adam: bool = True
    clip: float | None = None


def calls(model: str, feeds: Mapping[str, Array], variables: Mapping[str, Array], threads: int) -> dict[str, Call]:
    """The call "jax" of `model`, which begins with these values and gives what graphc's fetches give. It is compiled at its first call."""
    cpu = _start(threads)
    with jax.default_device(cpu):
        inputs = {name: jax.device_put(value, cpu) for name, value in feeds.items()}
        if model in FORWARD:
            return {"jax": forward_call(FORWARD[model], inputs)}
        return {"jax": training_call(TRAINED[model], inputs, variables, cpu)}


@functools.cache
def _start(threads: int) -> Any:
    """The CPU as a device. JAX takes as many threads as the process may have when it starts, and they stay on those cores."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:threads])
    try:
        return jax.devices("cpu")[0]
    finally:
        os.sched_setaffinity(0, cores)


def forward_call(function: Callable[[Arrays], Any], inputs: Arrays) -> Call:
    """A call of function(inputs), jitted, that waits for the result."""
    jitted = jax.jit(function)
    return lambda: jitted(inputs).block_until_ready()


def training_call(training: Training, inputs: Arrays, variables: Mapping[str, Array], device: Any) -> Call:
    """A call that does one step and gives the loss before it. It hands its state to the next one, in place."""
    weights = {name: value for name, value in variables.items() if "Adam" not in name and "_power" not in name and "/moving_" not in name}
    moving = {name: value for name, value in variables.items() if "/moving_" in name}
    zeros = {name: np.zeros_like(value) for name, value in weights.items()}
    slots = (zeros, {name: value.copy() for name, value in zeros.items()}, np.float32(0)) if training.adam else ()
    state: Any = jax.device_put((weights, slots, moving), device)
    step = jax.jit(functools.partial(_step, training), donate_argnums=0)

    def call() -> float:
        nonlocal state
        loss, state = step(state, inputs)
        return float(loss)
    return call


def _step(training: Training, state: Any, inputs: Arrays) -> tuple[Any, Any]:
    weights, slots, moving = state
    (loss, moving), gradients = jax.value_and_grad(training.loss, has_aux=True)(weights, inputs, moving)
    if training.clip is not None:
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in gradients.values()))
        gradients = {name: g * jnp.minimum(1.0, training.clip / norm) for name, g in gradients.items()}
    if not training.adam:
        return loss, ({name: weights[name] - training.rate * g for name, g in gradients.items()}, slots, moving)
    means, variances, count = slots
    count = count + 1
    size = training.rate * jnp.sqrt(1 - _BETA2**count) / (1 - _BETA1**count)
    means = {name: m + (gradients[name] - m) * (1 - _BETA1) for name, m in means.items()}
    variances = {name: v + (jnp.square(gradients[name]) - v) * (1 - _BETA2) for name, v in variances.items()}
    weights = {name: w - size * means[name] / (jnp.sqrt(variances[name]) + _EPSILON) for name, w in weights.items()}
    return loss, (weights, (means, variances, count), moving)


# The models ------------------------------------------------------------------------------------------------------------------------------

def softmax(x: Arrays) -> Any:
    return jax.nn.softmax(x["x"])


def layernorm(x: Arrays) -> Any:
    return _layer_norm(x["x"], x["scale"], x["shift"], LAYER_NORM_EPSILON)


def _layer_norm(x: Any, scale: Any, shift: Any, epsilon: float) -> Any:
    centred = x - jnp.mean(x, -1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + epsilon) * scale + shift


def elementwise(x: Arrays) -> Any:
    return jax.nn.gelu(x["x"] * x["scale"] + x["shift"], approximate=False)


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1))


def mlp(w: Arrays, x: Arrays, moving: Arrays) -> tuple[Any, Arrays]:
    hidden = jax.nn.relu(x["images"] @ w["hidden/kernel"] + w["hidden/bias"])
    return _cross_entropy(hidden @ w["logits/kernel"] + w["logits/bias"], x["labels"]), moving


def attention(w: Arrays, x: Arrays, moving: Arrays) -> tuple[Any, Arrays]:
    sequences = x["x"]
    batch, length, _ = sequences.shape
    query, key, value = ((sequences @ w[f"{name}/kernel"]).reshape(batch, length, attention_model.HEADS, -1)
                         for name in ("query", "key", "value"))
    mixed = jax.nn.dot_product_attention(query, key, value).reshape(sequences.shape)
    return jnp.mean(jnp.square(mixed @ w["output/kernel"] + w["output/bias"] - sequences)), moving


def cnn(w: Arrays, x: Arrays, moving: Arrays) -> tuple[Any, Arrays]:
    layer, new = x["images"].reshape(-1, 8, 8, 1), dict(moving)
    for suffix in ("", "_1"):
        norm = f"batch_normalization{suffix}"
        layer = jax.lax.conv_general_dilated(layer, w[f"conv2d{suffix}/kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        mean, variance = jnp.mean(layer, (0, 1, 2)), jnp.var(layer, (0, 1, 2))
        for statistic, now in ((f"{norm}/moving_mean", mean), (f"{norm}/moving_variance", variance)):
            new[statistic] = moving[statistic] * MOMENTUM + now * (1 - MOMENTUM)
        normal = (layer - mean) * jax.lax.rsqrt(variance + BATCH_NORM_EPSILON) * w[f"{norm}/gamma"] + w[f"{norm}/beta"]
        layer = jax.lax.reduce_window(jax.nn.relu(normal), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    flat = layer.reshape(layer.shape[0], -1)
    return _cross_entropy(flat @ w["logits/kernel"] + w["logits/bias"], x["labels"]), new


def transformer(w: Arrays, x: Arrays, moving: Arrays) -> tuple[Any, Arrays]:
    sizes = transformer_model.Sizes()

    def norm(y: Any, scope: str) -> Any:
        return _layer_norm(y, w[f"{scope}/norm/scale"], w[f"{scope}/norm/shift"], 1e-5)

    def dense(y: Any, scope: str) -> Any:
        return y @ w[f"{scope}/weights"] + w[f"{scope}/bias"]

    table = w["embedding/tokens"]
    y = table[x["tokens"]] + w["embedding/places"]
    heads = (*y.shape[:2], sizes.heads, -1)
    for block in range(sizes.blocks):
        mix, think = f"block_{block}/mix", f"block_{block}/think"
        normal = norm(y, mix)
        query, key, value = (dense(normal, f"{mix}/attention/{name}").reshape(heads) for name in ("query", "key", "value"))
        mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        y = y + dense(mixed.reshape(y.shape), f"{mix}/attention/output")
        inner = jax.nn.gelu(dense(norm(y, think), f"{think}/feed_forward/inner"), approximate=False)
        y = y + dense(inner, f"{think}/feed_forward/outer")
    return _cross_entropy(norm(y, "output") @ table.T, x["targets"]), moving


FORWARD: dict[str, Callable[[Arrays], Any]] = {"softmax": softmax, "layernorm": layernorm, "elementwise": elementwise}
TRAINED = {
    "mlp": Training(mlp, mlp_model.LEARNING_RATE),
    "attention": Training(attention, attention_model.LEARNING_RATE, adam=False),
    "cnn": Training(cnn, cnn_model.LEARNING_RATE),
    "transformer": Training(transformer, transformer_model.Sizes().learning_rate, clip=1.0)}
