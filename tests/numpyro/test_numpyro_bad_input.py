"""Bad input: one clear error of the documented type, or the sensible result."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import numpyro_flowkit as fk
from tests.numpyro.helpers import (
    CONDITIONAL,
    RECIPES,
    TRANSFORMS,
    assert_close,
    forward,
    inverse,
    large,
    points,
)

every_recipe = pytest.mark.parametrize("name", RECIPES)
conditional = pytest.mark.parametrize("name", CONDITIONAL)
METHODS = {
    "forward_and_log_det": lambda flow, x: flow.forward_and_log_det(x),
    "inverse_and_log_det": lambda flow, x: flow.inverse_and_log_det(x),
    "forward_and_score": lambda flow, x: flow.forward_and_score(x, x),
    "call": lambda flow, x: flow(x),
    "inv": lambda flow, x: flow.inv(x),
    "call_with_intermediates": lambda flow, x: flow.call_with_intermediates(x),
    "log_abs_det_jacobian": lambda flow, x: flow.log_abs_det_jacobian(x, x),
    "log_prob": lambda flow, x: fk.FlowDistribution(flow).log_prob(x),
}
every_method = pytest.mark.parametrize("method", METHODS)


@every_recipe
@every_method
@pytest.mark.parametrize("shape", [(5, 3), (4, 1), (5,), ()], ids=str)
def test_a_wrong_last_dimension_is_refused(name, method, shape):
    with pytest.raises(ValueError, match=r"expected shape \(\.\.\., 4\), got"):
        METHODS[method](large(RECIPES[name](4)), points(*shape))


@every_recipe
@every_method
@pytest.mark.parametrize("dtype", [jnp.int64, jnp.bool_, jnp.complex128])
def test_numbers_that_are_not_floating_are_refused(name, method, dtype):
    with pytest.raises(TypeError, match="expected a floating dtype, got"):
        METHODS[method](large(RECIPES[name](4)), jnp.ones((5, 4), dtype))


@every_recipe
def test_what_is_no_array_is_refused(name):
    for values in (None, "text", [None] * 4):
        with pytest.raises((TypeError, ValueError)):
            large(RECIPES[name](4)).forward_and_log_det(values)


def test_numpy_arrays_and_lists_of_floats_are_arrays():
    flow = large(fk.lu_linear(4))
    values = np.arange(4.0)
    assert_close(flow(values), flow(jnp.asarray(values)), 0, 0)
    assert_close(flow(values.tolist()), flow(jnp.asarray(values)), 0, 0)


@jax.jit
def everything(flow, x):
    return [method(flow, x) for method in METHODS.values()]


@pytest.mark.parametrize("name", ["maf", "iaf", "nice"])
@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)], ids=str)
def test_an_empty_batch_gives_empty_results(name, shape):
    for output in jax.tree.leaves(everything(large(RECIPES[name](4)), points(*shape))):
        assert output.shape in (shape, shape[:-1])


def test_an_empty_batch_has_the_batch_shape_of_the_base_too():
    base = dist.Normal(jnp.zeros((5, 4)), 1.0).to_event(1)
    density = fk.FlowDistribution(TRANSFORMS["coupling"](), base)
    assert density.log_prob(points(0, 1, 4)).shape == (0, 5)


@every_recipe
def test_one_coordinate_works(name):
    for output in jax.tree.leaves(everything(large(RECIPES[name](1)), points(5, 1))):
        assert bool(jnp.isfinite(output).all())
        assert output.shape in ((5, 1), (5,))


@every_recipe
def test_a_score_of_another_shape_is_refused(name):
    with pytest.raises(ValueError, match=r"score: expected the shape of z, \(5, 4\), got \(4,\)"):
        large(RECIPES[name](4)).forward_and_score(points(5, 4), points(4))


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("direction", [forward, inverse])
def test_not_a_number_goes_through_in_its_own_row(name, direction):
    transform, clean = TRANSFORMS[name](), points(3, 4)
    values, log_det = direction(transform, clean.at[1, 2].set(jnp.nan))
    expected, expected_log_det = direction(transform, clean)
    assert bool(jnp.isnan(values[1]).any())
    assert_close(values[::2], expected[::2], 1e-12, 1e-12)
    assert_close(log_det[::2], expected_log_det[::2], 1e-12, 1e-12)


@conditional
def test_a_missing_context_is_refused(name):
    flow = large(RECIPES[name](4, context_dim=2))
    for use in (
        lambda: flow.forward_and_log_det(points(5, 4)),
        lambda: flow(points(5, 4)),
        lambda: fk.FlowDistribution(flow),
    ):
        with pytest.raises(ValueError, match=r"needs one of shape \(\.\.\., 2\), got none"):
            use()


@every_recipe
def test_a_superfluous_context_is_refused(name):
    flow = large(RECIPES[name](4))
    for use in (
        lambda: flow.inverse_and_log_det(points(5, 4), points(5, 2)),
        lambda: flow.condition(points(5, 2)),
        lambda: fk.FlowDistribution(flow, context=points(5, 2)),
    ):
        with pytest.raises(ValueError, match="takes none"):
            use()


def test_a_second_context_is_refused():
    conditioned = TRANSFORMS["conditioned"]()
    with pytest.raises(ValueError, match="fixed already, got another one"):
        fk.FlowDistribution(conditioned, context=points(3))


BAD_CONTEXTS = {
    "too long": (lambda: points(5, 3), ValueError, r"expected shape \(\.\.\., 2\), got \(5, 3\)"),
    "a number": (lambda: jnp.array(1.0), ValueError, r"got \(\)"),
    "integers": (lambda: jnp.ones((5, 2), int), TypeError, "got int64"),
    "complex numbers": (lambda: jnp.ones((5, 2), complex), TypeError, "got complex128"),
}


@conditional
@pytest.mark.parametrize("case", BAD_CONTEXTS)
def test_a_wrong_context_is_refused(name, case):
    make, error, message = BAD_CONTEXTS[case]
    flow = large(RECIPES[name](4, context_dim=2))
    for use in (
        lambda: flow.forward_and_log_det(points(5, 4), make()),
        lambda: flow.condition(make()),
        lambda: fk.FlowDistribution(flow, context=make()),
    ):
        with pytest.raises(error, match=f"context: .*{message}"):
            use()


@conditional
def test_a_context_batch_that_does_not_broadcast_is_refused(name):
    flow = large(RECIPES[name](4, context_dim=2))
    with pytest.raises(ValueError, match=r"batch shape \(5,\) does not broadcast .* \(3,\)"):
        flow.inverse_and_log_det(points(5, 4), points(3, 2))


def test_a_batch_that_does_not_broadcast_with_the_weights_is_refused():
    flows = jax.vmap(fk.lu_linear(4))(jax.random.split(jax.random.key(0), 3))
    with pytest.raises(ValueError, match=r"batch shape \(5,\) does not broadcast .* \(3,\)"):
        flows.forward_and_log_det(points(5, 4))
