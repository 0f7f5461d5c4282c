"""The computations of `benchmarks/gpu.py` by others on the same GPU: PyTorch eagerly and by torch.compile, JAX jitted.

Stands outside the package. A function here gives {peer: call without arguments}; operands stay on the device, and a call returns when the
device is done, as `Session.run` does. Importing this module needs none of them; those that are missing are left out.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.peers import Calls, Floats, functional, jax, jnp, torch

_EPSILON = 1e-6


def has_torch() -> bool:
    return torch is not None and torch.cuda.is_available()


def has_jax() -> bool:
    return jax is not None and any(device.platform == "gpu" for device in jax.devices())


def versions() -> dict[str, str]:
    """The peers that can use the GPU."""
    return {name: module.__version__ for name, module, here in (("torch", torch, has_torch()), ("jax", jax, has_jax())) if here}


def working(calls: Calls) -> Calls:
    """Those that run here, started once. One that fails (torch.compile wants a C compiler) is left out, and said."""
    found: Calls = {}
    for name, call in calls.items():
        try:
            call()
        except Exception as error:
            print(f"{name} is left out: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}", file=sys.stderr)
        else:
            found[name] = call
    return found


def _functions(torch_function: Callable[..., Any] | None, jax_function: Callable[..., Any] | None, arrays: Sequence[Any],
               dtype: str = "float32") -> Calls:
    """A pure function of arrays, given to it in `dtype`, eager and compiled."""
    calls: Calls = {}
    if torch_function is not None and has_torch():
        tensors = [torch.from_numpy(array).cuda().to(getattr(torch, dtype)) for array in arrays]
        for name, function in (("torch", torch_function), ("torch.compile", torch.compile(torch_function))):
            calls[name] = _synchronised(function, tensors)
    if jax_function is not None and has_jax():
        jitted, on_device = jax.jit(jax_function), [jnp.asarray(array, dtype) for array in arrays]
        calls["jax"] = lambda: jax.block_until_ready(jitted(*on_device))
    return calls


def _synchronised(function: Callable[..., Any], tensors: Sequence[Any]) -> Callable[[], object]:
    def call() -> None:
        with torch.no_grad():
            function(*tensors)
        torch.cuda.synchronize()
    return call


def copy(x: Floats) -> Calls:
    """x to another place on the device: the limit of everything that reads and writes as much."""
    if not has_torch():
        return {}
    source = torch.from_numpy(x).cuda()
    target = torch.empty_like(source)

    def call() -> None:
        target.copy_(source)
        torch.cuda.synchronize()
    return {"copy": call}


def softmax(x: Floats) -> Calls:
    """Over the last axis."""
    return _functions(lambda t: torch.softmax(t, -1), lambda t: jax.nn.softmax(t), [x])


def layer_norm(x: Floats, scale: Floats, shift: Floats) -> Calls:
    """Over the last axis."""
    def by_jax(t: Any, a: Any, b: Any) -> Any:
        centred = t - jnp.mean(t, -1, keepdims=True)
        return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + _EPSILON) * a + b
    return _functions(lambda t, a, b: functional.layer_norm(t, t.shape[-1:], a, b, _EPSILON), by_jax, [x, scale, shift])


def scale_shift_gelu(x: Floats, scale: Floats, shift: Floats) -> Calls:
    """gelu(x * scale + shift), with erf."""
    return _functions(lambda t, a, b: functional.gelu(t * a + b), lambda t, a, b: jax.nn.gelu(t * a + b, approximate=False),
                      [x, scale, shift])


def total(x: Floats) -> Calls:
    """The sum of everything."""
    return _functions(lambda t: torch.sum(t), lambda t: jnp.sum(t), [x])


def transpose(x: Floats) -> Calls:
    return _functions(lambda t: t.t().contiguous(), None, [x])


def product(a: Floats, b: Floats, bias: Floats, dtype: str, tfloat32: bool) -> Calls:
    """gelu(a @ b + bias) by tanh in `dtype` ("float32", "bfloat16", "float16"); `tfloat32` lets float32 operands be rounded."""
    def by_torch(s: Any, t: Any, u: Any) -> Any:
        torch.backends.cuda.matmul.allow_tf32 = tfloat32
        return functional.gelu(torch.addmm(u, s, t), approximate="tanh")

    def by_jax(s: Any, t: Any, u: Any) -> Any:
        precision = "tensorfloat32" if tfloat32 else "highest"
        return jax.nn.gelu(jnp.matmul(s, t, precision=precision) + u, approximate=True)

    return _functions(by_torch, by_jax, [a, b, bias], dtype)


def training_step(forward: Callable[..., Any], jax_forward: Callable[..., Any], weights: Sequence[Floats], inputs: Sequence[Any],
                  rate: float) -> Calls:
    """One step of Adam on loss = forward(weights, *inputs), eager (fused Adam), compiled (forward and backward), jitted (all of it)."""
    calls: Calls = {}
    if has_torch():
        tensors = [torch.from_numpy(array).cuda() for array in inputs]
        for name, loss_of in (("torch", forward), ("torch.compile", torch.compile(forward))):
            calls[name] = _torch_step(loss_of, weights, tensors, rate)
    if has_jax():
        calls["jax"] = _jax_step(jax_forward, weights, inputs, rate)
    return calls


def _torch_step(loss_of: Callable[..., Any], weights: Sequence[Floats], tensors: Sequence[Any], rate: float) -> Callable[[], object]:
    parameters = [torch.tensor(weight, device="cuda", requires_grad=True) for weight in weights]
    optimizer = torch.optim.Adam(parameters, lr=rate, fused=True)

    def call() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(parameters, *tensors)
        loss.backward()
        optimizer.step()
        return float(loss.detach())
    return call


def _jax_step(loss_of: Callable[..., Any], weights: Sequence[Floats], inputs: Sequence[Any], rate: float) -> Callable[[], object]:
    def step(state: Any, *arrays: Any) -> Any:
        parameters, means, variances, count = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, *arrays)
        count = count + 1
        size = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        means = [m + (g - m) * 0.1 for m, g in zip(means, gradients, strict=True)]
        variances = [v + (g * g - v) * 0.001 for v, g in zip(variances, gradients, strict=True)]
        parameters = [w - size * m / (jnp.sqrt(v) + 1e-8) for w, m, v in zip(parameters, means, variances, strict=True)]
        return loss, (parameters, means, variances, count)

    jitted = jax.jit(step, donate_argnums=0)
    zeros = [np.zeros_like(weight) for weight in weights]
    state = jax.device_put(([*weights], zeros, [zero.copy() for zero in zeros], np.float32(0)))
    on_device = [jnp.asarray(array) for array in inputs]

    def call() -> float:
        nonlocal state
        loss, state = jitted(state, *on_device)
        return float(loss)
    return call


# The models of the training steps: graphc's are in `gpu.py`, in its own words -------------------------------------------------------------

def torch_mlp(weights: Sequence[Any], x: Any, labels: Any) -> Any:
    w1, b1, w2, b2, w3, b3 = weights
    hidden = torch.relu(torch.addmm(b2, torch.relu(torch.addmm(b1, x, w1)), w2))
    return functional.cross_entropy(torch.addmm(b3, hidden, w3), labels)


def jax_mlp(weights: Sequence[Any], x: Any, labels: Any) -> Any:
    w1, b1, w2, b2, w3, b3 = weights
    hidden = jax.nn.relu(jax.nn.relu(x @ w1 + b1) @ w2 + b2)
    scores = jax.nn.log_softmax(hidden @ w3 + b3)
    return -jnp.mean(jnp.take_along_axis(scores, labels[:, None], 1))


def torch_transformer(heads: int) -> Callable[..., Any]:
    """A block of attention and a perceptron, each after a layer norm and beside a residual; the loss is the mean square."""
    def loss_of(weights: Sequence[Any], x: Any) -> Any:
        wq, wk, wv, wo, g1, s1, g2, s2, w1, b1, w2, b2 = weights
        batch, length, width = x.shape
        y = functional.layer_norm(x, (width,), g1, s1)
        query, key, value = ((y @ w).view(batch, length, heads, -1).transpose(1, 2) for w in (wq, wk, wv))
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, length, width)
        x1 = x + mixed @ wo
        z = functional.layer_norm(x1, (width,), g2, s2)
        return torch.mean(torch.square(x1 + functional.gelu(z @ w1 + b1, approximate="tanh") @ w2 + b2))
    return loss_of


def jax_transformer(heads: int) -> Callable[..., Any]:
    """As `torch_transformer`."""
    def norm(x: Any, scale: Any, shift: Any) -> Any:
        centred = x - jnp.mean(x, -1, keepdims=True)
        return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + 1e-5) * scale + shift

    def loss_of(weights: Sequence[Any], x: Any) -> Any:
        wq, wk, wv, wo, g1, s1, g2, s2, w1, b1, w2, b2 = weights
        batch, length, width = x.shape
        y = norm(x, g1, s1)
        query, key, value = ((y @ w).reshape(batch, length, heads, -1) for w in (wq, wk, wv))
        x1 = x + jax.nn.dot_product_attention(query, key, value).reshape(batch, length, width) @ wo
        z = norm(x1, g2, s2)
        return jnp.mean(jnp.square(x1 + jax.nn.gelu(z @ w1 + b1, approximate=True) @ w2 + b2))
    return loss_of
