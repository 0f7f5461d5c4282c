"""Views that must stand in memory: fetched, assigned, or read by a product without strides. They end their values' kernel."""
from __future__ import annotations

import numpy as np
import pytest

import graphc as gc


def _kernels(fetches: list[gc.Tensor], feeds: dict[gc.Tensor, np.ndarray]) -> list[str]:
    with gc.Session() as sess:
        return [kernel.name.split("_")[1] for kernel in sess.compile(fetches, feeds).kernels]


@pytest.mark.parametrize("pipeline", ["default", "unfused", "none"])
def test_a_transposed_product_beside_a_variable_updated_in_place(pipeline: str) -> None:
    """The product's kernel stores its values twice, once transposed: neither store may touch what the other still reads."""
    x, y = gc.placeholder(gc.float64, [6, 7]), gc.placeholder(gc.float64, [7, 5])
    plain, turned = gc.Variable(np.ones((6, 5)), name="plain"), gc.Variable(np.ones((5, 6)), name="turned")
    product = gc.matmul(x, y)
    updates = [plain.assign(plain + product), turned.assign(gc.transpose(product))]
    generator = np.random.default_rng(0)
    feeds = {x: generator.standard_normal((6, 7)), y: generator.standard_normal((7, 5))}
    want = feeds[x] @ feeds[y]
    with gc.Session(config=gc.ConfigProto(pipeline=pipeline)) as sess:
        sess.run(gc.global_variables_initializer())
        for times in (1, 2):
            transposed, *_ = sess.run([gc.transpose(product), *updates], feeds)
            np.testing.assert_allclose(transposed, want.T, rtol=1e-12)
            np.testing.assert_allclose(sess.run(plain), 1 + times * want, rtol=1e-12)
            np.testing.assert_allclose(sess.run(turned), want.T, rtol=1e-12)


def test_a_fetched_transpose_ends_the_kernel_of_its_values() -> None:
    x, y = gc.placeholder(gc.float32, [40, 30]), gc.placeholder(gc.float32, [30, 20])
    feeds = {x: np.ones((40, 30), np.float32), y: np.ones((30, 20), np.float32)}
    assert _kernels([gc.transpose(gc.matmul(x, y))], feeds) == ["dot"]
    assert _kernels([gc.transpose(gc.exp(x))], {x: feeds[x]}) == ["loop"]


def test_a_product_is_computed_once_for_its_value_and_its_transpose() -> None:
    x = gc.placeholder(gc.float32, [40, 40])
    product = gc.matmul(x, x)
    assert _kernels([gc.exp(product), gc.transpose(product)], {x: np.eye(40, dtype=np.float32)}).count("dot") == 1


def test_heads_are_stored_in_the_order_in_which_the_next_product_reads_them() -> None:
    """reshape(transpose(product)) has no strides: the first product stores transposed, and the second has no division in its indices."""
    batch, heads, length, depth = 2, 3, 5, 4
    x = gc.placeholder(gc.float64, [batch, heads, length, depth])
    y = gc.placeholder(gc.float64, [batch, heads, depth, depth])
    w = gc.placeholder(gc.float64, [heads * depth, 6])
    mixed = gc.transpose(gc.matmul(x, y), [0, 2, 1, 3])
    out = gc.matmul(gc.reshape(mixed, [batch * length, heads * depth]), w)
    generator = np.random.default_rng(1)
    feeds = {p: generator.standard_normal([int(d) for d in p.shape]) for p in (x, y, w)}
    with gc.Session() as sess:
        executable = sess.compile(out, feeds)
        assert [kernel.name.split("_")[1] for kernel in executable.kernels] == ["dot", "dot"]
        assert " times x1[k, j]" in executable.kernels[1].text
        assert " x0[i, k] times" in executable.kernels[1].text
        want = np.moveaxis(feeds[x] @ feeds[y], 1, 2).reshape(batch * length, heads * depth) @ feeds[w]
        np.testing.assert_allclose(sess.run(out, feeds), want, rtol=1e-12)
