"""Every recipe is exactly the identity when it is built, whatever its arguments."""

import numpy as np
import pytest

from flowkit_core import recipes as r
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())
every_dim = pytest.mark.parametrize(
    "input_dim", [1, 3, *(pytest.param(d, marks=pytest.mark.slow) for d in (2, 4, 5))]
)

# Networks of other shapes than those of the table of cases; layers that permute stand elsewhere.
NET = {"num_layers": 2, "hidden_dims": (6,)}
RECIPES = {
    "maf": lambda d: r.maf(d, **NET, mixing="random", activation="gelu"),
    "iaf": lambda d: r.iaf(d, **NET, mixing="lu", residual=True, activation="silu"),
    "realnvp": lambda d: r.realnvp(d, **NET, mask="half", mixing="random", activation="elu"),
    "nice": lambda d: r.nice(d, **NET, mixing="lu", activation="tanh"),
    "lu_linear": r.lu_linear,
    "qr_linear": r.qr_linear,
    "residual": lambda d: r.compose(
        r.planar(d, num_layers=1, context_dim=2, hidden_dims=(6,)),
        r.sylvester(d, num_layers=1, rank=(d + 1) // 2),
    ),
    "context": lambda d: r.compose(
        r.maf(d, **NET, context_dim=2), r.realnvp(d, **NET, context_dim=2)
    ),
}


def awkward_points(input_dim, dtype):
    """Numbers in which any arithmetic other than none would show."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8, input_dim)) * 10.0 ** rng.integers(-20, 20, size=(8, input_dim))
    rows[0], rows[1], rows[2] = 0.0, np.pi, -1e-37
    return rows.astype(dtype)


@every_wing
@pytest.mark.parametrize("name", RECIPES)
@every_dim
@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(np.float32, id="f32"),
        pytest.param(np.float64, id="f64", marks=pytest.mark.slow),  # as every row of the table
    ],
)
def test_a_recipe_starts_as_the_identity_in_both_directions(wing, name, input_dim, dtype):
    spec = RECIPES[name](input_dim)
    flow = wing.fresh(spec, dtype)
    z = awkward_points(input_dim, dtype)
    context = 3 * np.ones((len(z), spec.context_dim), dtype) if spec.context_dim else None
    for method in ("forward_and_log_det", "inverse_and_log_det"):
        values, log_det = wing.call(flow, method, z, context)
        np.testing.assert_array_equal(values, z)
        np.testing.assert_array_equal(log_det, np.zeros(len(z)))
        assert values.dtype == log_det.dtype == dtype


@every_wing
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_leaves_a_score_alone_when_built(wing, name):
    spec = RECIPES[name](3)
    z, score = np.random.default_rng(1).normal(size=(2, 5, 3))
    context = np.ones((5, spec.context_dim)) if spec.context_dim else None
    x, log_det, pushed = wing.call(wing.fresh(spec), "forward_and_score", z, score, context)
    np.testing.assert_array_equal(x, z)
    np.testing.assert_array_equal(log_det, np.zeros(5))
    np.testing.assert_array_equal(pushed, score)


@every_wing
@every_dim
def test_a_permutation_only_moves(wing, input_dim):
    order = np.random.default_rng(2).permutation(input_dim)
    z = awkward_points(input_dim, np.float64)
    flow = wing.fresh(r.permute(input_dim, order=order))
    x, log_det = wing.call(flow, "forward_and_log_det", z, None)
    back, inverse_log_det = wing.call(flow, "inverse_and_log_det", x, None)
    np.testing.assert_array_equal(x, z[:, order])
    np.testing.assert_array_equal(back, z)
    np.testing.assert_array_equal([log_det, inverse_log_det], np.zeros((2, len(z))))


@every_wing
@pytest.mark.parametrize("name", RECIPES)
def test_a_fresh_flow_is_not_dead(wing, name):
    """Gradients reach the arrays that start at zero: the identity is left at the first step."""
    spec = RECIPES[name](3)
    rng = np.random.default_rng(3)
    z = rng.normal(size=(6, 3))
    context = rng.normal(size=(6, spec.context_dim)) if spec.context_dim else None
    cotangents = rng.normal(size=z.shape), rng.normal(size=len(z))
    gradients = wing.weight_gradients(
        wing.fresh(spec), "inverse_and_log_det", z, context, cotangents
    )
    zero = [a.name for a in spec.arrays() if a.fan_in == 0]
    assert zero
    for array in zero:
        assert np.abs(gradients[array]).max() > 0, array
