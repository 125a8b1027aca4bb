"""Guides with a conditional flow over the latents of each row.

Most of the slow tests' time is compilation; the Pyro twin makes the same claims in `make test`.
"""

import copy
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from numpyro import handlers
from numpyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from numpyro.infer.util import log_density as joint_log_density
from numpyro.optim import Adam

import numpyro_flowkit as fk
from flowkit_core.model_problems import ModelError
from tests.numpyro.helpers import assert_same_gradients
from tests.numpyro.models import large

N = 20
DATA = jnp.linspace(-1.0, 3.0, N)[:, None]
SMALL = functools.partial(fk.AutoIAF, num_layers=1, hidden_dims=(6,))
ROW_FLOW = functools.partial(fk.iaf, num_layers=2, hidden_dims=(6,))


def linear(data, size=None):
    """Rows around a mean: everything is Normal."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", N, subsample_size=size) as rows:
        z = numpyro.sample("z", dist.Normal(mu, 1.0))
        observed = data[rows] if len(data) == N else data
        numpyro.sample("y", dist.Normal(z, 1.0), obs=observed[:, 0])


def evidence():
    covariance = 2 * jnp.eye(N) + 1
    return dist.MultivariateNormal(jnp.zeros(N), covariance).log_prob(DATA[:, 0])


def several(data):
    """Two local latents, one on a simplex and one in a plate inside of the rows' plate."""
    scale = numpyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with numpyro.plate("data", len(data), dim=-2):
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(3)))
        with numpyro.plate("inner", 2, dim=-1):
            effect = numpyro.sample("effect", dist.Normal(0.0, scale))
            numpyro.sample("y", dist.Normal(effect + weights[..., 0], 1.0), obs=data)


def network(weights, data):
    return jnp.tanh(data @ weights[0] + weights[1]) @ weights[2]


def encoder(size=2, inputs=1):
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(inputs, 5)), rng.normal(size=5), rng.normal(size=(5, size))
    return Partial(network, tuple(map(jnp.asarray, arrays)))


def traced(guide, params, *args, seed=3):
    with handlers.seed(rng_seed=seed), handlers.substitute(data=params), handlers.trace() as trace:
        guide(*(args or (DATA,)))
    return trace


def built(model=linear, *args, guide_type=SMALL, **kwargs):
    """A guide that has met its model, and its parameters with every weight of order one."""
    guide = fk.AutoAmortisedFlow(model, flow=ROW_FLOW, global_guide=guide_type, **kwargs)
    trace = traced(guide, {}, *args)
    params = {n: s["value"] for n, s in trace.items() if s["type"] == "param"}
    found = large(params)
    flow = found.get("auto_globals_flow$params")
    if flow is not None:  # its frame is fixed
        frame = params["auto_globals_flow$params"].layers[2]
        found["auto_globals_flow$params"] = type(flow)((*flow.layers[:2], frame))
    return guide, found


def log_q(trace):
    total = 0.0
    for site in trace.values():
        if site["type"] == "sample":
            drawn = [site["intermediates"]] if site["intermediates"] else []
            scale = 1.0 if site["scale"] is None else site["scale"]
            total += scale * site["fn"].log_prob(site["value"], *drawn).sum()
    return total


def parts_of(trace):
    """What was drawn: global latents (G,), and packed ones of rows (B, d)."""
    return trace["_auto_globals_latent"]["value"], trace["_auto_local"]["value"]


def rows_of(guide, params, data=DATA):
    return params["auto_rows"] if "auto_rows" in params else params["auto_encoder$params"](data)


def log_density(guide, params, shared, packed, rows):
    """``log q(g) + sum_n log q(x_n | g)`` of unconstrained latents, through inverses."""
    _, affine, frame = params["auto_globals_flow$params"].layers
    inner, _ = frame.inverse_and_log_det(shared)
    inner, _ = affine.inverse_and_log_det(inner)
    context = jnp.concatenate([rows, jnp.broadcast_to(inner, (len(rows), inner.shape[-1]))], -1)
    z, log_det = params["auto_local_flow$params"].inverse_and_log_det(
        packed.reshape(len(rows), -1), context
    )
    own = dist.Normal(0.0, 1.0).log_prob(z).sum(-1) + log_det
    transform = params["auto_globals_flow$params"]
    posterior = fk.FlowDistribution(transform, params["auto_globals_base$params"]())
    return posterior.log_prob(shared) + own.sum()


def both_densities(guide, fixed=None):
    """log q by the guide's trace, and by inverses with its own or with other weights."""

    def by_trace(params):
        return log_q(traced(guide, params))

    def by_inverse(params):
        shared, packed = parts_of(traced(guide, params))
        weights = params if fixed is None else fixed
        return log_density(guide, weights, shared, packed, rows_of(guide, weights))

    return jax.jit(jax.value_and_grad(by_trace)), jax.jit(jax.value_and_grad(by_inverse))


@pytest.mark.parametrize("with_encoder", [pytest.param(False, marks=pytest.mark.slow), True])
def test_path_gradients_are_those_of_the_density_with_fixed_weights(with_encoder):
    guide, params = built(encoder=encoder() if with_encoder else None)
    by_trace, by_inverse = both_densities(guide, fixed=params)
    (value, gradient), (expected, slope) = by_trace(params), by_inverse(params)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    assert_same_gradients(gradient, slope, tolerance=1e-8)


@pytest.mark.slow
def test_without_path_gradients_they_are_those_of_the_density():
    guide, params = built(encoder=encoder(), path_gradient=False)
    by_trace, by_inverse = both_densities(guide)
    (value, gradient), (expected, slope) = by_trace(params), by_inverse(params)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    assert_same_gradients(gradient, slope, tolerance=1e-6)


def exact_guide():
    """The guide that is the posterior of `linear`, in closed form."""
    flat = functools.partial(fk.iaf, num_layers=1, hidden_dims=())
    normal = functools.partial(fk.AutoIAF, num_layers=1, hidden_dims=(), base="normal")
    same = Partial(lambda weight, data: data * weight, jnp.ones(()))
    guide = fk.AutoAmortisedFlow(linear, same, flow=flat, global_guide=normal)
    trace = traced(guide, {})
    params = {n: s["value"] for n, s in trace.items() if s["type"] == "param"}
    mean, sd = DATA.sum() / (N + 2), math.sqrt(2 / (N + 2))

    flow, affine, frame = params["auto_globals_flow$params"].layers
    affine = fk.build(affine.spec, {"log_scale": jnp.array([math.log(sd)]), "shift": mean[None]})
    start, rows = params["auto_local_flow$params"].layers
    start = jax.tree.map(jnp.zeros_like, start)
    # Row n given mu is Normal with mean (y_n + mu) / 2 and variance 1 / 2.
    arrays = {
        "layers.0.conditioner.context_weight": [[0.5, 0.5 * sd], [0, 0]],
        "layers.0.conditioner.bias_0": [0.5 * mean, 0],
        "layers.0.conditioner.weight_0": [[0], [0]],
        "layers.0.free": [[-0.5 * math.log(2)]],
    }
    arrays = {name: jnp.asarray(values, mean.dtype) for name, values in arrays.items()}
    rows = fk.build(rows.spec, arrays)
    compose = type(params["auto_globals_flow$params"])
    params["auto_globals_flow$params"] = compose((flow, affine, frame))
    params["auto_local_flow$params"] = compose((start, rows))
    return guide, params


def test_path_gradients_vanish_at_the_posterior():
    guide, params = exact_guide()

    @jax.jit
    @jax.value_and_grad
    def elbo(params, seed):
        return -Trace_ELBO().loss(seed, params, linear, guide, DATA)

    for seed in range(3):
        value, gradient = elbo(params, jax.random.key(seed))
        np.testing.assert_allclose(value, evidence(), rtol=1e-9)
        assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) < 1e-9


@pytest.mark.slow
def test_local_latents_of_any_support_and_inner_plates():
    data = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)))
    guide, params = built(several, data, encoder=encoder(inputs=2), plate="data")
    assert [(s.name, s.inner, s.event) for s in guide.local.sites] == [
        ("weights", (1,), (2,)), ("effect", (2,), ()),
    ]  # fmt: skip
    trace = traced(guide, params, data)
    assert trace["weights"]["value"].shape == (4, 1, 3)
    assert trace["effect"]["value"].shape == (4, 2)
    shared, packed = parts_of(trace)
    stick = dist.transforms.StickBreakingTransform()
    raw = packed[:, 0, :2]
    expected = log_density(guide, params, shared, packed, rows_of(guide, params, data))
    expected -= stick.log_abs_det_jacobian(raw, stick(raw)).sum() + shared.sum()  # scale = exp(g)
    np.testing.assert_allclose(log_q(trace), expected, rtol=1e-9)
    model = handlers.substitute(
        several, data={n: trace[n]["value"] for n in ("scale", "weights", "effect")}
    )
    assert np.isfinite(joint_log_density(model, (data,), {}, {})[0])


@pytest.mark.parametrize("with_encoder", [pytest.param(False, marks=pytest.mark.slow), True])
def test_rows_that_a_plate_draws_get_their_own_context_and_count_for_all(with_encoder):
    guide, params = built(linear, DATA, 5, encoder=encoder() if with_encoder else None)
    trace = traced(guide, params, DATA, 5)
    drawn = trace["data"]["value"]
    assert len(drawn) == 5
    shared, packed = parts_of(trace)
    of_globals = fk.FlowDistribution(
        params["auto_globals_flow$params"], params["auto_globals_base$params"]()
    ).log_prob(shared)
    rows = rows_of(guide, params)[drawn]
    local = log_density(guide, params, shared, packed, rows) - of_globals
    np.testing.assert_allclose(log_q(trace), of_globals + local * N / 5, rtol=1e-9)


@pytest.mark.slow
def test_minibatches_of_any_size_and_rows_never_seen():
    guide, params = built(linear, DATA[:5], 5, encoder=encoder())
    assert traced(guide, params, DATA[7:10], 3)["z"]["value"].shape == (3,)
    draws = guide.sample_posterior(jax.random.key(0), params, DATA[:5], 5, sample_shape=(2, 3))
    assert {name: v.shape for name, v in draws.items()} == {"mu": (2, 3), "z": (2, 3, 5)}
    assert len(np.unique(draws["mu"])) == 6


ELBOS = {
    "particles": Trace_ELBO(num_particles=4),
    "mean field": TraceMeanField_ELBO(num_particles=4),
    "renyi": RenyiELBO(alpha=0.5, num_particles=4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ELBOS)
def test_svi_lowers_the_loss_and_moves_every_weight(name):
    guide = fk.AutoAmortisedFlow(
        linear, encoder(), flow=ROW_FLOW, global_guide=SMALL, path_gradient=name != "renyi"
    )
    svi = SVI(linear, guide, Adam(0.03), ELBOS[name])
    # NumPyro's RenyiELBO does not take subsampled local latents.
    size = None if name == "renyi" else 10
    start = svi.init(jax.random.key(0), DATA, size)
    before = svi.get_params(start)
    result = svi.run(jax.random.key(0), 60, DATA, size, init_state=start, progress_bar=False)
    assert result.losses[-10:].sum() < result.losses[:10].sum()
    for part, still in (("auto_encoder$params", 0), ("auto_local_flow$params", 2)):
        same = jax.tree.map(lambda a, b: bool((a == b).all()), before[part], result.params[part])
        # In both layers the network of a single coordinate reads no coordinate.
        assert sum(jax.tree.leaves(same)) == still


@pytest.mark.slow
def test_a_fit_over_minibatches_reaches_the_evidence():
    guide = fk.AutoAmortisedFlow(
        linear, encoder(), flow=ROW_FLOW, global_guide=SMALL,
        create_plates=lambda data, size=None: numpyro.plate("data", N, subsample_size=size, dim=-1),
    )  # fmt: skip
    result = fk.fit_guide(
        linear, guide, DATA, 10, num_steps=600, learning_rate=0.02, progress=False
    )
    elbo = Trace_ELBO(num_particles=2000)
    loss = elbo.loss(jax.random.key(0), result.params, linear, guide, DATA)
    assert -loss > evidence() - 0.1


def test_a_copy_is_the_same_guide():
    guide, params = built(encoder=encoder())
    again = copy.deepcopy(guide)
    draws = [traced(one, params)["z"]["value"] for one in (guide, again)]
    np.testing.assert_array_equal(*draws)


def test_a_model_without_global_latents():
    def model(data):
        with numpyro.plate("data", N):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
            numpyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=data[:, 0])

    guide, params = built(model, encoder=encoder())
    assert guide.globals is None
    trace = traced(guide, params)
    z, log_det = params["auto_local_flow$params"].inverse_and_log_det(
        trace["z"]["value"], rows_of(guide, params)
    )
    own = dist.Normal(0.0, 1.0).log_prob(z).sum(-1) + log_det
    np.testing.assert_allclose(log_q(trace), own.sum(), rtol=1e-9)


def nothing_local(data):
    numpyro.sample("mu", dist.Normal(0.0, 1.0))


def two_plates(data):
    with numpyro.plate("a", 3):
        numpyro.sample("x", dist.Normal(0.0, 1.0))
    with numpyro.plate("b", 4):
        numpyro.sample("y", dist.Normal(0.0, 1.0))


def nested(data):
    with numpyro.plate("groups", 3, dim=-2), numpyro.plate("data", N, dim=-1):
        numpyro.sample("z", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(
    ("model", "args", "kwargs", "error", "message"),
    [
        (nothing_local, (DATA,), {}, ModelError, r"'mu'\) lies in a plate.*use AutoFlow"),
        (two_plates, (DATA,), {}, ModelError, "name the plate.*'a', 'b'"),
        (two_plates, (DATA,), {"plate": "c"}, ModelError, "no latent lies in a plate 'c'"),
        (nested, (DATA,), {"plate": "data"}, ModelError, "site 'z': plate 'data' lies inside"),
        (linear, (DATA, 5), {"inputs": lambda d, n: d.repeat(2, 0)}, ModelError, "got 40 rows"),
        (lambda: linear(DATA), (), {}, ValueError, "inputs: the model was called without arg"),
        (linear, (DATA,), {"inputs": lambda d: 3}, TypeError, "inputs: expected .*rows, got int"),
        (linear, (DATA,), {"flow": lambda d, context_dim: fk.iaf(d)}, ValueError,
         "flow: expected input_dim=1 and context_dim=3, got input_dim=1, context_dim=0"),
        (linear, (DATA,), {"flow": lambda d, context_dim: 1}, TypeError, "expected it to return"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(model, args, kwargs, error, message):
    guide = fk.AutoAmortisedFlow(model, encoder(), **kwargs)
    for _ in range(2):  # the second call says the same
        with pytest.raises(error, match=message), handlers.seed(rng_seed=0):
            guide(*args)


def test_bad_encoders_are_refused():
    with pytest.raises(TypeError, match="encoder: expected a pytree of arrays, got a plain fun"):
        fk.AutoAmortisedFlow(linear, lambda data: data)
    with pytest.raises(ValueError, match="embedding_dim: the encoder's result has a length"):
        fk.AutoAmortisedFlow(linear, encoder(), embedding_dim=2)
    flat = Partial(lambda weight, data: (data * weight)[:, 0], jnp.ones(()))
    guide = fk.AutoAmortisedFlow(linear, flat)
    message = r"encoder: expected a result of shape \(20, E\), got \(20,"
    with pytest.raises(ValueError, match=message), handlers.seed(rng_seed=0):
        guide(DATA)
