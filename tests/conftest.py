"""What every test shares: a cache of its own, a fresh default graph, the three vector widths, and hypothesis without wall-clock limits."""
from __future__ import annotations

import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from graphc.codegen.llvm.target import VECTOR_BITS, Target, available
from graphc.core.graph import reset_default_graph
from graphc.runtime.cuda import detect

# The first example compiles for milliseconds, the next takes microseconds: a time limit on one would only be flaky.
settings.register_profile("graphc", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("explore", settings.get_profile("graphc"), derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "graphc"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the texts in tests/golden anew instead of comparing with them")


def pytest_configure(config: pytest.Config) -> None:
    """Machine code compiled by tests never meets the user's own cache; the workers of pytest-xdist inherit the same folder.

    Tests of a real GPU run where they are asked for (`-m gpu`), and then there must be one: they never pass by being skipped.
    """
    if not hasattr(config, "workerinput"):
        os.environ["GRAPHC_CACHE_DIR"] = tempfile.mkdtemp(prefix="graphc-test-cache-")
    if config.option.markexpr == "gpu" and (problem := detect.problem()):
        raise pytest.UsageError(f"-m gpu: {problem}")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop("GRAPHC_CACHE_DIR"), ignore_errors=True)


@pytest.fixture(autouse=True)
def _fresh_default_graph() -> None:
    reset_default_graph()


@pytest.fixture(params=VECTOR_BITS, ids=lambda bits: f"{bits}bit")
def target(request: pytest.FixtureRequest) -> Target:
    """Each vector width that this machine can run, as a Target."""
    found = [t for t in available() if t.vector_bits == request.param]
    if not found:
        pytest.skip(f"this machine has no {request.param}-bit vectors")
    return found[0]


@pytest.fixture
def vector_bits(target: Target, monkeypatch: pytest.MonkeyPatch) -> int:
    """Each vector width that this machine can run, set for whatever compiles during the test."""
    monkeypatch.setenv("GRAPHC_VECTOR_BITS", str(target.vector_bits))
    return target.vector_bits
