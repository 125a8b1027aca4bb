"""Multi-scale flows of images: maps, log-determinants, scores, in both wings."""

import numpy as np
import pytest

from tests.cases import CASES, arrays_for, points_for
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())
MULTI_SCALE = ("glow_context", "realnvp_image")


def density_score(wing, spec, z, context):
    """What a flow makes of z: x, log-determinant and score, and the way back."""
    flow = wing.build(spec, arrays_for(spec))
    forward = wing.call(flow, "forward_and_score", z, -z, context)
    return flow, forward, wing.call(flow, "inverse_and_log_det", forward[0], context)


@pytest.mark.parametrize("case", MULTI_SCALE)
def test_a_multi_scale_flow_is_what_autodiff_and_the_other_wing_say(case):
    spec = CASES[case]
    z, context = points_for(spec, (3,))
    flow, (x, log_det, score), (back, inverse_log_det) = density_score(
        WINGS["pyro"], spec, z, context
    )
    np.testing.assert_allclose(back, z, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-9, atol=1e-9)
    expected = WINGS["pyro"].log_det_by_autodiff(flow, "forward_and_log_det", z, context)
    np.testing.assert_allclose(log_det, expected, rtol=1e-8, atol=1e-8)
    by_autodiff = WINGS["pyro"].score_by_autodiff(flow, x, context)
    np.testing.assert_allclose(score, by_autodiff, rtol=1e-8, atol=1e-8 * np.abs(score).max())
    _, forward, inverse = density_score(WINGS["numpyro"], spec, z, context)
    for got, want in zip(
        (*forward, *inverse), (x, log_det, score, back, inverse_log_det), strict=True
    ):
        assert np.abs(got - want).max() <= 1e-10 * (1 + np.abs(want).max())
