"""The same computations by others: numpy always, PyTorch and JAX where they are installed.

Stands outside the package; `benchmarks/run.py` runs these in turns with graphc. A function here gives {peer: call without arguments};
a call returns when the result is there, and first calls may compile. What PyTorch and JAX make of the built-in models is the package's own,
`graphc.peers`, which `graphc bench --against` runs too; numpy's and the products' stand here.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from graphc.peers import module_of

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = functional = None
try:
    import jax
    from jax import numpy as jnp
except ImportError:
    jax = jnp = None

Floats = NDArray[np.float32]
Calls = dict[str, Callable[[], object]]
_EPSILON = np.float32(1e-6)


def versions() -> dict[str, str]:
    """The peers that are here."""
    found = {"numpy": np.__version__}
    if torch is not None:
        found["torch"] = torch.__version__
    if jax is not None:
        found["jax"] = jax.__version__
    return found


def use_threads(count: int) -> None:
    """Tells the peers that can be told. (JAX takes the cores that the process may run on.)"""
    if torch is not None:
        torch.set_num_threads(count)


def _others(model: str, feeds: Mapping[str, Any], variables: Mapping[str, Any] | None = None) -> Calls:
    """PyTorch, eagerly, and JAX on a built-in model, where they are installed."""
    cores = len(os.sched_getaffinity(0))
    calls: Calls = {}
    for package, here in (("torch", torch), ("jax", jax)):
        if here is not None:
            calls[package] = module_of(package).calls(model, feeds, variables or {}, cores)[package]
    return calls


def softmax(x: Floats) -> Calls:
    """Over the last axis."""
    def by_numpy() -> Floats:
        y = x - x.max(axis=-1, keepdims=True)
        np.exp(y, out=y)
        y /= y.sum(axis=-1, keepdims=True)
        return y
    return {"numpy": by_numpy, **_others("softmax", {"x": x})}


def layer_norm(x: Floats, scale: Floats, shift: Floats) -> Calls:
    """Over the last axis."""
    def by_numpy() -> Floats:
        y = x - x.mean(axis=-1, keepdims=True)
        y *= (np.mean(np.square(y), axis=-1, keepdims=True) + _EPSILON) ** -0.5
        y *= scale
        y += shift
        return y
    return {"numpy": by_numpy, **_others("layernorm", {"x": x, "scale": scale, "shift": shift})}


def _numpy_gelu(y: Floats) -> Floats:
    """y Phi(y), in place."""
    phi = special.erf(y * np.float32(0.5**0.5))
    phi += 1
    phi *= 0.5
    y *= phi
    return y


def scale_shift_gelu(x: Floats, scale: Floats, shift: Floats) -> Calls:
    """gelu(x * scale + shift), with erf."""
    def by_numpy() -> Floats:
        y = x * scale
        y += shift
        return _numpy_gelu(y)
    return {"numpy": by_numpy, **_others("elementwise", {"x": x, "scale": scale, "shift": shift})}


def product(a: Floats, b: Floats, bias: Floats, gelu: bool) -> Calls:
    """a @ b + bias, and gelu of it where asked."""
    def by_numpy() -> Floats:
        y: Floats = np.matmul(a, b)
        y += bias
        return _numpy_gelu(y) if gelu else y

    def by_torch(x: Any) -> Any:
        y = torch.addmm(x["bias"], x["a"], x["b"])
        return functional.gelu(y) if gelu else y

    def by_jax(x: Any) -> Any:
        y = x["a"] @ x["b"] + x["bias"]
        return jax.nn.gelu(y, approximate=False) if gelu else y

    calls: Calls = {"numpy": by_numpy}
    arrays = {"a": a, "b": b, "bias": bias}
    if torch is not None:
        calls["torch"] = module_of("torch").forward_call(by_torch, {name: torch.from_numpy(array) for name, array in arrays.items()})
    if jax is not None:
        calls["jax"] = module_of("jax").forward_call(by_jax, {name: jnp.asarray(array) for name, array in arrays.items()})
    return calls


def mlp_step(weights: Sequence[Floats], images: Floats, labels: NDArray[np.int64]) -> Calls:
    """One training step of `graphc.models.mlp` (numpy's is `graphc.models.mlp_by_hand`, added by the caller)."""
    names = ("hidden/kernel", "hidden/bias", "logits/kernel", "logits/bias")
    return _others("mlp", {"images": images, "labels": labels}, dict(zip(names, weights, strict=True)))


def attention_step(x: Floats) -> Calls:
    """One step of gradient descent of `graphc.models.attention`: the layer learns to reproduce its input."""
    width = x.shape[-1]
    kernels = 0.1 * np.random.default_rng(0).standard_normal((4, width, width), np.float32)
    variables = {f"{name}/kernel": kernel for name, kernel in zip(("query", "key", "value", "output"), kernels, strict=True)}
    return _others("attention", {"x": x}, {**variables, "output/bias": np.zeros(width, np.float32)})
