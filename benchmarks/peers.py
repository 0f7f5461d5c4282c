"""The same computations by others: numpy always, PyTorch and JAX where they are installed.

Stands outside the package; `benchmarks/run.py` runs these in turns with graphc. A function here gives {peer: call without arguments};
a call returns when the result is there, and first calls may compile. PyTorch runs its fused kernels where it has one call for the job, and
`inference_mode`; JAX runs one jitted function.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

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


def _calls(numpy_call: Callable[[], object], torch_function: Callable[..., object], jax_function: Callable[..., object],
           arrays: Sequence[Floats]) -> Calls:
    calls: Calls = {"numpy": numpy_call}
    if torch is not None:
        tensors = [torch.from_numpy(a) for a in arrays]

        def run_torch() -> object:
            with torch.inference_mode():
                return torch_function(*tensors)
        calls["torch"] = run_torch
    if jax is not None:
        jitted, on_device = jax.jit(jax_function), [jnp.asarray(a) for a in arrays]
        calls["jax"] = lambda: jitted(*on_device).block_until_ready()
    return calls


def softmax(x: Floats) -> Calls:
    """Over the last axis."""
    def by_numpy() -> Floats:
        y = x - x.max(axis=-1, keepdims=True)
        np.exp(y, out=y)
        y /= y.sum(axis=-1, keepdims=True)
        return y
    return _calls(by_numpy, lambda t: torch.softmax(t, -1), lambda t: jax.nn.softmax(t), [x])


def layer_norm(x: Floats, scale: Floats, shift: Floats) -> Calls:
    """Over the last axis."""
    def by_numpy() -> Floats:
        y = x - x.mean(axis=-1, keepdims=True)
        y *= (np.mean(np.square(y), axis=-1, keepdims=True) + _EPSILON) ** -0.5
        y *= scale
        y += shift
        return y

    def by_jax(t: object, a: object, b: object) -> object:
        centred = t - jnp.mean(t, -1, keepdims=True)
        return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + _EPSILON) * a + b
    return _calls(by_numpy, lambda t, a, b: functional.layer_norm(t, t.shape[-1:], a, b, float(_EPSILON)), by_jax, [x, scale, shift])


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
    return _calls(by_numpy, lambda t, a, b: functional.gelu(t * a + b), lambda t, a, b: jax.nn.gelu(t * a + b, approximate=False),
                  [x, scale, shift])


def product(a: Floats, b: Floats, bias: Floats, gelu: bool) -> Calls:
    """a @ b + bias, and gelu of it where asked."""
    def by_numpy() -> Floats:
        y: Floats = np.matmul(a, b)
        y += bias
        return _numpy_gelu(y) if gelu else y

    def by_torch(s: object, t: object, u: object) -> object:
        y = torch.addmm(u, s, t)
        return functional.gelu(y) if gelu else y

    def by_jax(s: object, t: object, u: object) -> object:
        y = s @ t + u
        return jax.nn.gelu(y, approximate=False) if gelu else y
    return _calls(by_numpy, by_torch, by_jax, [a, b, bias])


def mlp_step(weights: Sequence[Floats], images: Floats, labels: NDArray[np.int64], rate: float) -> Calls:
    """One training step of the demo's perceptron with Adam (numpy's is `graphc.models.mlp_by_hand`, added by the caller)."""
    calls: Calls = {}
    if torch is not None:
        parameters = [torch.tensor(w, requires_grad=True) for w in weights]
        optimizer = torch.optim.Adam(parameters, lr=rate, fused=True)
        batch, answers = torch.from_numpy(images), torch.from_numpy(labels)

        def by_torch() -> float:
            w1, b1, w2, b2 = parameters
            optimizer.zero_grad()
            logits = torch.addmm(b2, torch.relu(torch.addmm(b1, batch, w1)), w2)
            loss = functional.cross_entropy(logits, answers)
            loss.backward()
            optimizer.step()
            return float(loss.detach())
        calls["torch"] = by_torch
    if jax is not None:
        calls["jax"] = _jax_step(weights, images, labels, rate)
    return calls


def attention_step(x: Floats, heads: int, rate: float) -> Calls:
    """One step of gradient descent of `graphc.models.attention`: the layer learns to reproduce its input."""
    batch, length, width = x.shape
    random = np.random.default_rng(0)
    weights = [*(0.1 * random.standard_normal((4, width, width), np.float32)), np.zeros(width, np.float32)]
    calls: Calls = {}
    if torch is not None:
        parameters = [torch.tensor(w, requires_grad=True) for w in weights]
        optimizer = torch.optim.SGD(parameters, lr=rate)
        sequences = torch.from_numpy(x)

        def by_torch() -> float:
            wq, wk, wv, wo, bias = parameters
            optimizer.zero_grad()
            query, key, value = ((sequences @ w).view(batch, length, heads, -1).transpose(1, 2) for w in (wq, wk, wv))
            mixed = functional.scaled_dot_product_attention(query, key, value)
            y = mixed.transpose(1, 2).reshape(batch, length, width) @ wo + bias
            loss = functional.mse_loss(y, sequences)
            loss.backward()
            optimizer.step()
            return float(loss.detach())
        calls["torch"] = by_torch
    if jax is not None:
        def loss_of(parameters: Sequence[object], t: object) -> object:
            wq, wk, wv, wo, bias = parameters
            query, key, value = ((t @ w).reshape(batch, length, heads, -1) for w in (wq, wk, wv))
            mixed = jax.nn.dot_product_attention(query, key, value).reshape(batch, length, width)
            return jnp.mean(jnp.square(mixed @ wo + bias - t))

        def step(parameters: Sequence[object], t: object) -> tuple[object, Sequence[object]]:
            loss, gradients = jax.value_and_grad(loss_of)(parameters, t)
            return loss, [w - rate * g for w, g in zip(parameters, gradients, strict=True)]
        calls["jax"] = _stepping(jax.jit(step, donate_argnums=0), jax.device_put(weights), jnp.asarray(x))
    return calls


def _stepping(step: Callable[..., tuple[object, object]], state: object, *arguments: object) -> Callable[[], object]:
    """A call that hands its new state to the next one and waits for the loss."""
    def call() -> float:
        nonlocal state
        loss, state = step(state, *arguments)
        return float(loss)
    return call


def _jax_step(weights: Sequence[Floats], images: Floats, labels: NDArray[np.int64], rate: float) -> Callable[[], object]:
    def loss_of(parameters: Sequence[object], x: object, y: object) -> object:
        w1, b1, w2, b2 = parameters
        scores = jax.nn.log_softmax(jax.nn.relu(x @ w1 + b1) @ w2 + b2)
        return -jnp.mean(jnp.take_along_axis(scores, y[:, None], 1))

    def step(state: tuple[object, ...], x: object, y: object) -> tuple[object, tuple[object, ...]]:
        parameters, means, variances, count = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, y)
        count = count + 1
        size = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        means = [m + (g - m) * 0.1 for m, g in zip(means, gradients, strict=True)]
        variances = [v + (g * g - v) * 0.001 for v, g in zip(variances, gradients, strict=True)]
        parameters = [w - size * m / (jnp.sqrt(v) + 1e-8) for w, m, v in zip(parameters, means, variances, strict=True)]
        return loss, (parameters, means, variances, count)

    jitted = jax.jit(step, donate_argnums=0)
    zeros = [np.zeros_like(w) for w in weights]
    state = jax.device_put(([*weights], zeros, [z.copy() for z in zeros], np.float32(0)))
    return _stepping(jitted, state, jnp.asarray(images), jnp.asarray(labels))
