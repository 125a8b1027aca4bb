"""The importance-weighted bound and its doubly reparametrised gradient."""

import copy
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import infer, poutine
from pyro.infer.autoguide import AutoDiagonalNormal, AutoGuideList

import pyro_flowkit as fk
from tests.pyro import models
from tests.pyro import normal_guides as normal
from tests.pyro.helpers import SMALL, assert_same_gradients
from tests.pyro.normal_guides import GUIDES

pytestmark = pytest.mark.usefixtures("default_float64")
every_guide = pytest.mark.parametrize("name", GUIDES)
vectorised_or_not = pytest.mark.parametrize("vectorised", [True, False])


def log_joint(x, theta):
    """Log-density of the toy model: latents N(theta, 1), data N(x, 0.6)."""
    data = torch.tensor([0.7, -1.1])
    return (dist.Normal(theta, 1.0).log_prob(x) + dist.Normal(x, 0.6).log_prob(data)).sum(-1)


def toy():
    theta = pyro.param("theta", lambda: torch.tensor([0.3, -0.2]))
    x = pyro.sample("x", dist.Normal(theta, 1.0).to_event(1))
    pyro.sample("y", dist.Normal(x, 0.6).to_event(1), obs=torch.tensor([0.7, -1.1]))


def bent(name, model=toy, seed=0):
    """A guide somewhat off the posterior, by weights that are not the first ones."""
    guide = GUIDES[name](model, init_scale=0.8, **SMALL)
    guide()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in guide.named_parameters():
            if ".layers.2." not in key:  # the frame, which no gradient reaches
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return guide


def loss_and_gradients(elbo, model, guide, seed):
    """The loss, and the gradient of every parameter that Pyro knows of."""
    elbo.loss(model, guide)  # both have met the store
    pyro.set_rng_seed(seed)
    named = dict(pyro.get_param_store().named_parameters())
    for parameter in named.values():
        parameter.grad = None
    loss = elbo.loss_and_grads(model, guide)
    return loss, {k: torch.zeros_like(p) if p.grad is None else p.grad for k, p in named.items()}


def bound(particles, vectorised=True):
    return fk.ImportanceWeightedELBO(
        particles, vectorize_particles=vectorised, max_plate_nesting=0 if vectorised else math.inf
    )


def renyi(particles):
    """The same bound with the gradient of importance-weighted autoencoders."""
    return infer.RenyiELBO(
        alpha=0, num_particles=particles, vectorize_particles=True, max_plate_nesting=0
    )


@every_guide
def test_the_loss_is_that_of_weights_computed_one_by_one(name):
    guide = bent(name)
    pyro.set_rng_seed(1)
    log_weights = []
    for _ in range(5):
        guide_trace = poutine.trace(guide).get_trace()
        model_trace = poutine.trace(poutine.replay(toy, trace=guide_trace)).get_trace()
        log_weights.append(model_trace.log_prob_sum() - guide_trace.log_prob_sum())
    expected = math.log(5) - torch.logsumexp(torch.stack(log_weights), 0).item()
    pyro.set_rng_seed(1)
    assert bound(5, vectorised=False).loss(toy, guide) == pytest.approx(expected, rel=1e-10)
    got, _ = loss_and_gradients(bound(5, vectorised=False), toy, guide, seed=1)
    assert got == pytest.approx(expected, rel=1e-10)


def test_many_draws_give_the_evidence():
    posterior_sd = math.sqrt(1 / (1 + 1 / 0.36))
    guide = normal.AutoRealNVP(toy, init_scale=1.5 * posterior_sd, **SMALL)
    exact = -dist.Normal(torch.tensor([0.3, -0.2]), math.sqrt(1.36)).log_prob(
        torch.tensor([0.7, -1.1])
    )
    assert bound(20_000).loss(toy, guide) == pytest.approx(exact.sum().item(), abs=0.05)


@every_guide
@vectorised_or_not
def test_the_gradient_is_equation_8_written_out(name, vectorised):
    guide, k = bent(name), 4
    loss, got = loss_and_gradients(bound(k, vectorised), toy, guide, seed=3)
    pyro.set_rng_seed(3)
    flow, base = guide.get_transform(), guide.get_base_dist()
    z = base.expand((k,)).rsample() if vectorised else torch.stack([base.rsample() for _ in "abcd"])
    x, _ = flow.forward_and_log_det(z)
    frozen = fk.FlowDistribution(copy.deepcopy(flow).requires_grad_(False))
    theta = pyro.param("theta")
    along_path = log_joint(x, theta.detach()) - frozen.log_prob(x)
    of_model = log_joint(x.detach(), theta)
    v = torch.softmax(along_path.detach(), 0)
    named = dict(pyro.get_param_store().named_parameters())
    surrogate = -(v**2 * along_path).sum() - (v * of_model).sum()
    found = torch.autograd.grad(surrogate, list(named.values()), allow_unused=True)
    expected = {
        key: torch.zeros_like(p) if g is None else g
        for (key, p), g in zip(named.items(), found, strict=True)
    }
    assert_same_gradients(got, expected)
    value = math.log(k) - torch.logsumexp(along_path, 0).item()
    assert loss == pytest.approx(value, rel=1e-10)


def flatten(gradients):
    return torch.cat([g.flatten() for key, g in sorted(gradients.items()) if key != "theta"])


@pytest.mark.parametrize(
    "name", ["iaf", *(pytest.param(name, marks=pytest.mark.slow) for name in ("maf", "realnvp"))]
)
def test_both_gradients_have_one_mean_for_any_number_of_draws(name):
    guide, differences = bent(name), []
    guide.path_gradient = False  # of which RenyiELBO takes notice
    for seed in range(300):
        _, one = loss_and_gradients(bound(6), toy, guide, seed)
        _, two = loss_and_gradients(renyi(6), toy, guide, seed)
        # By the model's parameters both have the same gradient, draw by draw.
        torch.testing.assert_close(one["theta"], two["theta"], rtol=1e-9, atol=1e-12)
        differences.append(flatten(one) - flatten(two))
    differences = torch.stack(differences)
    moved = differences[:, differences.abs().amax(0) > 1e-9]
    assert moved.shape[1] > 20
    z = moved.mean(0) / (moved.std(0) / len(moved) ** 0.5)
    # One false alarm in a thousand runs, whichever of the weights raises it.
    level = torch.tensor(1 - 1e-3 / (2 * moved.shape[1]))
    assert z.abs().max() < torch.distributions.Normal(0, 1).icdf(level)


def test_it_varies_less_than_the_plain_gradient():
    guide = bent("realnvp")
    guide.path_gradient = False
    variances = [
        torch.stack([flatten(loss_and_gradients(e, toy, guide, s)[1]) for s in range(60)]).var(0)
        for e in (bound(64), renyi(64))
    ]
    assert variances[0].sum() < 0.1 * variances[1].sum()


@every_guide
@pytest.mark.parametrize("path_gradient", [True, False])
def test_one_draw_has_the_path_gradient_of_the_elbo(name, path_gradient):
    guide = bent(name, models.hierarchy)
    elbos = (fk.ImportanceWeightedELBO(1), infer.Trace_ELBO())
    guide.path_gradient = True
    expected_loss, expected = loss_and_gradients(elbos[1], models.hierarchy, guide, seed=2)
    guide.path_gradient = path_gradient
    loss, got = loss_and_gradients(elbos[0], models.hierarchy, guide, seed=2)
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    assert_same_gradients(got, expected)


def test_point_masses_beside_the_flow_have_the_plain_gradient():
    flow = fk.maf(1, **SMALL).double()

    def model():
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        x = pyro.sample("x", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
        pyro.sample("y", dist.Normal(x[..., 0], scale), obs=torch.tensor(1.3))

    def guide():
        pyro.module("flow", flow)
        pyro.sample("scale", dist.Delta(pyro.param("scale_hat", torch.tensor(0.7))))
        pyro.sample("x", fk.FlowDistribution(flow))

    got = loss_and_gradients(bound(5), model, guide, seed=4)[1]
    expected = loss_and_gradients(renyi(5), model, guide, seed=4)[1]
    torch.testing.assert_close(got["scale_hat"], expected["scale_hat"])
    assert not torch.allclose(got["flow$$$layers.0.free"], expected["flow$$$layers.0.free"])


@pytest.mark.parametrize("name", [pytest.param("maf", marks=pytest.mark.slow), "iaf", "realnvp"])
@vectorised_or_not
def test_training_lowers_the_loss(name, vectorised):
    guide = GUIDES[name](models.hierarchy, **SMALL)
    elbo = fk.ImportanceWeightedELBO(8, vectorize_particles=vectorised)
    svi = infer.SVI(models.hierarchy, guide, pyro.optim.Adam({"lr": 0.02}), elbo)
    losses = [svi.step() for _ in range(40)]
    assert sum(losses[-10:]) < sum(losses[:10])
    assert math.isfinite(svi.evaluate_loss())


def two_flows(model):
    guides = AutoGuideList(model)
    guides.append(normal.AutoMAF(poutine.block(model, hide=["theta", "y"]), **SMALL))
    guides.append(normal.AutoIAF(poutine.block(model, expose=["theta"]), **SMALL))
    return guides


REFUSED = {
    "a guide without a flow": (models.hierarchy, AutoDiagonalNormal, "gives no path gradients"),
    "two flows": (models.hierarchy, two_flows, "expected a guide with one site"),
    "no random site": (toy, lambda _: lambda: None, "expected a guide with one site"),
    "a scaled site": (poutine.scale(toy, 0.5), normal.AutoMAF, "is scaled"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:Found vars in model but not guide")
def test_what_would_be_biased_is_refused(case):
    model, make_guide, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        fk.ImportanceWeightedELBO(3).loss_and_grads(model, make_guide(model))


def test_subsampled_data_are_refused():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", 10, subsample_size=4) as rows:
            pyro.sample("y", dist.Normal(x, 1.0), obs=torch.zeros(10)[rows])

    with pytest.raises(ValueError, match="site 'y' is scaled, by a subsampled plate"):
        fk.ImportanceWeightedELBO(3).loss(model, normal.AutoIAF(model, **SMALL))


@pytest.mark.parametrize("count", [0, -1, 2.5])
def test_the_number_of_draws_is_a_positive_integer(count):
    with pytest.raises((TypeError, ValueError), match="num_particles"):
        fk.ImportanceWeightedELBO(count)
