"""The importance-weighted bound and its doubly reparametrised gradient."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from jax import lax
from jax.scipy.special import logsumexp
from numpyro import handlers, infer
from numpyro.infer.autoguide import AutoDiagonalNormal, AutoGuideList

import numpyro_flowkit as fk
from tests.numpyro import models
from tests.numpyro import normal_guides as normal
from tests.numpyro.helpers import assert_same_gradients
from tests.numpyro.models import FLOW, GUIDES, SMALL, call, large

# Most of it is compilation; the Pyro twin of this file makes the same claims in `make test`.
pytestmark = pytest.mark.slow

every_guide = pytest.mark.parametrize("name", GUIDES)
vectorised_or_not = pytest.mark.parametrize("vectorised", [True, False])
KEY = jax.random.key(3)
THETA, DATA = jnp.array([0.3, -0.2]), np.array([0.7, -1.1])


def log_joint(x, theta):
    """Log-density of the toy model: latents N(theta, 1), data N(x, 0.6)."""
    return (dist.Normal(theta, 1.0).log_prob(x) + dist.Normal(x, 0.6).log_prob(DATA)).sum(-1)


def toy():
    theta = numpyro.param("prior_mean", THETA)
    x = numpyro.sample("x", dist.Normal(theta, 1.0).to_event(1))
    numpyro.sample("y", dist.Normal(x, 0.6).to_event(1), obs=DATA)


def bent(name, model=toy, *, by=0.3, **kwargs):
    """A guide somewhat off the posterior, by weights that are not the first ones."""
    guide = GUIDES[name](model, init_scale=0.8, **SMALL, **kwargs)
    flow = call(guide)[2][FLOW]
    moved = [jax.tree.map(lambda a, b: a + by * b, f, large(f)) for f in flow.layers[:2]]
    return guide, {FLOW: type(flow)((*moved, flow.layers[2])), "prior_mean": THETA}


def loss_of(elbo, model, guide):
    return jax.jit(lambda params, key: elbo.loss(key, params, model, guide))


def gradient_of(elbo, model, guide):
    return jax.jit(jax.grad(lambda params, key: elbo.loss(key, params, model, guide)))


def renyi(num_particles):
    """The same bound with the gradient of importance-weighted autoencoders."""
    return infer.RenyiELBO(alpha=0, num_particles=num_particles)


def draws_of(guide, params, num_particles):
    """What the bound draws in the base: one key for each particle, half of it the guide's."""
    keys = jax.random.split(KEY, num_particles)

    def one(key):
        seeded = handlers.seed(handlers.substitute(guide, params), jax.random.split(key)[1])
        trace = handlers.trace(seeded).get_trace()
        return params[FLOW].inv(trace["_auto_latent"]["value"])

    return jnp.stack([one(key) for key in keys])


@every_guide
@vectorised_or_not
def test_the_loss_and_its_gradient_are_equation_8_written_out(name, vectorised):
    guide, params = bent(name)
    z = draws_of(guide, params, 4)

    def written_out(params):
        flow, theta = params[FLOW], params["prior_mean"]
        x, _ = flow.forward_and_log_det(z)
        frozen = fk.FlowDistribution(lax.stop_gradient(flow))
        along_path = log_joint(x, lax.stop_gradient(theta)) - frozen.log_prob(x)
        of_model = log_joint(lax.stop_gradient(x), theta)
        v = lax.stop_gradient(jax.nn.softmax(along_path))
        surrogate = -(v**2 * along_path + v * of_model).sum()
        return surrogate, math.log(4) - logsumexp(along_path)

    expected, value = jax.jit(jax.grad(written_out, has_aux=True))(params)
    elbo = fk.ImportanceWeightedELBO(4, vectorize_particles=vectorised)
    assert_same_gradients(gradient_of(elbo, toy, guide)(params, KEY), expected, tolerance=1e-9)
    assert loss_of(elbo, toy, guide)(params, KEY) == pytest.approx(float(value), rel=1e-10)


def test_the_gradient_is_linear_in_that_of_the_loss():
    guide, params = bent("realnvp")
    loss = loss_of(fk.ImportanceWeightedELBO(3), toy, guide)
    one, many = (jax.grad(lambda p, c=c: c * loss(p, KEY))(params) for c in (1.0, -7.0))
    assert_same_gradients(many, jax.tree.map(lambda g: -7.0 * g, one))
    none = jax.grad(lambda p: 0.0 * loss(p, KEY))(params)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(none))


def test_many_draws_give_the_evidence():
    posterior_sd = math.sqrt(1 / (1 + 1 / 0.36))
    guide = normal.AutoRealNVP(toy, init_scale=1.5 * posterior_sd, **SMALL)
    params = {**call(guide)[2], "prior_mean": THETA}
    exact = -dist.Normal(THETA, math.sqrt(1.36)).log_prob(DATA).sum()
    loss = loss_of(fk.ImportanceWeightedELBO(20_000), toy, guide)(params, KEY)
    assert loss == pytest.approx(float(exact), abs=0.05)


def flatten(gradients):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradients)])


@every_guide
def test_both_gradients_have_one_mean_for_any_number_of_draws(name):
    guide, params = bent(name, path_gradient=False)  # of which RenyiELBO takes notice
    keys = jax.random.split(KEY, 2000)
    found = []
    for elbo in (fk.ImportanceWeightedELBO(6), renyi(6)):
        gradient = gradient_of(elbo, toy, guide)
        gradients = lax.map(lambda key, g=gradient: g(params, key), keys, batch_size=100)
        found.append(np.concatenate([g.reshape(2000, -1) for g in jax.tree.leaves(gradients)], 1))
    one, two = found
    moved = (np.abs(one) + np.abs(two)).max(0) > 1e-9
    assert moved.sum() > 20
    # The two draw from different keys, so their variances add up.
    error = np.sqrt((one.var(0, ddof=1) + two.var(0, ddof=1)) / len(keys))[moved]
    z = (one.mean(0) - two.mean(0))[moved] / error
    # One false alarm in a thousand runs, whichever of the weights raises it.
    assert np.abs(z).max() < dist.Normal().icdf(1 - 1e-3 / (2 * moved.sum()))


def test_it_varies_less_than_the_plain_gradient():
    # Of a guide that covers the posterior; where it does not, no gradient has a variance.
    guide, params = bent("realnvp", by=0.1, path_gradient=False)
    variances = []
    for elbo in (fk.ImportanceWeightedELBO(64), renyi(64)):
        gradient = gradient_of(elbo, toy, guide)
        found = [flatten(gradient(params, key)[FLOW]) for key in jax.random.split(KEY, 60)]
        variances.append(np.var(found, axis=0, ddof=1).sum())
    assert variances[0] < 0.1 * variances[1]


@every_guide
@pytest.mark.parametrize("path_gradient", [True, False])
def test_one_draw_has_the_path_gradient_of_the_elbo(name, path_gradient):
    guide, params = bent(name, models.hierarchy)
    expected = jax.value_and_grad(
        lambda p: infer.Trace_ELBO().loss(KEY, p, models.hierarchy, guide)
    )
    of_elbo, gradient_of_elbo = jax.jit(expected)(params)
    guide.path_gradient = path_gradient
    elbo = fk.ImportanceWeightedELBO(1)
    got = gradient_of(elbo, models.hierarchy, guide)(params, KEY)
    assert_same_gradients(got, gradient_of_elbo)
    assert loss_of(elbo, models.hierarchy, guide)(params, KEY) == pytest.approx(float(of_elbo))


def test_point_masses_beside_the_flow_and_the_model_have_the_plain_gradient():
    init = fk.maf(1, **SMALL)

    def model():
        scale = numpyro.sample("scale", dist.LogNormal(numpyro.param("mu", 0.1), 1.0))
        x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
        numpyro.sample("y", dist.Normal(x[0], scale), obs=1.3)

    def guide():
        flow = numpyro.param("flow", init)
        numpyro.sample("scale", dist.Delta(numpyro.param("scale_hat", 0.7)))
        numpyro.sample("x", fk.FlowDistribution(flow))

    params = {"mu": 0.1, "scale_hat": 0.7, "flow": init(KEY)}
    got = gradient_of(fk.ImportanceWeightedELBO(5), model, guide)(params, KEY)
    # RenyiELBO splits its key once more.
    keyed = jax.random.split(KEY)[1]
    got_there = gradient_of(fk.ImportanceWeightedELBO(5), model, guide)(params, keyed)
    expected = gradient_of(renyi(5), model, guide)(params, KEY)
    for name in ("mu", "scale_hat"):
        assert got_there[name] == pytest.approx(float(expected[name]), rel=1e-9)
        assert got[name] != expected[name]


@every_guide
def test_training_lowers_the_loss(name):
    guide = GUIDES[name](models.hierarchy, **SMALL)
    call(guide)
    elbo = fk.ImportanceWeightedELBO(8)
    svi = infer.SVI(models.hierarchy, guide, optax.adam(0.02), elbo)
    losses = svi.run(KEY, 60, progress_bar=False).losses
    assert jnp.isfinite(losses).all()
    assert losses[-15:].mean() < losses[:15].mean()


def two_flows(model):
    guides = AutoGuideList(model)
    guides.append(normal.AutoMAF(handlers.block(model, hide=["theta"]), prefix="a", **SMALL))
    guides.append(normal.AutoIAF(handlers.block(model, hide=["mu", "tau"]), prefix="b", **SMALL))
    return guides


REFUSED = {
    "a guide without a flow": (models.hierarchy, AutoDiagonalNormal, "gives no path gradients"),
    "two flows": (models.hierarchy, two_flows, "expected a guide with one site"),
    "no random site": (toy, lambda _: lambda: None, "expected a guide with one site"),
    "a scaled site": (handlers.scale(toy, 0.5), normal.AutoMAF, "is scaled"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_biased_is_refused(case):
    model, make_guide, message = REFUSED[case]
    elbo = fk.ImportanceWeightedELBO(3)
    svi = infer.SVI(model, make_guide(model), optax.adam(0.02), elbo)
    state = svi.init(KEY)
    with pytest.raises(ValueError, match=message):
        svi.update(state)


def test_subsampled_data_are_refused():
    def model():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        with numpyro.plate("rows", 10, subsample_size=4) as rows:
            numpyro.sample("y", dist.Normal(x, 1.0), obs=jnp.zeros(10)[rows])

    guide = normal.AutoIAF(model, **SMALL)
    params = call(guide)[2]
    with pytest.raises(ValueError, match="site 'y' is scaled, by a subsampled plate"):
        fk.ImportanceWeightedELBO(3).loss(KEY, params, model, guide)


@pytest.mark.parametrize("count", [0, -1, 2.5])
def test_the_number_of_draws_is_a_positive_integer(count):
    with pytest.raises((TypeError, ValueError), match="num_particles"):
        fk.ImportanceWeightedELBO(count)
