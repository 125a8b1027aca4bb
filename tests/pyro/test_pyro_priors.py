"""Learnt priors in Pyro's models: parameters, plates, handlers, ELBOs, NUTS."""

import io

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import infer, poutine
from pyro.infer.autoguide import AutoNormal
from pyro.infer.reparam import TransformReparam
from torch import nn
from torch.distributions import constraints

import pyro_flowkit as fk
from tests.pyro.helpers import RECIPES, SMALL, large, points

D = 2
DATA = torch.cat([points(30, 5, seed=1, dtype=torch.float32) + s for s in (-1.5, 1.5)])


class Encoder(nn.Module):
    """A linear map to a Normal, or on to a flow."""

    def __init__(self, flow=None):
        super().__init__()
        self.linear = nn.Linear(5, 2 * D)
        self.flow = flow

    def forward(self, x):
        """Posterior of each row."""
        loc, log_scale = self.linear(x).chunk(2, -1)
        normal = dist.Normal(loc, (log_scale - 1).exp()).to_event(1)
        if self.flow is None:
            return normal
        return fk.FlowDistribution(self.flow, normal, context=loc)


class Vae:
    """A VAE of five numbers per row with two latents, and a prior."""

    def __init__(self, prior, encoder=None):
        self.prior = prior
        self.encoder = Encoder() if encoder is None else encoder
        self.decoder = nn.Linear(D, 5)

    def model(self, data):
        """Decode a draw of the prior."""
        pyro.module("decoder", self.decoder)
        prior = self.prior(self.encoder)
        with pyro.plate("rows", len(data)):
            z = pyro.sample("z", prior)
            pyro.sample("x", dist.Normal(self.decoder(z), 0.5).to_event(1), obs=data)

    def guide(self, data):
        """Encode."""
        pyro.module("encoder", self.encoder)
        with pyro.plate("rows", len(data)):
            pyro.sample("z", self.encoder(data))


def flow_with_base():
    flow, base = fk.maf(D, **SMALL), fk.mixture_base(D, num_components=3)
    return lambda encoder: fk.flow_prior("z", flow, base)


def vamp(**options):
    return lambda encoder: fk.vamp_prior("z", encoder, DATA[::15], learn_weights=True, **options)


VAES = {
    "flow": lambda: Vae(flow_with_base()),
    "diagonal": lambda: Vae(lambda encoder: fk.mixture_prior("z", D, 3)),
    "full": lambda: Vae(lambda encoder: fk.mixture_prior("z", D, 3, covariance="full")),
    "vamp": lambda: Vae(vamp()),
    "vamp of flows": lambda: Vae(vamp(), Encoder(fk.iaf(D, context_dim=D, **SMALL))),
}
every_vae = pytest.mark.parametrize("name", VAES)
PRIOR_NAMES = {
    "diagonal": {"z$locs", "z$scales", "z$logits"},
    "full": {"z$locs", "z$scale_trils", "z$logits"},
    "vamp": {"z$pseudo_inputs", "z$logits"},
    "vamp of flows": {"z$pseudo_inputs", "z$logits"},
}


def of_prior():
    """Names in the store that a prior registered."""
    return {name for name in pyro.get_param_store() if name.startswith("z$")}


def train(vae, steps=60, elbo=None):
    optimiser = pyro.optim.Adam({"lr": 0.02})
    svi = infer.SVI(vae.model, vae.guide, optimiser, elbo or infer.Trace_ELBO())
    return [svi.step(DATA) for _ in range(steps)]


@every_vae
def test_svi_raises_the_elbo_and_trains_every_parameter(name):
    vae = VAES[name]()
    train(vae, 1)
    before = {n: p.detach().clone() for n, p in pyro.get_param_store().items()}
    losses = train(vae)
    assert sum(losses[-10:]) < sum(losses[:10]) - 10 * len(DATA)
    for parameter, value in pyro.get_param_store().items():
        assert (value != before[parameter]).any(), parameter
        assert torch.isfinite(value).all(), parameter
    if name in PRIOR_NAMES:
        assert of_prior() == PRIOR_NAMES[name]
    else:
        assert {n.split("$$$")[0] for n in of_prior()} == {"z", "z$base"}


@pytest.mark.parametrize("name", RECIPES)
def test_every_flow_registers_under_its_name_and_scores(name):
    flow = large(RECIPES[name](4))
    prior = fk.flow_prior("prior", flow)
    assert of_prior() == set()
    own = {f"prior$$${n}" for n, _ in flow.named_parameters()}
    assert set(pyro.get_param_store()) == own
    z = points(3, 4)
    torch.testing.assert_close(prior.log_prob(z), fk.FlowDistribution(flow).log_prob(z))


@every_vae
def test_plates_predictive_and_conditioning(name):
    vae = VAES[name]()
    drawn = infer.Predictive(vae.model, num_samples=7, return_sites=["z"])(DATA)["z"]
    assert drawn.shape == (7, 60, D)
    together = infer.Predictive(vae.model, num_samples=7, return_sites=["z"], parallel=True)
    assert together(DATA)["z"].shape == (7, 60, D)
    z = torch.zeros(60, D)
    trace = poutine.trace(poutine.condition(vae.model, {"z": z})).get_trace(DATA)
    trace.compute_log_prob()
    expected = vae.prior(vae.encoder).log_prob(z)
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], expected)

    def nested():
        with pyro.plate("outer", 4), pyro.plate("inner", 3):
            return pyro.sample("z", vae.prior(vae.encoder))

    pyro.set_rng_seed(1)
    assert nested().shape == (3, 4, D)
    with poutine.mask(mask=torch.tensor([True, False])), pyro.plate("two", 2):
        site = poutine.trace(lambda: pyro.sample("z", vae.prior(vae.encoder))).get_trace()
    site.compute_log_prob()
    assert site.nodes["z"]["log_prob"][1] == 0


def loss_and_gradients(vae, elbo):
    def guide(data):  # without noise, which torch draws in another way while it traces
        pyro.module("encoder", vae.encoder)
        with pyro.plate("rows", len(data)):
            posterior = vae.encoder(data)
            is_flow = isinstance(posterior, fk.FlowDistribution)
            at = posterior.base_dist.mean if is_flow else posterior.mean
            pyro.sample("z", dist.Delta(at, event_dim=1))

    loss = elbo.loss_and_grads(vae.model, guide, DATA)
    named = dict(pyro.get_param_store().named_parameters())
    gradients = {name: p.grad.clone() for name, p in named.items() if p.grad is not None}
    for parameter in named.values():
        parameter.grad = None
    return loss, gradients


@pytest.mark.filterwarnings(r"ignore:`torch\.jit\.\w+` is deprecated:DeprecationWarning")
@every_vae
def test_a_traced_elbo_has_the_same_value_and_gradients(name):
    vae = VAES[name]()
    train(vae, 2)
    loss, gradients = loss_and_gradients(vae, infer.Trace_ELBO())
    traced = infer.JitTrace_ELBO(ignore_jit_warnings=True)
    for _ in range(2):
        other, others = loss_and_gradients(vae, traced)
        assert other == pytest.approx(loss, rel=1e-5)
        for key, gradient in gradients.items():
            torch.testing.assert_close(others[key], gradient, rtol=1e-3, atol=1e-3)
    losses = train(vae, 30, infer.JitTrace_ELBO(ignore_jit_warnings=True))
    assert sum(losses[-5:]) < sum(losses[:5])


@every_vae
def test_vectorised_particles_have_the_same_mean(name):
    vae = VAES[name]()
    train(vae, 2)
    one = torch.tensor([infer.Trace_ELBO().loss(vae.model, vae.guide, DATA) for _ in range(64)])
    elbo = infer.Trace_ELBO(num_particles=64, vectorize_particles=True, max_plate_nesting=1)
    together = elbo.loss(vae.model, vae.guide, DATA)
    assert abs(together - float(one.mean())) < 5 * float(one.std()) * (2 / 64) ** 0.5


@every_vae
def test_the_store_keeps_a_prior(name, tmp_path):
    vae = VAES[name]()
    train(vae, 5)
    z = points(4, D, dtype=torch.float32)
    expected = vae.prior(vae.encoder).log_prob(z).detach()
    pyro.get_param_store().save(tmp_path / "store")
    pyro.clear_param_store()
    pyro.get_param_store().load(tmp_path / "store")
    other = VAES[name]()
    pyro.module("encoder", other.encoder, update_module_params=True)
    torch.testing.assert_close(other.prior(other.encoder).log_prob(z), expected)
    before = {n: p.detach().clone() for n, p in pyro.get_param_store().items() if "z$" in n}
    train(other, 2)
    assert all((pyro.param(n) != value).any() for n, value in before.items())


def test_pseudo_inputs_are_a_copy_and_stay_inside_of_their_constraint():
    pixels = torch.rand(60, 5)
    kept = pixels.clone()
    vae = Vae(lambda encoder: fk.vamp_prior(
        "z", encoder, pixels[:4], constraint=constraints.unit_interval))  # fmt: skip
    train(vae, 20)
    assert torch.equal(pixels, kept)
    found = pyro.param("z$pseudo_inputs")
    assert ((found > 0) & (found < 1)).all()
    assert (found != kept[:4]).all()
    pyro.clear_param_store()
    free = Vae(lambda encoder: fk.vamp_prior("z", encoder, pixels[:4]))
    train(free, 20)
    assert torch.equal(pixels, kept)
    assert pyro.param("z$pseudo_inputs").shape == (4, 5)


def test_pseudo_inputs_take_the_encoders_shape_and_dtype():
    images = points(6, 1, 3, 3)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(9, D)).double()
    prior = fk.vamp_prior("z", lambda u: dist.Normal(encoder(u), 1.0).to_event(1), images)
    assert prior.sample().dtype == torch.float64
    array = images.numpy()
    start = fk.vamp_prior("other", lambda u: dist.Normal(u.flatten(1), 1.0).to_event(1), array)
    assert start.sample().dtype == torch.get_default_dtype()


def test_gradients_of_the_prior_reach_the_encoder():
    encoder = Encoder()
    fk.vamp_prior("z", encoder, DATA[:3]).log_prob(torch.ones(D)).backward()
    assert all(p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_a_prior_may_be_made_inside_of_a_subsampled_plate():
    encoder = Encoder()

    def model():
        with pyro.plate("rows", 60, subsample_size=6) as rows:
            z = pyro.sample("z", fk.vamp_prior("z", encoder, DATA[:60:10]))
            pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=DATA[rows, 0])

    trace = poutine.trace(model).get_trace()
    assert trace.nodes["z"]["value"].shape == (6, D)
    assert trace.nodes["z$pseudo_inputs"]["value"].shape == (6, 5)


@pytest.mark.parametrize("context", [None, torch.ones(6, 3)])
def test_transform_reparam_splits_a_flow_prior(context):
    flow = large(
        fk.realnvp(D, context_dim=0 if context is None else 3, **SMALL), dtype=torch.float32
    )

    def model():
        with pyro.plate("rows", 6):
            return pyro.sample("z", fk.flow_prior("z", flow, context=context))

    trace = poutine.trace(poutine.reparam(model, {"z": TransformReparam()})).get_trace()
    base = trace.nodes["z_base"]["value"]
    assert base.shape == (6, D)
    expected = flow.forward_and_log_det(base, context)[0]
    torch.testing.assert_close(trace.nodes["z"]["value"], expected)
    assert trace.nodes["z"]["is_observed"]


@pytest.mark.parametrize("kind", ["full", "laplace"])
def test_automatic_guides_and_nuts_know_the_support(kind):
    def model():
        if kind == "full":
            prior = fk.mixture_prior("z", D, 3, covariance="full")
        else:
            prior = fk.vamp_prior(
                "z", lambda u: dist.Laplace(u[:, :D], 0.5).to_event(1), DATA[::20]
            )
        z = pyro.sample("z", prior)
        pyro.sample("y", dist.Normal(z, 0.5).to_event(1), obs=torch.ones(D))

    guide = AutoNormal(model)
    svi = infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), infer.Trace_ELBO())
    losses = [svi.step() for _ in range(60)]
    assert sum(losses[-10:]) < sum(losses[:10])
    mcmc = infer.MCMC(infer.NUTS(model, max_tree_depth=4), 20, 20, disable_progbar=True)
    mcmc.run()
    assert mcmc.get_samples()["z"].unique().numel() > 10


def test_a_prior_of_the_models_other_dtype(default_float64):
    for covariance in ("diagonal", "full"):
        prior = fk.mixture_prior(covariance, 3, 2, covariance=covariance)
        assert prior.sample().dtype == torch.float64


def test_a_fixed_flow_prior_is_not_trained():
    flow = large(fk.maf(D, **SMALL), dtype=torch.float32).requires_grad_(False).eval()
    vae = Vae(lambda encoder: fk.flow_prior("z", flow))
    before = [p.clone() for p in flow.parameters()]
    train(vae, 3)
    assert of_prior() == set()
    assert all(map(torch.equal, before, flow.parameters()))


def test_state_dicts_of_a_registered_flow_load():
    flow = fk.maf(D, **SMALL)
    train(Vae(lambda encoder: fk.flow_prior("z", flow)), 3)
    file = io.BytesIO()
    torch.save(flow.state_dict(), file)
    file.seek(0)
    again = fk.maf(D, **SMALL)
    again.load_state_dict(torch.load(file, weights_only=True))
    z = points(4, D, dtype=torch.float32)
    torch.testing.assert_close(again(z), flow(z))


STALE = {
    "another flow": lambda size: fk.flow_prior("z", fk.maf(size, **SMALL)),
    "other components": lambda size: fk.mixture_prior("z", 2, size),
    "other pseudo-inputs": lambda size: fk.vamp_prior("z", Encoder(), DATA[:size]),
}


@pytest.mark.parametrize("case", STALE)
def test_a_store_that_holds_another_prior_is_refused(case):
    STALE[case](2)
    with pytest.raises(ValueError, match=r"store holds 'z\$.*' of another prior: expected shape"):
        STALE[case](3)


def test_names_that_pyro_divides_are_refused():
    with pytest.raises(ValueError, match=r"name: expected .* without '\$\$\$'"):
        fk.flow_prior("a$$$b", fk.maf(2, **SMALL))
