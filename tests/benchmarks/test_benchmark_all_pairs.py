"""Benchmark of the aggregated posterior: its ways agree, its table marks what is missed."""

import numpy as np
import pytest

from benchmarks import all_pairs
from benchmarks.sections import all_pairs as section

TINY = {"num_data": 200, "dim": 3, "num_chunks": 2}


@pytest.mark.parametrize("kind", all_pairs.KINDS)
def test_both_ways_compute_the_same(kind):
    arrays = all_pairs.problem(kind, 200, 3)
    exact = all_pairs._exactly(*arrays, np.arange(40))
    ours, broadcast, _ = all_pairs._torch(*arrays, gradient=False)
    np.testing.assert_allclose(ours()[:40], exact, atol=1e-5)
    by_chunks = np.concatenate([broadcast(slice(0, 20)), broadcast(slice(20, 40))])
    np.testing.assert_allclose(by_chunks, exact, atol=1e-3)


@pytest.mark.parametrize(("library", "gradient"), [
    ("pyro_flowkit", False), ("pyro_flowkit", True), ("numpyro_flowkit", False)
])  # fmt: skip
def test_a_tiny_run_has_every_figure(library, gradient):
    found = all_pairs.measure(library, "easy", **TINY, gradient=gradient, exact_rows=20)
    assert {"ours", "broadcast", "product", "gflops", "product_gflops", "bytes"} <= set(found)
    assert ("error" in found) is not gradient
    if not gradient:
        assert found["error"] < 1e-5


def test_the_table_marks_what_misses_its_bar():
    good = {"ours": 1.0, "broadcast": 100.0, "error": 1e-6, "bytes": 2**20,
            "gflops": 5.0, "product_gflops": 10.0}  # fmt: skip
    labels = {"backend": "torch", "kind": "easy", "gradient": False, "num_data": 5}
    cells = [
        {**labels, "found": good},
        {**labels, "found": {**good, "broadcast": 10.0, "error": 1e-4}},
        {**labels, "found": {"failed": "killed"}},
    ]
    lines = section.render(cells)
    assert "**" not in lines[2]
    assert "**10" in lines[3]
    assert "**1.0e-04**" in lines[3]
    assert "killed" in lines[4]
