"""Flows on an accelerator."""

import jax
import numpy as np
import pytest

import numpyro_flowkit as fk
from tests.numpyro.helpers import RECIPES, SMALL, large, mixed_compose, points

pytestmark = pytest.mark.gpu


def on(platform):
    """The default device of a block."""
    return jax.default_device(jax.devices(platform)[0])


def both_directions(init, z):
    flow = large(init)
    forward, inverse = jax.jit(lambda f, a: (f.forward_and_log_det(a), f.inverse_and_log_det(a)))(
        flow, z
    )
    return (*forward, *inverse)


def assert_near(got, expected, *, tolerance=1e-9):
    for output, reference in zip(got, expected, strict=True):
        assert {d.platform for d in output.devices()} == {"gpu"}
        np.testing.assert_allclose(
            np.asarray(output), np.asarray(reference), rtol=tolerance, atol=tolerance
        )


def at_cpu(function):
    """What a function gives where the CPU is the default backend, in a cache of its own."""
    with on("cpu"):
        return jax.device_get(function())


@pytest.mark.parametrize("name", RECIPES)
def test_both_directions_agree_with_the_cpu(name):
    expected = at_cpu(lambda: both_directions(RECIPES[name](4), points(64, 4)))
    assert_near(both_directions(RECIPES[name](4), points(64, 4)), expected)


@pytest.mark.parametrize("method", ["sweep", "fixed_point"])
@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])
def test_either_sequential_method_agrees_with_the_cpu(recipe, method):
    def run():
        init = recipe(34, num_layers=2, hidden_dims=(40, 35), inverse=method)
        return both_directions(init, points(64, 34))

    assert_near(run(), at_cpu(run), tolerance=1e-7)


def test_gradients_agree_with_the_cpu():
    def run():
        flow, x = large(mixed_compose()), points(32, 4)

        @jax.jit
        def gradients(flow):
            def loss(flow, direction):
                value, log_det = getattr(flow, direction)(x)
                return (value**2).mean() + log_det.mean()

            return [
                jax.grad(loss)(flow, way) for way in ("forward_and_log_det", "inverse_and_log_det")
            ]

        return jax.tree.leaves(gradients(flow))

    assert_near(run(), at_cpu(run), tolerance=1e-7)


def test_a_distribution_draws_and_scores_on_the_device():
    density = fk.FlowDistribution(large(fk.realnvp(4, **SMALL)))
    x = density.sample(jax.random.key(0), (5,))
    assert {d.platform for a in (x, density.log_prob(x)) for d in a.devices()} == {"gpu"}


def test_a_flow_on_the_device_is_saved_and_loaded_on_the_cpu(tmp_path):
    flow = large(fk.iaf(4, **SMALL))
    fk.save_flow(flow, tmp_path / "flow")
    x = points(5, 4)
    again = at_cpu(lambda: fk.load_flow(tmp_path / "flow")(points(5, 4)))
    np.testing.assert_allclose(again, np.asarray(flow(x)), rtol=1e-9, atol=1e-9)


def test_a_fit_runs_on_the_device():
    settings = {"num_epochs": 3, "batch_size": 32, "progress": False}
    result = fk.fit_density(fk.maf(3, **SMALL), 3 * points(200, 3), **settings)
    leaves = jax.tree.leaves(result.flow)
    assert {d.platform for leaf in leaves for d in leaf.devices()} == {"gpu"}
    assert result.validation_losses[-1] < result.validation_losses[0]
