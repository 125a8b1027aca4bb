"""`round_trip`: how each layer found its direction and how well it undoes itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions.transforms import AffineTransform

import numpyro_flowkit as fk
from flowkit_core.numerics import round_trip_tolerance
from numpyro_flowkit.laws import Affine
from numpyro_flowkit.transforms import Compose, MaskedAutoregressive
from tests.numpyro.helpers import (
    OwnMaskedNet,
    conditional_compose,
    large,
    layer,
    mixed_compose,
    points,
    stack,
)

THIN = {"num_layers": 1, "hidden_dims": (8,)}


def test_compositions_are_taken_apart_in_the_order_of_the_direction():
    flow = Compose([large(mixed_compose()), AffineTransform(1.0, 2.0)])
    forward = fk.round_trip(flow, points(6, 4))
    names = ["Coupling", "Permutation", "LULinear", "MaskedAutoregressive", "QRLinear"]
    names += ["InverseAutoregressive", "AffineTransform"]
    assert [row.layer for row in forward.layers] == names
    swept = [row.layer for row in forward.layers if row.method == "sweep"]
    assert swept == ["MaskedAutoregressive"]
    inverse = fk.round_trip(flow, points(6, 4), direction="inverse")
    assert [row.layer for row in inverse.layers] == names[::-1]
    swept = [row.layer for row in inverse.layers if row.method == "sweep"]
    assert swept == ["InverseAutoregressive"]
    for report in (forward, inverse):
        assert report.converged
        assert 0 < report.residual < 1e-12
        assert {row.tolerance for row in report.layers} == {round_trip_tolerance(2.0**-52)}


def test_the_layers_are_given_what_the_layer_before_made():
    flow = large(fk.maf(4, num_layers=2, hidden_dims=(8,)))
    z = points(5, 4)
    middle = flow.layers[0](z)
    alone = fk.round_trip(flow.layers[1], middle)
    assert fk.round_trip(flow, z).layers[1] == alone.layers[0]


def test_a_fixed_point_reports_its_iterations():
    flow = large(fk.maf(6, **THIN, inverse="fixed_point"))
    (row,) = fk.round_trip(flow, points(7, 6)).layers
    assert row.method == "fixed_point"
    assert 1 < row.iterations <= 6
    assert row.converged
    (row,) = fk.round_trip(flow, points(7, 6), direction="inverse").layers
    assert (row.method, row.iterations) == ("closed form", None)
    own = MaskedAutoregressive(OwnMaskedNet(3, 2), Affine(), (0, 1, 2))
    assert fk.round_trip(own, points(3)).layers[0].method == "fixed_point"


def test_a_residual_that_is_too_large_is_seen():
    class Lossy(AffineTransform):
        """Its inverse is off by one part in a thousand."""

        def _inverse(self, y):
            return 1.001 * super()._inverse(y)

    x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    flow = Compose([layer(fk.realnvp, 2), Lossy(0.0, 1.0)])
    report = fk.round_trip(flow, x)
    assert not report.converged
    assert [row.converged for row in report.layers] == [True, False]
    moved = np.asarray(flow.layers[0](x))
    expected = (0.001 * np.abs(moved) / (1 + np.abs(moved))).max()
    np.testing.assert_allclose(report.residual, expected, rtol=1e-9)


def test_what_is_not_a_number_never_counts_as_converged():
    flow = layer(fk.maf, 3)
    report = fk.round_trip(flow, points(2, 3).at[0, 0].set(jnp.nan))
    assert np.isnan(report.residual)
    assert not report.converged


def test_a_context_reaches_the_layers_that_take_one():
    flow, context = large(conditional_compose()), points(6, 3, seed=9)
    for direction in ("forward", "inverse"):
        report = fk.round_trip(flow, points(6, 4), context=context, direction=direction)
        assert report.converged
        assert len(report.layers) == 3


def test_no_points_leave_no_residual():
    report = fk.round_trip(layer(fk.maf, 3), jnp.zeros((0, 3)))
    assert report.converged
    assert report.residual == 0


def test_single_precision_is_judged_by_its_own_tolerance():
    flow = large(fk.maf(4, **THIN), dtype=np.float32)
    report = fk.round_trip(flow, points(5, 4, dtype=np.float32))
    assert report.converged
    assert report.layers[0].tolerance == round_trip_tolerance(2.0**-23)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"direction": "back"}, ValueError, "direction: expected .*forward.*inverse.*back"),
        ({"values": jnp.ones((2, 5))}, ValueError, r"z: expected shape \(\.\.\., 3\)"),
        (
            {"values": jnp.ones((2, 5)), "direction": "inverse"},
            ValueError,
            r"x: expected shape \(\.\.\., 3\)",
        ),
        ({"values": jnp.ones((2, 3), int)}, TypeError, "z: expected a floating dtype"),
        ({"context": jnp.ones(2)}, ValueError, "context: this flow takes none"),
        ({"flow": jnp.sin}, TypeError, "flow: expected a Flow"),
    ],
)
def test_arguments_are_checked(arguments, error, message):
    given = {"flow": layer(fk.maf, 3), "values": points(2, 3), **arguments}
    flow, values = given.pop("flow"), given.pop("values")
    with pytest.raises(error, match=message):
        fk.round_trip(flow, values, **given)


def test_a_batch_of_flows_is_refused():
    flows = stack(*(large(fk.maf(3, **THIN), seed=seed) for seed in range(2)))
    with pytest.raises(ValueError, match="expected a single flow, got a batch"):
        fk.round_trip(flows, points(2, 3))
    one = jax.tree.map(lambda leaf: leaf[0], flows)
    assert fk.round_trip(one, points(2, 3)).converged
