"""The built-in models in PyTorch, written as its users would: its own fused functions and optimizers, eagerly or by `torch.compile`.

Loaded by `graphc.peers` when it is first asked for, since it needs the package torch. Functions here take the weights and the feeds by the
names that they have in graphc's graph.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from graphc.models import attention as attention_model
from graphc.models import cnn as cnn_model
from graphc.models import mlp as mlp_model
from graphc.models import transformer as transformer_model

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
Tensors = Mapping[str, Any]
LAYER_NORM_EPSILON, BATCH_NORM_EPSILON = 1e-6, 1e-3


@dataclass(frozen=True)
class Training:
    """What a training step is made of. loss(weights, feeds). adam: whether it is Adam or plain descent. clip: the largest global norm."""

    loss: Callable[[Tensors, Tensors], Any]
    rate: float
    adam: bool = True
    clip: float | None = None


def calls(model: str, feeds: Mapping[str, Array], variables: Mapping[str, Array], threads: int) -> dict[str, Call]:
    """Calls of `model` that begin with these values: "torch", and "torch.compile" whose forward and backward are compiled at its first
    call. Each gives what graphc's fetches give. At most `threads` threads, here and in every other use of torch by this process."""
    torch.set_num_threads(threads)
    inputs = {name: _tensor(value) for name, value in feeds.items()}
    if model in FORWARD:
        return {name: forward_call(function, inputs) for name, function in _both(FORWARD[model])}
    training = TRAINED[model]
    return {name: training_call(training, loss, inputs, variables) for name, loss in _both(training.loss)}


def _both(function: Callable[..., Any]) -> list[tuple[str, Callable[..., Any]]]:
    return [("torch", function), ("torch.compile", torch.compile(function, dynamic=False))]


def forward_call(function: Callable[[Tensors], Any], inputs: Tensors) -> Call:
    """A call of function(inputs) that keeps nothing for gradients."""
    def call() -> Any:
        with torch.inference_mode():
            return function(inputs)
    return call


def training_call(training: Training, loss_of: Callable[[Tensors, Tensors], Any], inputs: Tensors, variables: Mapping[str, Array]) -> Call:
    """A call that does one step and gives the loss before it. `loss_of`: that of `training`, or the same compiled."""
    state = {name: _tensor(value) for name, value in variables.items() if not is_slot(name)}
    weights = [tensor.requires_grad_() for name, tensor in state.items() if "/moving_" not in name]
    kind: Any = torch.optim.Adam if training.adam else torch.optim.SGD
    optimizer = kind(weights, lr=training.rate, fused=True)

    def call() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(state, inputs)
        loss.backward()
        if training.clip is not None:
            torch.nn.utils.clip_grad_norm_(weights, training.clip)
        optimizer.step()
        return float(loss.detach())
    return call


def is_slot(name: str) -> bool:
    """Whether the variable is an optimizer's own: others bring theirs."""
    return "/Adam" in name or name.startswith(("beta1_power", "beta2_power")) or "/beta1_power" in name or "/beta2_power" in name


def _tensor(value: Array) -> Any:
    """A copy in torch's own forms: integers of 64 bits, windows [out, in, height, width]."""
    array = np.transpose(value, (3, 2, 0, 1)) if value.ndim == 4 else value
    tensor = torch.tensor(np.array(array, order="C"))
    return tensor.long() if tensor.dtype == torch.int32 else tensor


# The models ------------------------------------------------------------------------------------------------------------------------------

def softmax(x: Tensors) -> Any:
    return torch.softmax(x["x"], -1)


def layernorm(x: Tensors) -> Any:
    return functional.layer_norm(x["x"], x["x"].shape[-1:], x["scale"], x["shift"], LAYER_NORM_EPSILON)


def elementwise(x: Tensors) -> Any:
    return functional.gelu(x["x"] * x["scale"] + x["shift"])


def mlp(w: Tensors, x: Tensors) -> Any:
    hidden = torch.relu(torch.addmm(w["hidden/bias"], x["images"], w["hidden/kernel"]))
    return functional.cross_entropy(torch.addmm(w["logits/bias"], hidden, w["logits/kernel"]), x["labels"])


def attention(w: Tensors, x: Tensors) -> Any:
    sequences = x["x"]
    query, key, value = (_split(sequences @ w[f"{name}/kernel"], attention_model.HEADS) for name in ("query", "key", "value"))
    mixed = functional.scaled_dot_product_attention(query, key, value)
    y = mixed.transpose(1, 2).reshape(sequences.shape) @ w["output/kernel"] + w["output/bias"]
    return functional.mse_loss(y, sequences)


def _split(projected: Any, heads: int) -> Any:
    """[batch, length, width] -> [batch, heads, length, width / heads]."""
    batch, length, _ = projected.shape
    return projected.view(batch, length, heads, -1).transpose(1, 2)


def cnn(w: Tensors, x: Tensors) -> Any:
    layer = x["images"].view(-1, 1, 8, 8)
    for suffix in ("", "_1"):
        norm = f"batch_normalization{suffix}"
        layer = functional.conv2d(layer, w[f"conv2d{suffix}/kernel"], padding="same")
        layer = torch.relu(functional.batch_norm(layer, w[f"{norm}/moving_mean"], w[f"{norm}/moving_variance"], w[f"{norm}/gamma"],
                                                 w[f"{norm}/beta"], training=True, momentum=0.1, eps=BATCH_NORM_EPSILON))
        layer = functional.max_pool2d(layer, 2)
    flat = layer.permute(0, 2, 3, 1).flatten(1)
    return functional.cross_entropy(torch.addmm(w["logits/bias"], flat, w["logits/kernel"]), x["labels"])


def transformer(w: Tensors, x: Tensors) -> Any:
    sizes = transformer_model.Sizes()

    def norm(y: Any, scope: str) -> Any:
        return functional.layer_norm(y, y.shape[-1:], w[f"{scope}/norm/scale"], w[f"{scope}/norm/shift"], 1e-5)

    def dense(y: Any, scope: str) -> Any:
        return y @ w[f"{scope}/weights"] + w[f"{scope}/bias"]

    table = w["embedding/tokens"]
    y = functional.embedding(x["tokens"], table) + w["embedding/places"]
    for block in range(sizes.blocks):
        mix, think = f"block_{block}/mix", f"block_{block}/think"
        normal = norm(y, mix)
        query, key, value = (_split(dense(normal, f"{mix}/attention/{name}"), sizes.heads) for name in ("query", "key", "value"))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        y = y + dense(mixed.transpose(1, 2).reshape(y.shape), f"{mix}/attention/output")
        inner = functional.gelu(dense(norm(y, think), f"{think}/feed_forward/inner"))
        y = y + dense(inner, f"{think}/feed_forward/outer")
    logits = norm(y, "output") @ table.T
    return functional.cross_entropy(logits.flatten(0, 1), x["targets"].flatten())


FORWARD: dict[str, Callable[[Tensors], Any]] = {"softmax": softmax, "layernorm": layernorm, "elementwise": elementwise}
TRAINED = {
    "mlp": Training(mlp, mlp_model.LEARNING_RATE),
    "attention": Training(attention, attention_model.LEARNING_RATE, adam=False),
    "cnn": Training(cnn, cnn_model.LEARNING_RATE),
    "transformer": Training(transformer, transformer_model.Sizes().learning_rate, clip=1.0)}
