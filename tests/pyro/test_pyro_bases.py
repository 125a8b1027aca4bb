"""Flow guides of Pyro with learnt bases."""

import copy
import functools
import io
import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import infer, poutine
from pyro.infer.reparam import NeuTraReparam
from torch import nn

import pyro_flowkit as fk
from tests.pyro import models
from tests.pyro.helpers import SMALL, large

LEARNT = ("student_t", "mixture")
every_base = pytest.mark.parametrize("base", LEARNT)
FLOW = functools.partial(fk.realnvp, **SMALL)
VECTORISED = {"num_particles": 4, "vectorize_particles": True}
ELBOS = {
    "Trace_ELBO": lambda: infer.Trace_ELBO(num_particles=4),
    "TraceMeanField_ELBO, vectorised": lambda: infer.TraceMeanField_ELBO(**VECTORISED),
    "RenyiELBO": lambda: infer.RenyiELBO(alpha=0.5, **VECTORISED),
    "JitTrace_ELBO": lambda: infer.JitTrace_ELBO(ignore_jit_warnings=True, num_particles=4),
}


def heavy_density(x):
    """A Student-t with 2.5 degrees of freedom in each coordinate."""
    return dist.StudentT(2.5, torch.zeros(2), 1.0).log_prob(x).sum(-1)


def two_modes_density(x):
    """Both coordinates near 3, or both near -3."""
    component = dist.Normal(torch.tensor([[3.0, 3.0], [-3.0, -3.0]]), 0.8)
    logs = component.log_prob(x.unsqueeze(-2)).sum(-1) + torch.tensor([0.4, 0.6]).log()
    return logs.logsumexp(-1)


def latents_with(density):
    """Two latents with this density."""
    x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1).mask(False))
    pyro.factor("density", density(x))


heavy = functools.partial(latents_with, heavy_density)
two_modes = functools.partial(latents_with, two_modes_density)


def train(guide, model, steps, lr=0.05, elbo=None):
    optimiser = pyro.optim.ClippedAdam({"lr": lr, "lrd": 0.1 ** (1 / steps)})
    svi = infer.SVI(model, guide, optimiser, elbo or infer.Trace_ELBO(**VECTORISED))
    return [svi.step() for _ in range(steps)]


@torch.no_grad()
def divergence(guide, density, draws=4000):
    """KL from the guide to a density in nats, and its standard error."""
    pyro.set_rng_seed(0)
    posterior = guide.get_posterior()
    x = posterior.sample((draws,))
    difference = posterior.log_prob(x) - density(x)
    return float(difference.mean()), float(difference.std() / draws**0.5)


@pytest.mark.filterwarnings(r"ignore:`torch\.jit\.\w+` is deprecated:DeprecationWarning")
@every_base
@pytest.mark.parametrize("elbo", ELBOS)
@pytest.mark.parametrize("path_gradient", [False, True])
def test_every_elbo_lowers_the_loss_and_moves_the_base(base, elbo, path_gradient):
    pyro.set_rng_seed(1)
    guide = fk.AutoIAF(models.hierarchy, base=base, path_gradient=path_gradient, **SMALL)
    guide()
    before = {n: p.detach().clone() for n, p in guide.base.named_parameters()}
    losses = train(guide, models.hierarchy, 30, elbo=ELBOS[elbo]())
    assert sum(losses[-8:]) < sum(losses[:8])
    for name, parameter in guide.base.named_parameters():
        assert (parameter != before[name]).all(), name


@pytest.mark.parametrize("dim_model", [models.one_latent, models.double_precision])
@every_base
def test_the_base_has_the_models_dimension_and_dtype(base, dim_model):
    guide = fk.AutoFlow(dim_model, FLOW, base=base)
    guide()
    posterior = guide.get_posterior()
    assert posterior.base_dist.event_shape == (guide.latent_dim,)
    dtype = next(guide.transform.parameters()).dtype
    assert posterior.rsample().dtype == dtype
    assert {p.dtype for p in guide.base.parameters()} == {dtype}
    assert guide.sample_posterior(5)["x"].shape[0] == 5


def test_the_normal_base_has_no_module():
    guide = fk.AutoFlow(models.regression, FLOW, base="normal")
    guide()
    assert guide.base is None
    assert not [name for name, _ in guide.named_parameters() if name.startswith("base")]


@every_base
def test_parameters_are_registered_and_in_pyros_store(base):
    guide = fk.AutoFlow(models.regression, FLOW, base=base)
    guide()
    names = {f"base.{n}" for n, _ in guide.base.named_parameters()}
    assert names <= set(guide.state_dict())
    assert {f"AutoFlow.{n.replace('.', '$$$', 1)}" for n in names} <= set(pyro.get_param_store())


@pytest.mark.parametrize("kind", ["deepcopy", "pickle"])
@every_base
def test_a_copy_is_the_same_guide_and_trains_apart(base, kind):
    guide = fk.AutoFlow(models.regression, FLOW, base=base)
    train(guide, models.regression, 3)
    again = copy.deepcopy(guide) if kind == "deepcopy" else pickle.loads(pickle.dumps(guide))
    x = torch.randn(6, 2)
    expected = guide.get_posterior().log_prob(x).detach()
    torch.testing.assert_close(again.get_posterior().log_prob(x), expected)
    train(again, models.regression, 3)
    torch.testing.assert_close(guide.get_posterior().log_prob(x), expected)
    assert all((a != b).all() for a, b in
               zip(guide.base.parameters(), again.base.parameters(), strict=True))  # fmt: skip


@every_base
def test_state_dicts_and_stores_carry_the_base(base, tmp_path):
    guide = fk.AutoFlow(models.regression, FLOW, base=base)
    train(guide, models.regression, 3)
    x = torch.randn(6, 2)
    expected = guide.get_posterior().log_prob(x).detach()
    file = io.BytesIO()
    torch.save(guide.state_dict(), file)
    pyro.get_param_store().save(tmp_path / "store")

    pyro.clear_param_store()
    fresh = fk.AutoFlow(models.regression, FLOW, base=base)
    fresh()
    fresh.load_state_dict(torch.load(io.BytesIO(file.getvalue())))
    torch.testing.assert_close(fresh.get_posterior().log_prob(x), expected)

    pyro.clear_param_store()
    pyro.get_param_store().load(tmp_path / "store")
    stored = fk.AutoFlow(models.regression, FLOW, base=base)
    stored()
    torch.testing.assert_close(stored.get_posterior().log_prob(x), expected)
    before = [p.detach().clone() for p in stored.base.parameters()]
    train(stored, models.regression, 2)
    pairs = zip(before, stored.base.parameters(), strict=True)
    assert all((a != b).all() for a, b in pairs)


def test_a_store_of_another_mixture_is_refused():
    fk.AutoFlow(models.regression, FLOW, base="mixture")()
    other = functools.partial(fk.mixture_base, num_components=3)
    with pytest.raises(ValueError, match=r"base.*expected shape \(3, 2\), got \(4, 2\)"):
        fk.AutoFlow(models.regression, FLOW, base=other)()


@every_base
def test_path_gradients_are_those_with_the_density_held_fixed(base):
    def loss(flow, module, fixed):
        """The bound with a path gradient, or with copies in which nothing is trainable as log q."""
        pyro.set_rng_seed(2)
        density = fk.FlowDistribution(flow, module(), path_gradient=fixed is None)
        x = density.rsample((20,))
        if fixed is not None:
            density = fk.FlowDistribution(fixed[0], fixed[1]())
        return (density.log_prob(x) + x.sin().sum(-1)).sum()

    flow = large(fk.iaf(3, **SMALL))
    module = getattr(fk, f"{base}_base")(3).double()
    fixed = [copy.deepcopy(m).requires_grad_(False) for m in (flow, module)]
    weights = [*module.parameters(), *flow.parameters()]
    got = torch.autograd.grad(loss(flow, module, None), weights)
    expected = torch.autograd.grad(loss(flow, module, fixed), weights)
    for one, two in zip(got, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-9)
        assert one.abs().max() > 0


@every_base
def test_draws_with_a_generator_leave_torchs_own_alone(base):
    guide = fk.AutoFlow(models.regression, FLOW, base=base)
    guide()
    state = torch.get_rng_state()
    one, two, other = (
        guide.sample_posterior(8, generator=torch.Generator().manual_seed(seed))["weights"]
        for seed in (1, 1, 2)
    )
    guide.median()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@every_base
def test_the_model_seen_by_neutra_has_the_same_density(base):
    guide = fk.AutoFlow(models.regression, FLOW, base=base, init_scale=0.5)
    train(guide, models.regression, 3)
    trace = poutine.trace(NeuTraReparam(guide).reparam(models.regression)).get_trace()
    (latent,) = (s for n, s in trace.nodes.items() if n.endswith("shared_latent"))
    weights, log_det = guide.get_transform().forward_and_log_det(latent["value"])
    conditioned = poutine.condition(models.regression, {"weights": weights})
    expected = poutine.trace(conditioned).get_trace().log_prob_sum() + log_det
    torch.testing.assert_close(trace.log_prob_sum(), expected, rtol=1e-4, atol=1e-4)


@every_base
def test_nuts_runs_in_the_coordinates_of_a_learnt_base(base):
    guide = fk.AutoFlow(models.regression, FLOW, base=base, init_scale=0.5)
    guide()
    neutra = NeuTraReparam(guide)
    kernel = infer.NUTS(neutra.reparam(models.regression), max_tree_depth=4)
    mcmc = infer.MCMC(kernel, 5, 5, disable_progbar=True)
    mcmc.run()
    (latents,) = mcmc.get_samples().values()
    assert neutra.transform_sample(latents)["weights"].shape == (5, 2)


def test_a_student_t_base_learns_tails_that_a_normal_one_lacks():
    guides = {}
    for base in ("normal", "student_t"):
        pyro.clear_param_store()
        pyro.set_rng_seed(3)
        guide = fk.AutoFlow(heavy, fk.lu_linear, base=base, init_scale=1.0)
        train(guide, heavy, 500, elbo=infer.Trace_ELBO(num_particles=16, vectorize_particles=True))
        guides[base] = guide
    kl, error = divergence(guides["student_t"], heavy_density)
    assert kl < 0.01 + 4 * error
    normal_kl, normal_error = divergence(guides["normal"], heavy_density)
    assert normal_kl - 4 * normal_error > 0.05
    assert ((guides["student_t"].base.df > 1.8) & (guides["student_t"].base.df < 3.5)).all()
    generator = torch.Generator().manual_seed(0)
    # A t with 2.5 degrees of freedom lies beyond 6 with probability 0.014; 0.008 < for the fit.
    draws = guides["student_t"].sample_posterior(20_000, generator=generator)["x"]
    assert ((draws.abs() > 6).float().mean(0) > 0.008).all()
    draws = guides["normal"].sample_posterior(20_000, generator=generator)["x"]
    assert ((draws.abs() > 6).float().mean(0) < 0.004).all()


def test_a_mixture_base_finds_both_modes():
    pyro.set_rng_seed(4)
    base = functools.partial(fk.mixture_base, num_components=2)
    guide = fk.AutoFlow(two_modes, fk.lu_linear, base=base, init_scale=2.0)
    train(guide, two_modes, 400, elbo=infer.Trace_ELBO(num_particles=16, vectorize_particles=True))
    x = guide.sample_posterior(4000, generator=torch.Generator().manual_seed(0))["x"]
    for side in (x > 0, x < 0):
        assert 0.2 < side.all(-1).float().mean() < 0.8
    kl, error = divergence(guide, two_modes_density)
    assert kl < 0.1 + 4 * error


class NoDistribution(nn.Module):
    """A module whose call gives a number."""

    def forward(self):
        """One."""
        return 1.0


class Fixed(nn.Module):
    """A base of the user's own."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self):
        """What was asked for."""
        return self.make()


BAD = {
    "another name": ("cauchy", ValueError, "expected one of 'normal', 'student_t', 'mixture'"),
    "no name": (3, TypeError, "base: expected 'normal'.*got int"),
    "a base": (fk.mixture_base(2), TypeError, "number of latents to a base.*got a MixtureBase"),
    "no module": (lambda d: 1, TypeError, "torch module whose call gives a distribution, got int"),
    "no distribution": (lambda d: NoDistribution(), TypeError, "its call to give a distribution"),
    "another dimension": (
        lambda d: fk.student_t_base(d + 1), ValueError, r"shape \(2,\).*got event shape \(3,\)"
    ),
    "no gradients": (
        lambda d: Fixed(lambda: dist.Poisson(torch.ones(2)).to_event(1)),
        ValueError, "reparametrised draws, got Independent",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_bases_are_refused(case):
    base, error, message = BAD[case]
    with pytest.raises(error, match=message):
        fk.AutoFlow(models.regression, FLOW, base=base)()


def test_a_base_of_ones_own_works():
    make = functools.partial(dist.Laplace, torch.zeros(2), 1.0)
    guide = fk.AutoFlow(models.regression, FLOW, base=lambda d: Fixed(lambda: make().to_event(1)))
    losses = train(guide, models.regression, 30)
    assert sum(losses[-8:]) < sum(losses[:8])
    assert len(pickle.dumps(guide.state_dict())) > 0
