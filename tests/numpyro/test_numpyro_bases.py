"""Flow guides of NumPyro with learnt bases."""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from numpyro import handlers
from numpyro.infer import MCMC, NUTS, SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from numpyro.infer.reparam import NeuTraReparam
from numpyro.infer.util import log_density

import numpyro_flowkit as fk
from tests.numpyro import models
from tests.numpyro.models import SMALL, assert_same_leaves, call, large

# Most of it is compilation; the Pyro twin of this file makes the same claims in `make test`.
pytestmark = pytest.mark.slow

LEARNT = ("student_t", "mixture")
every_base = pytest.mark.parametrize("base", LEARNT)
FLOW = functools.partial(fk.realnvp, **SMALL)
BASE = "auto_base$params"
ELBOS = {
    "Trace_ELBO": lambda: Trace_ELBO(num_particles=4),
    "TraceMeanField_ELBO": lambda: TraceMeanField_ELBO(num_particles=4),
    "RenyiELBO": lambda: RenyiELBO(alpha=0.5, num_particles=4),
}


def heavy_density(x):
    """A Student-t with 2.5 degrees of freedom in each coordinate."""
    return dist.StudentT(2.5, jnp.zeros(2), 1.0).log_prob(x).sum(-1)


def two_modes_density(x):
    """Both coordinates near 3, or both near -3."""
    component = dist.Normal(jnp.array([[3.0, 3.0], [-3.0, -3.0]]), 0.8)
    logs = component.log_prob(x[..., None, :]).sum(-1) + jnp.log(jnp.array([0.4, 0.6]))
    return jax.scipy.special.logsumexp(logs, axis=-1)


def latents_with(density):
    """Two latents with this density."""
    x = numpyro.sample("x", dist.Normal(jnp.zeros(2), 1.0).to_event(1).mask(False))
    numpyro.factor("density", density(x))


heavy = functools.partial(latents_with, heavy_density)
two_modes = functools.partial(latents_with, two_modes_density)


def train(guide, model, steps, lr=0.05, elbo=None):
    schedule = optax.exponential_decay(lr, steps, 0.1)
    svi = SVI(model, guide, optax.adam(schedule), elbo or Trace_ELBO(num_particles=4))
    return svi.run(jax.random.key(4), steps, progress_bar=False)


def divergence(guide, params, density, draws=4000):
    """KL from the guide to a density in nats, and its standard error."""
    posterior = guide.get_posterior(params)
    x = posterior.sample(jax.random.key(0), (draws,))
    difference = posterior.log_prob(x) - density(x)
    return float(difference.mean()), float(difference.std() / draws**0.5)


@every_base
@pytest.mark.parametrize("elbo", ELBOS)
def test_every_elbo_lowers_the_loss_and_moves_the_base(base, elbo):
    guide = fk.AutoIAF(models.hierarchy, base=base, **SMALL)
    start = call(guide)[2]
    result = train(guide, models.hierarchy, 30, elbo=ELBOS[elbo]())
    assert result.losses[-8:].sum() < result.losses[:8].sum()
    pairs = zip(*(jax.tree.leaves(p[BASE]) for p in (start, result.params)), strict=True)
    for one, two in pairs:
        assert (one != two).all()


@every_base
def test_the_base_has_the_models_dimension_and_dtype(base):
    guide = fk.AutoFlow(models.one_latent, FLOW, base=base)
    params = call(guide)[2]
    posterior = guide.get_posterior(params)
    assert posterior.base_dist.event_shape == (1,)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(params)}
    assert dtypes == {guide._init_latent.dtype}
    assert posterior.sample(jax.random.key(0)).dtype == guide._init_latent.dtype
    assert guide.median(params)["x"].shape == ()


def test_the_normal_base_has_no_parameter():
    params = call(fk.AutoFlow(models.regression, FLOW, base="normal"))[2]
    assert set(params) == {"auto_flow$params"}


@pytest.mark.parametrize("kind", ["deepcopy", "pickle"])
@every_base
def test_a_copy_is_the_same_guide(base, kind):
    guide = fk.AutoFlow(models.regression, FLOW, base=base)
    call(guide)
    trained = train(guide, models.regression, 4)
    pair = (guide, trained.params)
    copies = copy.deepcopy(pair) if kind == "deepcopy" else pickle.loads(pickle.dumps(pair))
    assert_same_leaves(copies[1], trained.params)
    draws = [g.sample_posterior(jax.random.key(1), p, sample_shape=(3,)) for g, p in (pair, copies)]
    assert_same_leaves(*draws)
    assert_same_leaves(train(copies[0], models.regression, 4).params, trained.params)


@every_base
def test_a_fresh_guide_takes_saved_parameters(base):
    guide = fk.AutoFlow(models.regression, FLOW, base=base)
    call(guide)
    params = train(guide, models.regression, 3).params
    fresh = fk.AutoFlow(models.regression, FLOW, base=base)
    call(fresh)
    assert_same_leaves(*(g.quantiles(params, [0.1, 0.9]) for g in (guide, fresh)))
    # Draws of the guide's sites are those of the posterior that it names.
    z = fresh.get_posterior(params).base_dist.log_prob(jnp.ones(2))
    start = fresh.get_base_dist().log_prob(jnp.ones(2))
    assert abs(z - start) > 1e-4


@every_base
def test_path_gradients_are_those_with_the_density_held_fixed(base):
    flow = large(fk.iaf(3, **SMALL)(jax.random.key(0)))
    module = getattr(fk, f"{base}_base")(3)(jax.random.key(0))
    key = jax.random.key(2)

    @jax.jit
    @jax.grad
    def by_path(weights):
        flow, module = weights
        density = fk.FlowDistribution(flow, module(), path_gradient=True)
        x, intermediates = density.sample_with_intermediates(key, (20,))
        return (density.log_prob(x, intermediates) + jnp.sin(x).sum(-1)).sum()

    @jax.jit
    @jax.grad
    def by_definition(weights):
        x = fk.FlowDistribution(weights[0], weights[1]()).sample(key, (20,))
        log_prob = fk.FlowDistribution(flow, module()).log_prob(x)
        return (log_prob + jnp.sin(x).sum(-1)).sum()

    got, expected = by_path((flow, module)), by_definition((flow, module))
    for one, two in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-8, atol=1e-9)
        assert np.abs(one).max() > 0


@every_base
def test_the_model_seen_by_neutra_has_the_same_density(base):
    guide = fk.AutoFlow(models.regression, FLOW, base=base, init_scale=0.5)
    call(guide)
    params = train(guide, models.regression, 3).params
    neutra = NeuTraReparam(guide, params)
    z = jnp.array([0.3, -1.2])
    got, _ = log_density(neutra.reparam(models.regression), (), {}, {"auto_shared_latent": z})
    weights, log_det = guide.get_transform(params).forward_and_log_det(z)
    expected, _ = log_density(models.regression, (), {}, {"weights": weights})
    np.testing.assert_allclose(got, expected + log_det, rtol=1e-9)
    kernel = NUTS(neutra.reparam(models.regression), max_tree_depth=4)
    mcmc = MCMC(kernel, num_warmup=5, num_samples=5, progress_bar=False)
    mcmc.run(jax.random.key(0))
    draws = mcmc.get_samples()["auto_shared_latent"]
    assert neutra.transform_sample(draws)["weights"].shape == (5, 2)


def test_a_student_t_base_learns_tails_that_a_normal_one_lacks():
    guides = {}
    for base in ("normal", "student_t"):
        guide = fk.AutoFlow(heavy, fk.lu_linear, base=base, init_scale=1.0)
        call(guide)
        guides[base] = guide, train(guide, heavy, 600, elbo=Trace_ELBO(num_particles=16)).params
    kl, error = divergence(*guides["student_t"], heavy_density)
    assert kl < 0.01 + 4 * error
    normal_kl, normal_error = divergence(*guides["normal"], heavy_density)
    assert normal_kl - 4 * normal_error > 0.05
    df = guides["student_t"][1][BASE].df
    assert ((df > 1.8) & (df < 3.5)).all()
    # A t with 2.5 degrees of freedom lies beyond 6 with probability 0.014; 0.008 < for the fit.
    for base, (guide, params) in guides.items():
        x = guide.get_posterior(params).sample(jax.random.key(0), (20_000,))
        beyond = (jnp.abs(x) > 6).mean(0)
        assert (beyond > 0.008).all() if base == "student_t" else (beyond < 0.004).all()


def test_a_mixture_base_finds_both_modes():
    base = functools.partial(fk.mixture_base, num_components=2)
    guide = fk.AutoFlow(two_modes, fk.lu_linear, base=base, init_scale=2.0)
    call(guide)
    params = train(guide, two_modes, 400, elbo=Trace_ELBO(num_particles=16)).params
    x = guide.get_posterior(params).sample(jax.random.key(0), (4000,))
    for side in (x > 0, x < 0):
        assert 0.2 < side.all(-1).mean() < 0.8
    kl, error = divergence(guide, params, two_modes_density)
    assert kl < 0.1 + 4 * error


@every_base
def test_a_base_is_a_parameter_of_a_model_and_goes_through_jit(base):
    make = getattr(fk, f"{base}_base")(3)

    def model():
        q = numpyro.param("base", make)
        return numpyro.sample("z", q())

    with handlers.seed(rng_seed=0), handlers.trace() as trace:
        z = model()
    assert z.shape == (3,)
    q = jax.jit(lambda b: b())(trace["base"]["value"])
    wide = q.expand((4,))
    assert wide.sample(jax.random.key(0), (2,)).shape == (2, 4, 3)
    assert jax.vmap(q.log_prob)(jnp.zeros((5, 3))).shape == (5,)
    assert q.has_rsample
    assert pickle.loads(pickle.dumps(make)) == make
    assert make.input_dim == trace["base"]["value"].input_dim == 3


BAD = {
    "another name": ("cauchy", ValueError, "expected one of 'normal', 'student_t', 'mixture'"),
    "no name": (3, TypeError, "base: expected 'normal'.*got int"),
    "a base": (fk.mixture_base(2), TypeError, "number of latents to a base.*got a BaseInit"),
    "no initialiser": (lambda d: 1, TypeError, "a function from a key to a base, got int"),
    "no base": (lambda d: lambda key: 1.0, TypeError, "whose call gives a distribution, got float"),
    "no distribution": (
        lambda d: lambda key: jax.tree_util.Partial(jnp.zeros, 2),
        TypeError, "its call to give a distribution",
    ),
    "another dimension": (
        lambda d: fk.student_t_base(d + 1), ValueError, r"shape \(2,\).*got event shape \(3,\)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_bases_are_refused(case):
    base, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call(fk.AutoFlow(models.regression, FLOW, base=base))
