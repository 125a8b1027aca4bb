"""Couplings that preserve volume: the log-determinant is 0 and the scales still differ."""

import jax
import numpy as np
import pytest
import torch

import numpyro_flowkit
import pyro_flowkit
from flowkit_core import recipes as r
from flowkit_core.specs import AdditiveLaw
from tests.cases import arrays_for, coupling, points_for
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())

SPECS = {
    "run of couplings": r.realnvp(5, num_layers=3, hidden_dims=(8,), volume_preserving=True),
    "context": coupling([0, 1, 0, 0], hidden=(6,), context_dim=2, volume_preserving=True),
    "additive": coupling([0, 1, 0], hidden=(6,), law=AdditiveLaw(), volume_preserving=True),
    "context alone": coupling([0, 0, 0], hidden=(6,), context_dim=2, volume_preserving=True),
}


@every_wing
@pytest.mark.parametrize("name", SPECS)
def test_log_determinants_are_exactly_zero(wing, name):
    spec = SPECS[name]
    flow = wing.build(spec, arrays_for(spec))
    z, context = points_for(spec)
    x, log_det = wing.call(flow, "forward_and_log_det", z, context)
    _, inverse_log_det = wing.call(flow, "inverse_and_log_det", x, context)
    _, scored_log_det, _ = wing.call(flow, "forward_and_score", z, -z, context)
    for got in (log_det, inverse_log_det, scored_log_det):
        np.testing.assert_array_equal(got, np.zeros(len(z)))


@every_wing
def test_scales_differ_and_their_product_is_one(wing):
    spec = coupling([1, 0, 0, 0], volume_preserving=True)
    flow = wing.build(spec, arrays_for(spec))
    z, _ = points_for(spec)
    moved = z.copy()
    moved[:, 1:] += 1
    scales = (
        wing.call(flow, "forward_and_log_det", moved, None)[0]
        - wing.call(flow, "forward_and_log_det", z, None)[0]
    )[:, 1:]
    np.testing.assert_allclose(scales.prod(-1), 1, rtol=1e-12)
    assert np.abs(np.log(scales)).min(0).max() > 0.1


@every_wing
def test_a_single_moved_coordinate_is_only_shifted(wing):
    spec = coupling([1, 0, 1], volume_preserving=True)
    flow = wing.build(spec, arrays_for(spec))
    z, _ = points_for(spec)
    moved = z + np.array([0, 3.0, 0])
    x, _ = wing.call(flow, "forward_and_log_det", z, None)
    y, _ = wing.call(flow, "forward_and_log_det", moved, None)
    np.testing.assert_allclose(y - x, moved - z, atol=1e-12)
    assert np.abs(x - z)[:, 1].min() > 0


def test_laws_of_ones_own_are_refused():
    net = pyro_flowkit.realnvp(2, num_layers=1).layers[0].conditioner
    law = pyro_flowkit.laws.Spline(8, 4.0, 1.5)
    with pytest.raises(ValueError, match=r"volume_preserving: .*Affine or Additive.*got Spline"):
        pyro_flowkit.transforms.Coupling((True, False), net, law, volume_preserving=True)
    init = numpyro_flowkit.realnvp(2, num_layers=1)
    net = init(jax.random.key(0)).layers[0].conditioner
    law = numpyro_flowkit.laws.Spline(8, 4.0, 1.5)
    with pytest.raises(ValueError, match=r"volume_preserving: .*Affine or Additive.*got Spline"):
        numpyro_flowkit.transforms.Coupling((True, False), net, law, volume_preserving=True)


def test_pyro_scores_along_a_recorded_graph():
    """Where gradients are recorded the score goes another way; both give the same."""
    spec = SPECS["run of couplings"]
    flow = WINGS["pyro"].build(spec, arrays_for(spec))
    z = torch.from_numpy(points_for(spec)[0])
    recorded = flow.forward_and_score(z, -z)
    with torch.no_grad():
        plain = flow.forward_and_score(z, -z)
    for one, two in zip(recorded, plain, strict=True):
        torch.testing.assert_close(one.detach(), two)
