"""FlowDistribution as a NumPyro distribution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from numpyro import handlers
from numpyro.infer import SVI, Trace_ELBO

import numpyro_flowkit as fk
from tests.numpyro.helpers import (
    SMALL,
    TRANSFORMS,
    assert_close,
    inverse,
    large,
    log_prob,
    points,
    stack,
    standard_normal,
)

every_transform = pytest.mark.parametrize("name", ["coupling", "conditioned"])
KEY = jax.random.key(4)


def density_of(name, **kwargs):
    return fk.FlowDistribution(TRANSFORMS[name](), **kwargs)


@functools.partial(jax.jit, static_argnums=1)
def sample(density, shape=()):
    return density.sample(KEY, shape)


def test_a_linear_flow_has_the_density_of_the_gaussian():
    flow = large(fk.lu_linear(4))
    columns = flow(jnp.eye(4)) - flow.shift
    gaussian = dist.MultivariateNormal(flow.shift, columns.T @ columns)
    x = points(20, 4)
    assert_close(log_prob(fk.FlowDistribution(flow), x), gaussian.log_prob(x))


def test_draws_of_a_linear_flow_have_its_mean_and_covariance():
    flow = large(fk.lu_linear(2))
    columns = flow(jnp.eye(2)) - flow.shift
    x = sample(fk.FlowDistribution(flow), (40_000,))
    covariance = columns.T @ columns
    spread = jnp.sqrt(jnp.diagonal(covariance))
    assert bool((jnp.abs(x.mean(0) - flow.shift) < 5 * spread / 200).all())
    assert bool((jnp.abs(jnp.cov(x.T) - covariance) < 0.03 * jnp.outer(spread, spread)).all())


@every_transform
def test_the_density_is_that_of_the_change_of_variables(name):
    density, z = density_of(name), points(4)

    @jax.jit
    def both(density, z):
        x = density.flow(z)
        jacobian = jax.jacfwd(density.flow)(z)
        expected = standard_normal(4).log_prob(z) - jnp.linalg.slogdet(jacobian).logabsdet
        return density.log_prob(x), expected

    got, expected = both(density, z)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


@every_transform
def test_shapes_without_and_with_a_sample_shape(name):
    density = density_of(name)
    assert isinstance(density, dist.TransformedDistribution)
    assert (density.batch_shape, density.event_shape) == ((), (4,))
    assert density.support.event_dim == 1
    assert sample(density).shape == (4,)
    x = sample(density, (2, 3))
    assert x.shape == (2, 3, 4)
    assert log_prob(density, x).shape == (2, 3)


@every_transform
def test_draws_are_the_flow_of_the_bases_draws(name):
    density = density_of(name)
    z, _ = inverse(density.flow, sample(density, (2, 3)))
    assert_close(z, standard_normal(4).sample(KEY, (2, 3)), 1e-8, 1e-8)


@every_transform
def test_expand_changes_the_batch_shape_alone(name):
    density = density_of(name)
    wide = density.expand((3, 2))
    assert (wide.batch_shape, wide.event_shape) == ((3, 2), (4,))
    draws = sample(wide, (5,))
    assert draws.shape == (5, 3, 2, 4)
    flat = np.unique(np.asarray(draws).reshape(-1, 4).round(9), axis=0)
    assert len(flat) == 30  # all differ
    expected = log_prob(density, draws)
    assert_close(log_prob(wide, draws), expected)
    assert_close(log_prob(wide.to_event(1), draws), expected.sum(-1))


@every_transform
def test_it_goes_in_and_out_of_jit_and_is_scaled_as_a_tree(name):
    density, x = density_of(name), points(3, 4)
    traces = []

    @jax.jit
    def halve(density):
        traces.append(1)
        return jax.tree.map(lambda leaf: leaf / 2, density)

    halved = halve(halve(density))
    assert len(traces) == 1
    assert type(halved) is fk.FlowDistribution
    quarter = jax.tree.map(lambda leaf: leaf / 4, density.flow)
    z, log_det = inverse(quarter, x)
    base = dist.Normal(jnp.zeros(4), 0.25).to_event(1)
    assert_close(log_prob(halved, x), base.log_prob(z) + log_det)


@pytest.mark.parametrize("name", ["maf", "coupling"])
def test_vmap_and_scan_over_stacked_distributions_equal_a_loop(name):
    one = density_of(name)
    other = jax.tree.map(lambda leaf: 0.9 * leaf, one)
    both, x = stack(one, other), points(3, 4)
    expected = jnp.stack([log_prob(one, x), log_prob(other, x)])

    @jax.jit
    def scanned(both, x):
        return jax.lax.scan(lambda _, density: (None, density.log_prob(x)), None, both)[1]

    mapped = jax.jit(jax.vmap(lambda density, x: density.log_prob(x), (0, None)))
    assert_close(mapped(both, x), expected)
    assert_close(scanned(both, x), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_keeps_the_dtype(dtype):
    density = fk.FlowDistribution(large(fk.maf(3, **SMALL), dtype=dtype))
    assert log_prob(density, points(2, 3, dtype=dtype)).dtype == dtype
    # Although NumPyro's Normal draws in JAX's default float, whatever the dtype of its parameters.
    assert standard_normal(3, dtype).sample(KEY).dtype == np.float64
    assert sample(density).dtype == dtype


def test_the_default_base_is_standard_normal_in_every_shape():
    base = fk.FlowDistribution(fk.lu_linear(2)(KEY)).base_dist
    draws = base.sample(KEY, (4000,))
    assert draws.shape == (4000, 2)
    # Five standard errors of a mean and of a standard deviation.
    np.testing.assert_allclose(draws.mean(0), 0, atol=5 / 4000**0.5)
    np.testing.assert_allclose(draws.std(0), 1, atol=5 / 8000**0.5)
    assert base.expand((3,)).sample(KEY, (5,)).shape == (5, 3, 2)
    assert not np.array_equal(*base.expand((2,)).sample(KEY))


BASES = {
    "heavy tails": lambda: dist.StudentT(5.0, jnp.zeros(4), 2.0).to_event(1),
    "a batch": lambda: dist.Normal(points(5, 4), jnp.ones(4)).to_event(1),
    "coordinates still apart": lambda: dist.Normal(jnp.zeros(4), 2.0),
    "transformed": lambda: dist.TransformedDistribution(
        standard_normal(4), dist.transforms.AffineTransform(1.0, jnp.full(4, 3.0))
    ),
}


@pytest.mark.parametrize("kind", BASES)
def test_another_base_enters_the_density(kind):
    base, flow = BASES[kind](), TRANSFORMS["coupling"]()
    density = fk.FlowDistribution(flow, base)
    batch = base.shape()[:-1]
    assert (density.batch_shape, density.event_shape) == (batch, (4,))
    x = sample(density, (6,))
    assert x.shape == (6, *batch, 4)
    z, log_det = inverse(flow, x)
    base_log_prob = base.log_prob(z) if base.event_dim else base.log_prob(z).sum(-1)
    assert_close(log_prob(density, x), base_log_prob + log_det)
    assert density.flow is flow


def test_validation_refuses_values_that_are_not_real():
    density = density_of("coupling", validate_args=True)
    with pytest.warns(UserWarning, match="Out-of-support values"):
        density.log_prob(jnp.array([0.0, jnp.nan, 0.0, 0.0]))


@every_transform
def test_a_plate_expands_it(name):
    density = density_of(name)

    def model():
        with numpyro.plate("outer", 3, dim=-2), numpyro.plate("inner", 2, dim=-1):
            return numpyro.sample("x", density)

    site = handlers.trace(handlers.seed(model, KEY)).get_trace()["x"]
    assert site["value"].shape == (3, 2, 4)
    assert site["fn"].log_prob(site["value"]).shape == (3, 2)


def likelihood(data):
    flow = numpyro.param("flow", fk.realnvp(2, **SMALL))
    with numpyro.plate("rows", len(data)):
        numpyro.sample("x", fk.FlowDistribution(flow), obs=data)


def test_it_fits_the_same_data_over_many_steps():
    data = 0.5 * points(100, 2) @ jnp.array([[1.0, 0.9], [0.0, 0.3]]) + 3
    svi = SVI(likelihood, lambda data: None, optax.adam(0.02), Trace_ELBO())
    result = svi.run(KEY, 600, data, progress_bar=False)
    mean, covariance = data.mean(0), jnp.cov(data, rowvar=False, bias=True)
    gaussian = dist.MultivariateNormal(mean, covariance).log_prob(data).sum()
    assert float(result.losses[0]) > 400 - float(gaussian)
    assert float(result.losses[-1]) < 1 - float(gaussian)


def two_dims(flow=None):
    z = numpyro.sample("z", standard_normal(2))
    numpyro.sample("y", dist.Normal(z.sum(), 0.5), obs=2.0)


def flow_guide():
    flow = numpyro.param("flow", fk.iaf(2, num_layers=2, hidden_dims=(8,)))
    numpyro.sample("z", fk.FlowDistribution(flow))


def test_a_guide_of_vectorised_particles_reaches_the_evidence():
    elbo = Trace_ELBO(num_particles=16)
    result = SVI(two_dims, flow_guide, optax.adam(0.02), elbo).run(KEY, 300, progress_bar=False)
    log_evidence = dist.Normal(0.0, jnp.sqrt(2 + 0.25)).log_prob(2.0)
    assert float(result.losses[0]) > 1 - float(log_evidence)
    assert abs(float(result.losses[-50:].mean()) + float(log_evidence)) < 0.05
