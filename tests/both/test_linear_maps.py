"""Householder and low-rank maps beside dense matrices."""

import numpy as np
import pytest

from flowkit_core import recipes as r
from tests.both.test_identity import awkward_points
from tests.cases import arrays_for, points_for
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())

D = 4
THIN = r.compose(r.low_rank_linear(D, rank=2), r.householder_linear(D, num_reflections=6))


@every_wing
def test_they_start_as_the_identity_to_the_last_digit(wing):
    z = awkward_points(D, np.float32)
    flow = wing.fresh(THIN, np.float32)
    for method in ("forward_and_log_det", "inverse_and_log_det"):
        values, log_det = wing.call(flow, method, z, None)
        np.testing.assert_array_equal(values, z)
        np.testing.assert_array_equal(log_det, np.zeros(len(z)))


def dense(wing, flow):
    """W and b of ``x = W z + b``."""
    x, _ = wing.call(flow, "forward_and_log_det", np.eye(D), None)
    shift, _ = wing.call(flow, "forward_and_log_det", np.zeros(D), None)
    return (x - shift).T, shift


def test_householder_is_a_product_of_reflections():
    spec = r.householder_linear(D, num_reflections=4)
    arrays = arrays_for(spec)
    expected = np.eye(D)
    for k, free in enumerate(arrays["reflections"]):
        v = free + np.eye(D)[k // 2]
        expected = expected @ (np.eye(D) - 2 * np.outer(v, v) / (v @ v))
    matrix, shift = dense(WINGS["pyro"], WINGS["pyro"].build(spec, arrays))
    np.testing.assert_allclose(matrix, expected, atol=1e-13)
    np.testing.assert_allclose(shift, arrays["shift"])


@every_wing
def test_a_reflection_by_nothing_is_none(wing):
    """A vector of zeros, which has no direction."""
    spec = r.householder_linear(D, num_reflections=2)
    arrays = {"reflections": np.zeros((2, D)), "shift": np.zeros(D)}
    arrays["reflections"][0, 0] = -1
    z, _ = points_for(spec)
    x, log_det = wing.call(wing.build(spec, arrays), "forward_and_log_det", z, None)
    np.testing.assert_allclose(x, z * [-1, 1, 1, 1], atol=1e-15)
    np.testing.assert_array_equal(log_det, np.zeros(len(z)))


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_low_rank_is_that_and_has_the_core_as_its_determinant(rank):
    spec = r.low_rank_linear(D, rank=rank)
    arrays = arrays_for(spec)
    matrix, _ = dense(WINGS["pyro"], WINGS["pyro"].build(spec, arrays))
    rest = np.exp(-arrays["log_diagonal"])[:, None] * matrix - np.eye(D)
    assert np.linalg.matrix_rank(rest, tol=1e-10) <= rank
    sign, log_det = np.linalg.slogdet(np.eye(D) + rest)
    assert sign == 1
    np.testing.assert_allclose(log_det, arrays["log_core"].sum(), rtol=1e-11)
