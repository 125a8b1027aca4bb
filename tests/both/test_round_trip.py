"""The report of how well a flow undoes itself, in both wings."""

import numpy as np
import pytest

from flowkit_core import recipes as r
from flowkit_core.numerics import round_trip_tolerance
from tests.cases import CASES, arrays_for, directed, layers_of, points_for
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())
every_direction = pytest.mark.parametrize("direction", ["forward", "inverse"])


def report_of(wing, flow, values, context, direction):
    return wing.package.round_trip(
        flow, wing.array(values), context=wing.array(context), direction=direction
    )


@every_wing
@directed(sorted(CASES))
def test_every_layer_is_reported_in_order_and_converges(wing, case, direction):
    spec, direction = CASES[case], direction.removesuffix("_and_log_det")
    flow = wing.build(spec, arrays_for(spec))
    values, context = points_for(spec)
    report = report_of(wing, flow, values, context, direction)
    layers = layers_of(spec)
    assert len(report.layers) == len(layers)
    for row, layer in zip(
        report.layers, layers if direction == "forward" else layers[::-1], strict=True
    ):
        if getattr(layer, f"sequential_{direction}"):
            assert row.method in ("sweep", "fixed_point")
        else:
            newton = direction == "inverse" and getattr(layer, "activation", None) == "tanh"
            assert row.method == ("newton" if newton else "closed form")
        assert row.tolerance == round_trip_tolerance(np.finfo(np.float64).eps)
    assert report.converged
    assert report.residual == max(row.residual for row in report.layers)


@every_wing
@every_direction
def test_a_fixed_point_says_how_many_iterations_it_took(wing, direction):
    recipe = r.maf if direction == "forward" else r.iaf
    spec = recipe(6, num_layers=2, hidden_dims=(16,), inverse="fixed_point")
    values, _ = points_for(spec)
    flow = wing.build(spec, arrays_for(spec))
    report = report_of(wing, flow, values, None, direction)
    assert [row.method for row in report.layers] == ["fixed_point"] * 2
    assert all(1 < row.iterations <= 6 for row in report.layers)
    identity = report_of(wing, wing.fresh(spec), values, None, direction)
    assert [row.iterations for row in identity.layers] == [1, 1]
    assert identity.residual == 0


@every_wing
@every_direction
def test_both_methods_find_the_same(wing, direction):
    recipe = r.maf if direction == "forward" else r.iaf
    method = f"{direction}_and_log_det"
    results = []
    for inverse in ("sweep", "fixed_point", "auto"):
        spec = recipe(9, num_layers=3, hidden_dims=(20, 14), inverse=inverse)
        values, _ = points_for(spec, shape=(40,))
        results.append(wing.call(wing.build(spec, arrays_for(spec)), method, values, None))
    for other in results[1:]:
        for got, want in zip(other, results[0], strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@every_wing
def test_a_flow_that_has_lost_its_digits_is_not_called_converged(wing):
    spec = r.maf(16, num_layers=10, hidden_dims=(16,))
    arrays = {k: 8 * a for k, a in arrays_for(spec, dtype=np.float32).items()}
    values, _ = points_for(spec, shape=(50,), dtype=np.float32)
    report = report_of(wing, wing.build(spec, arrays), values, None, "inverse")
    assert not report.converged
    assert "NO" in str(report)


@every_wing
def test_no_points_no_residual(wing):
    spec = r.maf(3, num_layers=2, hidden_dims=(5,))
    values, _ = points_for(spec, shape=(0,))
    report = report_of(wing, wing.build(spec, arrays_for(spec)), values, None, "forward")
    assert (report.converged, report.residual) == (True, 0.0)


@every_wing
def test_what_the_report_refuses(wing):
    spec = r.maf(3, num_layers=1, hidden_dims=(5,), context_dim=2)
    flow = wing.build(spec, arrays_for(spec))
    values, context = points_for(spec)
    for given, message in (
        ((values[:, :2], context, "forward"), r"\(\.\.\., 3\)"),
        ((values, None, "forward"), "context"),
        ((values, context, "backward"), "forward.*inverse.*backward"),
    ):
        with pytest.raises(ValueError, match=message):
            report_of(wing, flow, *given)
    with pytest.raises(TypeError, match="flow"):
        wing.package.round_trip("flow", wing.array(values))
