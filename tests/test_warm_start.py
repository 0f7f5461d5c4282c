"""The second process compiles nothing: it finds every object file in the cache, and computes the same bits."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import graphc as gc
from graphc.codegen.llvm import cache

TRAIN = """
import json
import numpy as np
import graphc as gc
from graphc.codegen.llvm import cache

gc.get_default_graph().seed = 1
x, labels = gc.placeholder(gc.float32, [None, 8]), gc.placeholder(gc.int32, [None])
logits = gc.layers.dense(gc.layers.dense(x, 16, activation=gc.nn.relu), 3)
loss = gc.reduce_mean(gc.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
train = gc.train.AdamOptimizer(0.01).minimize(loss)
session = gc.Session()
session.run(gc.global_variables_initializer())
rows = np.arange(32, dtype=np.float32).reshape(4, 8) / 32
losses = [float(session.run([loss, train], {x: rows, labels: np.array([0, 1, 2, 0], np.int32)})[0]) for _ in range(3)]
counted = cache.stats()
print(json.dumps({"compiled": counted.compiled, "from disk": counted.disk_hits, "losses": [each.hex() for each in losses]}))
"""


def run_in_a_new_process(folder: Path) -> Any:
    """What TRAIN prints; in a shell that has the same packages and this cache folder."""
    environment = {**os.environ, "GRAPHC_CACHE_DIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    return json.loads(subprocess.run([sys.executable, "-c", TRAIN], env=environment, capture_output=True, text=True, check=True).stdout)


def test_the_second_process_compiles_nothing(tmp_path: Path) -> None:
    cold = run_in_a_new_process(tmp_path)
    warm = run_in_a_new_process(tmp_path)
    assert cold["compiled"] > 5
    assert (warm["compiled"], warm["from disk"]) == (0, cold["compiled"])
    assert warm["losses"] == cold["losses"]


def test_a_new_session_compiles_nothing() -> None:
    x = gc.placeholder(gc.float32, [7, 13])
    y = gc.nn.softmax(x * 3.0)
    first = gc.Session().compile(y, [x])
    before = cache.stats().compiled
    second = gc.Session().compile(y, [x])
    assert cache.stats().compiled == before
    assert second.objects_from["compiled"] == 0
    assert second.objects == first.objects


def test_an_equal_graph_under_other_names_compiles_nothing() -> None:
    def declared(name: str) -> int:
        with gc.Graph().as_default(), gc.name_scope(name):
            x = gc.placeholder(gc.float32, [5, 11])
            return gc.Session().compile(gc.reduce_sum(gc.exp(x), axis=1), [x]).objects_from["compiled"]

    assert declared("first") > 0
    assert declared("second") == 0
