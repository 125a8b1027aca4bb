"""Guides with a conditional flow over the latents of each row."""

import copy
import functools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import nn

import pyro_flowkit as fk
from flowkit_core.model_problems import ModelError

N = 20
DATA = torch.linspace(-1.0, 3.0, N, dtype=torch.float64)[:, None]
SMALL = functools.partial(fk.AutoIAF, num_layers=1, hidden_dims=(6,))
ROW_FLOW = functools.partial(fk.iaf, num_layers=2, hidden_dims=(6,))


def linear(data, size=None):
    """Rows around a mean: everything is Normal."""
    mu = pyro.sample("mu", dist.Normal(data.new_zeros(()), 1.0))
    with pyro.plate("data", N, subsample_size=size) as rows:
        z = pyro.sample("z", dist.Normal(mu, 1.0))
        observed = data[rows] if len(data) == N else data
        pyro.sample("y", dist.Normal(z, 1.0), obs=observed[:, 0])


def evidence():
    covariance = 2 * torch.eye(N, dtype=torch.float64) + 1
    return dist.MultivariateNormal(torch.zeros_like(DATA[:, 0]), covariance).log_prob(DATA[:, 0])


def several(data):
    """Two local latents, one on a simplex and one in a plate inside of the rows' plate."""
    scale = pyro.sample("scale", dist.LogNormal(data.new_zeros(()), 1.0))
    with pyro.plate("data", len(data), dim=-2):
        weights = pyro.sample("weights", dist.Dirichlet(data.new_ones(3)))
        with pyro.plate("inner", 2, dim=-1):
            effect = pyro.sample("effect", dist.Normal(data.new_zeros(()), scale))
            pyro.sample("y", dist.Normal(effect + weights[..., 0], 1.0), obs=data)


def encoder(size=2, inputs=1):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, size)).double()


def built(model=linear, *args, large=True, **kwargs):
    """A guide that has met its model, with every weight of order one."""
    guide = fk.AutoAmortisedFlow(model, flow=ROW_FLOW, global_guide=SMALL, **kwargs)
    guide(*(args or (DATA,)))
    if large:
        torch.manual_seed(1)
        with torch.no_grad():
            for name, p in guide.named_parameters():
                frozen = name.startswith("globals.transform.layers.2")
                p.copy_(p if frozen else 0.5 * torch.randn_like(p))
    return guide


def traced(guide, *args):
    trace = poutine.trace(guide).get_trace(*(args or (DATA,)))
    trace.compute_log_prob()
    return trace


def parts_of(guide, trace):
    """What was drawn: global latents (G,), and packed ones of rows (B, d)."""
    shared = [s["value"] for n, s in trace.nodes.items() if n.endswith("globals_latent")]
    (packed,) = (s["value"] for n, s in trace.nodes.items() if n.endswith("Flow_local"))
    return shared[0], packed


def log_density(guide, shared, packed, data=DATA):
    """``log q(g) + sum_n log q(x_n | g)`` of unconstrained latents, through inverses."""
    part = guide.globals
    _, affine, frame = part.get_transform().parts
    inner, _ = frame.inverse_and_log_det(shared)
    inner, _ = affine.inverse_and_log_det(inner)
    rows = guide.rows if guide.encoder is None else guide.encoder(data)
    context = torch.cat([rows, inner.expand(len(rows), -1)], -1)
    z, log_det = guide.transform.inverse_and_log_det(packed.reshape(len(rows), -1), context)
    own = dist.Normal(torch.zeros_like(z), 1.0).log_prob(z).sum(-1) + log_det
    posterior = fk.FlowDistribution(part.get_transform(), part.get_base_dist())
    return posterior.log_prob(shared) + own.sum()


def log_q(trace):
    return sum(site["log_prob"].sum() for site in trace.nodes.values() if site["type"] == "sample")


@pytest.mark.parametrize("path_gradient", [False, True])
@pytest.mark.parametrize("with_encoder", [False, True])
def test_the_density_is_that_of_the_inverse(with_encoder, path_gradient):
    guide = built(encoder=encoder() if with_encoder else None, path_gradient=path_gradient)
    trace = traced(guide)
    expected = log_density(guide, *parts_of(guide, trace))
    torch.testing.assert_close(log_q(trace), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("with_encoder", [False, True])
def test_path_gradients_are_those_of_the_density_with_fixed_weights(with_encoder):
    guide = built(encoder=encoder() if with_encoder else None)
    weights = list(guide.parameters())
    fixed = copy.deepcopy(guide).requires_grad_(False)
    trace = traced(guide)
    got = torch.autograd.grad(log_q(trace), weights, retain_graph=True, materialize_grads=True)
    along_path = log_density(fixed, *parts_of(guide, trace))
    expected = torch.autograd.grad(along_path, weights, materialize_grads=True)
    assert sum(e.abs().sum() for e in expected) > 1
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("path_gradient", [False, True])
def test_without_path_gradients_they_are_those_of_the_density(path_gradient):
    guide = built(encoder=encoder(), path_gradient=path_gradient)
    weights = list(guide.parameters())
    trace = traced(guide)
    got = torch.autograd.grad(log_q(trace), weights, retain_graph=True, materialize_grads=True)
    total = log_density(guide, *parts_of(guide, trace))
    expected = torch.autograd.grad(total, weights, materialize_grads=True)
    differ = [not torch.allclose(g, e, rtol=1e-8, atol=1e-8)
              for g, e in zip(got, expected, strict=True)]  # fmt: skip
    assert any(differ) == path_gradient


def exact_guide():
    """The guide that is the posterior of `linear`, in closed form."""
    flat = functools.partial(fk.iaf, num_layers=1, hidden_dims=())
    normal = functools.partial(fk.AutoIAF, num_layers=1, hidden_dims=(), base="normal")
    same = nn.Linear(1, 1).double()
    guide = fk.AutoAmortisedFlow(linear, same, flow=flat, global_guide=normal)
    guide(DATA)
    mean, sd = DATA.sum() / (N + 2), math.sqrt(2 / (N + 2))
    affine = guide.globals.get_transform().parts[1]
    start, flow = guide.transform.parts
    weights = dict(flow.named_parameters())
    context, bias = (
        weights["layers.0.conditioner.context_weight"],
        flow.layers[0].conditioner.bias_0,
    )
    with torch.no_grad():
        for p in (same.bias, start.shift, start.log_scale, context, bias):
            p.zero_()
        same.weight.fill_(1.0)
        affine.shift.fill_(mean)
        affine.log_scale.fill_(math.log(sd))
        # Row n given mu is Normal with mean (y_n + mu) / 2 and variance 1 / 2.
        context[0, 0], context[0, 1] = 0.5, 0.5 * sd
        bias[0] = 0.5 * mean
        weights["layers.0.free"].fill_(-0.5 * math.log(2))
    return guide


@pytest.mark.parametrize("seed", range(3))
def test_path_gradients_vanish_at_the_posterior(seed):
    guide = exact_guide()
    torch.manual_seed(seed)
    loss = -_log_ratio(traced(guide))
    torch.testing.assert_close(-loss, evidence(), rtol=1e-9, atol=1e-9)
    grads = torch.autograd.grad(loss, list(guide.parameters()), materialize_grads=True)
    assert max(g.abs().max() for g in grads) < 1e-9


def _log_ratio(trace):
    model = poutine.trace(poutine.replay(linear, trace=trace)).get_trace(DATA)
    return model.log_prob_sum() - log_q(trace)


def test_local_latents_of_any_support_and_inner_plates():
    data = torch.randn(4, 2, dtype=torch.float64)
    guide = built(several, data, encoder=encoder(inputs=2), plate="data")
    assert [(s.name, s.inner, s.event) for s in guide.local.sites] == [
        ("weights", (1,), (2,)), ("effect", (2,), ()),
    ]  # fmt: skip
    trace = traced(guide, data)
    assert trace.nodes["weights"]["value"].shape == (4, 1, 3)
    assert trace.nodes["effect"]["value"].shape == (4, 2)
    elbo = Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=2)
    assert math.isfinite(elbo.loss(several, guide, data))
    # log q of the constrained values: that of the packed ones less the stick-breaking log-det.
    shared, packed = parts_of(guide, trace)
    stick = dist.transforms.StickBreakingTransform()
    raw = packed[:, 0, :2]
    expected = (
        log_density(guide, shared, packed, data)
        - stick.log_abs_det_jacobian(raw, stick(raw)).sum()
        - shared.sum()
    )  # scale = exp(g)
    torch.testing.assert_close(log_q(trace), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("with_encoder", [False, True])
def test_rows_that_a_plate_draws_get_their_own_context_and_count_for_all(with_encoder):
    guide = built(linear, DATA, 5, encoder=encoder() if with_encoder else None)
    trace = traced(guide, DATA, 5)
    rows = trace.nodes["data"]["value"]
    assert len(rows) == 5
    shared, packed = parts_of(guide, trace)
    context = guide.rows if guide.encoder is None else guide.encoder(DATA)
    _, affine, frame = guide.globals.get_transform().parts
    inner = affine.inverse_and_log_det(frame.inverse_and_log_det(shared)[0])[0]
    context = torch.cat([context[rows], inner.expand(5, -1)], -1)
    z, log_det = guide.transform.inverse_and_log_det(packed, context)
    own = dist.Normal(torch.zeros_like(z), 1.0).log_prob(z).sum(-1) + log_det
    got = sum(trace.nodes[n]["log_prob"].sum() for n in trace.nodes
              if n.endswith(("Flow_local", "Flow_noise")))  # fmt: skip
    torch.testing.assert_close(got, own.sum() * N / 5, rtol=1e-9, atol=1e-9)


def test_minibatches_of_any_size_and_rows_never_seen():
    guide = built(linear, DATA[:5], 5, encoder=encoder())
    assert guide(DATA[7:10], 3)["z"].shape == (3,)
    draws = guide.sample_posterior(6, DATA[:5], 5)
    assert {name: tuple(v.shape) for name, v in draws.items()} == {"mu": (6,), "z": (6, 5)}


ELBOS = {
    "vectorised": Trace_ELBO(num_particles=4, vectorize_particles=True),
    "one by one": Trace_ELBO(num_particles=2),
    "mean field": TraceMeanField_ELBO(num_particles=4, vectorize_particles=True),
    "renyi": RenyiELBO(alpha=0.5, num_particles=4, vectorize_particles=True),
}


@pytest.mark.parametrize("name", ELBOS)
def test_svi_lowers_the_loss_and_moves_every_weight(name):
    path_gradient = name != "renyi"
    guide = built(linear, DATA, 10, large=False, encoder=encoder(), path_gradient=path_gradient)
    before = {n: p.detach().clone() for n, p in guide.named_parameters()}
    svi = SVI(linear, guide, pyro.optim.Adam({"lr": 0.03}), ELBOS[name])
    losses = [svi.step(DATA, 10) for _ in range(60)]
    assert sum(losses[-10:]) < sum(losses[:10])
    still = {n for n, p in guide.named_parameters() if torch.equal(p, before[n])}
    # The frame is fixed, and the network of a single coordinate reads no coordinate.
    assert all(n.startswith("globals.transform") or n.endswith("weight_0") for n in still)


def test_a_fit_over_minibatches_reaches_the_evidence():
    guide = fk.AutoAmortisedFlow(
        linear, encoder(), flow=ROW_FLOW, global_guide=SMALL,
        create_plates=lambda data, size=None: pyro.plate("data", N, subsample_size=size, dim=-1),
    )  # fmt: skip
    fk.fit_guide(linear, guide, DATA, 10, num_steps=600, learning_rate=0.02, progress=False)
    elbo = Trace_ELBO(num_particles=2000, vectorize_particles=True)
    with torch.no_grad():
        assert -elbo.loss(linear, guide, DATA) > evidence() - 0.1


def test_copies_and_saved_weights_are_the_same_guide():
    guide = built(encoder=encoder())
    again = copy.deepcopy(guide)
    fresh = built(large=False, encoder=encoder())
    fresh.load_state_dict(guide.state_dict())
    draws = []
    for one in (guide, again, fresh):
        torch.manual_seed(3)
        draws.append(one(DATA)["z"])
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2])


def test_a_model_without_global_latents():
    def model(data):
        with pyro.plate("data", N):
            z = pyro.sample("z", dist.Normal(data.new_zeros(2), 1.0).to_event(1))
            pyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=data[:, 0])

    guide = built(model, encoder=encoder())
    assert guide.globals is None
    trace = traced(guide)
    packed = trace.nodes["z"]["value"]
    z, log_det = guide.transform.inverse_and_log_det(packed, guide.encoder(DATA))
    own = dist.Normal(torch.zeros_like(z), 1.0).log_prob(z).sum(-1) + log_det
    torch.testing.assert_close(log_q(trace), own.sum(), rtol=1e-9, atol=1e-9)


def nothing_local(data):
    pyro.sample("mu", dist.Normal(0.0, 1.0))


def two_plates(data):
    with pyro.plate("a", 3):
        pyro.sample("x", dist.Normal(0.0, 1.0))
    with pyro.plate("b", 4):
        pyro.sample("y", dist.Normal(0.0, 1.0))


def nested(data):
    with pyro.plate("groups", 3, dim=-2), pyro.plate("data", N, dim=-1):
        pyro.sample("z", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(
    ("model", "args", "kwargs", "error", "message"),
    [
        (nothing_local, (DATA,), {}, ModelError, r"'mu'\) lies in a plate.*use AutoFlow"),
        (two_plates, (DATA,), {}, ModelError, "name the plate.*'a', 'b'"),
        (two_plates, (DATA,), {"plate": "c"}, ModelError, "no latent lies in a plate 'c'"),
        (nested, (DATA,), {"plate": "data"}, ModelError, "site 'z': plate 'data' lies inside"),
        (linear, (DATA[:0], 5), {}, ModelError, "inputs: expected data of the 20 rows.*got 0 rows"),
        (linear, (DATA.repeat(2, 1), 5), {}, ModelError, "got 40 rows"),
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
        with pytest.raises(error, match=message):
            guide(*args)


def test_bad_encoders_are_refused():
    with pytest.raises(TypeError, match="encoder: expected a torch module, got function"):
        fk.AutoAmortisedFlow(linear, lambda data: data)
    with pytest.raises(ValueError, match="embedding_dim: the encoder's result has a length"):
        fk.AutoAmortisedFlow(linear, encoder(), embedding_dim=2)
    guide = fk.AutoAmortisedFlow(linear, nn.Flatten(0))
    with pytest.raises(
        ValueError, match=r"encoder: expected a result of shape \(20, E\), got \(20,"
    ):
        guide(DATA)
