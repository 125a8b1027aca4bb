"""Learnt priors in NumPyro's models: parameters, plates, handlers, SVI, NUTS, jit and vmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from numpyro import handlers
from numpyro.distributions import constraints
from numpyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal
from numpyro.infer.reparam import TransformReparam
from numpyro.infer.util import log_density

import numpyro_flowkit as fk
from tests.numpyro.helpers import RECIPES, SMALL, assert_close, forward, large, log_prob, points

D = 2
KEY = jax.random.key(2)
DATA = jnp.concatenate([points(30, 5, seed=1) + s for s in (-1.5, 1.5)])
FLOW = fk.maf(D, num_layers=1, hidden_dims=(8,))


def registered_encoder(flow=None):
    """A linear map to a Normal, or on to a flow; under one name in model and guide."""

    def start(key):
        return {"weight": 0.3 * jax.random.normal(key, (5, 2 * D)), "bias": jnp.zeros(2 * D)}

    weights = numpyro.param("encoder", start)
    flow = None if flow is None else numpyro.param("encoder_flow", flow)

    def encode(x):
        raw = x @ weights["weight"] + weights["bias"]
        loc, scale = raw[..., :D], jnp.exp(raw[..., D:] - 1)
        normal = dist.Normal(loc, scale).to_event(1)
        return normal if flow is None else fk.FlowDistribution(flow, normal, context=loc)

    return encode


class Vae:
    """A VAE of five numbers per row with two latents, and a prior."""

    def __init__(self, prior, flow=None):
        self.prior = prior
        self.flow = flow

    def model(self, data):
        """Decode a draw of the prior."""
        weight = numpyro.param("decoder", lambda key: 0.3 * jax.random.normal(key, (D, 5)))
        prior = self.prior(registered_encoder(self.flow))
        with numpyro.plate("rows", len(data)):
            z = numpyro.sample("z", prior)
            numpyro.sample("x", dist.Normal(z @ weight, 0.5).to_event(1), obs=data)

    def guide(self, data):
        """Encode."""
        encoder = registered_encoder(self.flow)
        with numpyro.plate("rows", len(data)):
            numpyro.sample("z", encoder(data))


def vamp(encoder):
    near = constraints.interval(-6.0, 6.0)
    return fk.vamp_prior("z", encoder, DATA[::15], learn_weights=True, constraint=near)


VAES = {
    "flow": Vae(lambda encoder: fk.flow_prior("z", FLOW, fk.mixture_base(D, num_components=3))),
    "diagonal": Vae(lambda encoder: fk.mixture_prior("z", D, 3)),
    "full": Vae(lambda encoder: fk.mixture_prior("z", D, 3, covariance="full")),
    "vamp": Vae(vamp),
    "vamp of flows": Vae(vamp, fk.iaf(D, context_dim=D, num_layers=1, hidden_dims=(8,))),
}
slow = pytest.mark.slow  # mostly compilation
every_vae = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=slow) if n in ("diagonal", "vamp of flows") else n for n in VAES]
)
OF_PRIOR = {
    "flow": {"z$params", "z$base"},
    "diagonal": {"z$locs", "z$scales", "z$logits"},
    "full": {"z$locs", "z$scale_trils", "z$logits"},
    "vamp": {"z$pseudo_inputs", "z$logits"},
    "vamp of flows": {"z$pseudo_inputs", "z$logits"},
}


def made(vae):
    """The prior of a VAE at its start."""
    with handlers.seed(rng_seed=KEY):
        return vae.prior(registered_encoder(vae.flow))


@pytest.mark.parametrize(
    "name",
    ["flow", "vamp", *(pytest.param(n, marks=slow) for n in ("diagonal", "full", "vamp of flows"))],
)
def test_svi_raises_the_elbo_and_trains_every_parameter(name):
    vae = VAES[name]
    svi = SVI(vae.model, vae.guide, optax.adam(0.02), Trace_ELBO())
    state = jax.jit(svi.init)(KEY, DATA)
    before, losses, update = svi.get_params(state), [], jax.jit(svi.update)
    for _ in range(80):
        state, loss = update(state, DATA)
        losses.append(float(loss))
    assert sum(losses[-10:]) < sum(losses[:10]) - 10 * len(DATA)
    params = svi.get_params(state)
    assert {n for n in params if n.startswith("z$")} == OF_PRIOR[name]
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), before, params)
    assert all(jax.tree.leaves(changed)), changed
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    if name == "vamp":
        assert (jnp.abs(params["z$pseudo_inputs"]) < 6).all()


@every_vae
def test_plates_masks_predictive_and_log_density(name):
    vae = VAES[name]

    def plates(prior):
        with numpyro.plate("outer", 4), numpyro.plate("inner", 3):
            numpyro.sample("nested", prior)
        with numpyro.plate("two", 2), handlers.mask(mask=jnp.array([True, False])):
            numpyro.sample("masked", prior)

    @jax.jit
    def everything(key):
        trace = handlers.trace(handlers.seed(vae.model, key)).get_trace(DATA)
        params = {n: site["value"] for n, site in trace.items() if site["type"] == "param"}
        drawn = Predictive(vae.model, params=params, num_samples=7)(key, DATA)["z"]
        total, sites = log_density(vae.model, (DATA,), {}, params | {"z": drawn[0]})
        each = sites["z"]["fn"].log_prob(drawn[0]), sites["x"]["fn"].log_prob(DATA)
        others = handlers.trace(handlers.seed(plates, key)).get_trace(trace["z"]["fn"].base_dist)
        scores = {n: others[n]["fn"].log_prob(others[n]["value"]) for n in ("nested", "masked")}
        return drawn, total, each, scores

    drawn, total, each, scores = everything(KEY)
    assert drawn.shape == (7, 60, D)
    assert len(np.unique(drawn)) == drawn.size
    np.testing.assert_allclose(total, sum(part.sum() for part in each), rtol=1e-8)
    assert scores["nested"].shape == (3, 4)
    assert scores["masked"][1] == 0


@every_vae
def test_a_prior_goes_in_and_out_of_jit_and_maps(name):
    prior = made(VAES[name])
    z = points(4, D)
    expected = log_prob(prior, z)
    again = jax.jit(lambda prior: prior)(prior)
    np.testing.assert_allclose(log_prob(again, z), expected)
    mapped = jax.jit(jax.vmap(lambda prior, z: prior.log_prob(z), (None, 0)))(prior, z)
    np.testing.assert_allclose(mapped, expected, rtol=1e-10)


@pytest.mark.parametrize("name", RECIPES)
def test_every_flow_registers_as_one_parameter(name):
    init = RECIPES[name](3)
    model = functools.partial(fk.flow_prior, "prior", init)
    trace = handlers.trace(handlers.seed(model, KEY)).get_trace()
    assert list(trace) == ["prior$params"]
    assert trace["prior$params"]["value"].spec == init.spec
    flow = large(init)
    for start in (flow, lambda key: flow):
        with handlers.seed(rng_seed=0), handlers.trace() as sites:
            prior = fk.flow_prior("prior", start)
        assert sites["prior$params"]["value"] is flow
        z = points(2, 3)
        assert_close(log_prob(prior, z), log_prob(fk.FlowDistribution(flow), z))


def test_a_base_of_ones_own_a_started_base_and_a_distribution():
    base = fk.student_t_base(D)
    normal = dist.Normal(jnp.ones(D), 2.0).to_event(1)
    for given in (base, base(KEY), normal):
        with handlers.seed(rng_seed=0), handlers.trace() as sites:
            prior = fk.flow_prior("z", FLOW, given)
        assert ("z$base" in sites) == (given is not normal)
        expected = given if given is normal else base(KEY)()
        z = points(3, D)
        assert_close(log_prob(prior, z), log_prob(expected, z), 1e-6, 1e-6)


def test_single_precision_stays_in_double_precision_mode():
    init = functools.partial(FLOW, dtype="float32")
    with handlers.seed(rng_seed=0):
        prior = fk.flow_prior("z", init, fk.mixture_base(D))
    z = jax.jit(lambda prior: prior.sample(KEY, (3,)))(prior)
    assert z.dtype == log_prob(prior, z).dtype == jnp.float32


@pytest.mark.parametrize("context", [None, points(6, 3, seed=5)], ids=["none", "context"])
def test_transform_reparam_splits_a_flow_prior(context):
    flow = large(fk.realnvp(D, context_dim=0 if context is None else 3, **SMALL))

    def model():
        with numpyro.plate("rows", 6):
            numpyro.sample("z", fk.flow_prior("z", flow, context=context))

    split = handlers.reparam(model, config={"z": TransformReparam()})
    nodes = handlers.trace(handlers.seed(split, KEY)).get_trace()
    assert nodes["z_base"]["value"].shape == (6, D)
    assert nodes["z"]["type"] == "deterministic"
    args = (nodes["z_base"]["value"],) if context is None else (nodes["z_base"]["value"], context)
    assert_close(nodes["z"]["value"], forward(flow, *args)[0])


def test_pseudo_inputs_may_come_in_as_an_argument():
    def model(inputs, weights):
        encoder = registered_encoder()
        with numpyro.plate("rows", 60, subsample_size=6) as rows:
            prior = fk.vamp_prior("z", encoder, inputs, weights=weights)
            z = numpyro.sample("z", prior)
            numpyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=DATA[rows, 0])

    @jax.jit
    def drawn(inputs, weights):
        trace = handlers.trace(handlers.seed(model, KEY)).get_trace(inputs, weights)
        return trace["z"]["value"], trace["z$pseudo_inputs"]["value"]

    z, inputs = drawn(DATA[:6], jnp.arange(1.0, 7.0))
    assert z.shape == (6, D)
    assert inputs.shape == (6, 5)


def test_the_encoder_of_a_guide_gets_gradients_from_the_prior():
    def total(weight):
        def encoder(x):
            return dist.Laplace(x @ weight, 1.0).to_event(1)

        return fk.vamp_prior("z", encoder, DATA[:3]).log_prob(jnp.ones(D))

    gradient = jax.jit(jax.grad(total))(0.1 * points(5, D))
    assert (jnp.abs(gradient) > 0).all()


@slow
@pytest.mark.parametrize("kind", ["full", "laplace"])
def test_automatic_guides_and_nuts_know_the_support(kind):
    if kind == "full":
        prior = handlers.seed(fk.mixture_prior, KEY)("z", D, 3, covariance="full")
    else:
        prior = fk.vamp_prior("z", lambda u: dist.Laplace(u[:, :D], 0.5).to_event(1), DATA[::20])

    def model():
        z = numpyro.sample("z", prior)
        numpyro.sample("y", dist.Normal(z, 0.5).to_event(1), obs=jnp.ones(D))

    svi = SVI(model, AutoNormal(model), optax.adam(0.05), Trace_ELBO())
    losses = svi.run(KEY, 60, progress_bar=False).losses
    assert losses[-10:].sum() < losses[:10].sum()
    mcmc = MCMC(NUTS(model, max_tree_depth=4), num_warmup=20, num_samples=20, progress_bar=False)
    mcmc.run(KEY)
    assert len(jnp.unique(mcmc.get_samples()["z"])) > 10


SHAPES = {
    "mixture": ("z$locs", lambda: fk.mixture_prior("z", 2, 3)),
    "vamp": ("z$pseudo_inputs", lambda: fk.vamp_prior("z", registered_encoder(), DATA[:3])),
}


@pytest.mark.parametrize("case", SHAPES)
def test_parameters_of_another_prior_are_refused(case):
    name, call = SHAPES[case]
    message = r"z\$.*another prior: expected shape .*got \(7, 5\)"
    other = handlers.substitute(data={name: jnp.zeros((7, 5))})
    with handlers.seed(rng_seed=0), other, pytest.raises(ValueError, match=message):
        call()


def test_a_flow_that_is_none_is_refused():
    with handlers.seed(rng_seed=0):
        with pytest.raises(TypeError, match="lead to a Flow when called with a key, got ndarray"):
            fk.flow_prior("z", lambda key: np.zeros(2))
        flow = large(fk.maf(D, context_dim=3, **SMALL))
        with pytest.raises(TypeError, match=r"flow: .* got ConditionedFlow"):
            fk.flow_prior("z", flow.condition(jnp.zeros(3)))
        with pytest.raises(TypeError, match=r"encoder: expected a function.*got Independent"):
            fk.vamp_prior("z", dist.Normal(jnp.zeros((3, D)), 1.0).to_event(1), DATA[:3])
