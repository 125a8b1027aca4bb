"""Free bits: losses and gradients beside slow sums, in both wings."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.infer
import pyro
import pyro.infer
import pytest
import scipy.stats
from pyro import poutine

from tests.surgery import DISTRIBUTIONS, PACKAGES, array, every_wing, numbers

PPL = {"pyro": pyro, "numpyro": numpyro}
X = np.random.default_rng(0).normal(size=(6, 3))
# Each coordinate of z has a KL of its own, the last one none.
START = {"loc": np.array([1.5, 0.3, 0.0]), "log_scale": np.array([-1.0, -0.1, 0.0])}
ROWS = [1, 4]


class Case:
    """A model and a guide of some wing, with all that plates, scales and masks may do to a site."""

    def __init__(self, wing, *, mask=False, subsample=False, weight=1.0):
        self.wing, self.ppl, self.dist = wing, PPL[wing], DISTRIBUTIONS[wing]
        self.mask, self.subsample, self.weight = mask, subsample, weight

    def plate(self, x):
        if not self.subsample:
            return self.ppl.plate("data", len(x), dim=-1)
        rows = array(self.wing, ROWS, "int64" if self.wing == "pyro" else "int32")
        if self.wing == "pyro":
            return pyro.plate("data", len(X), dim=-1, subsample=rows)
        return numpyro.plate("data", len(X), subsample_size=len(ROWS), dim=-1)

    def z(self, name, density):
        """The site, of a plate's rows, masked where it is asked for."""
        if self.mask:
            density = density.mask(array(self.wing, np.arange(len(X)) % 2 == 0, "bool"))
        return self.ppl.sample(name, density)

    def model(self, x):
        zero = array(self.wing, np.zeros(3))
        with self.plate(x):
            z = self.z("z", self.dist.Normal(zero, 1.0).to_event(1))
            self.ppl.sample("x", self.dist.Normal(z, 2.0).to_event(1), obs=x)
        self.ppl.sample("w", self.dist.Normal(zero[0], 1.0))

    def guide(self, x):
        loc, log_scale = (self.ppl.param(name, array(self.wing, START[name])) for name in START)
        scale = log_scale.exp() if self.wing == "pyro" else jnp.exp(log_scale)
        with self.plate(x):
            self.z("z", self.dist.Normal(loc + 0 * x, scale).to_event(1))
        self.ppl.sample("w", self.dist.Normal(2.0 + 0 * loc[0], 1.0))

    def elbo(self, minimum, **options):
        return PACKAGES[self.wing].FreeBitsELBO(minimum, **options)

    def functions(self):
        weigh = PACKAGES[self.wing].kl_weight
        return [weigh(function, self.weight, ["z"]) for function in (self.model, self.guide)]

    def loss_and_gradient(self, elbo, seed=0):
        """Loss, its gradient by the guide's parameters, and the draws of z and w."""
        x = array(self.wing, X[ROWS] if self.subsample else X)
        model, guide = self.functions()
        draws = []

        def recorded(x):
            nodes = poutine.trace(guide).get_trace(x).nodes
            z, w = (numbers(nodes[name]["value"]) for name in ("z", "w"))
            z = z.reshape(-1, *z.shape[-2:])
            draws.extend(zip(z, w.reshape(-1), strict=True))

        if self.wing == "pyro":
            pyro.clear_param_store()
            pyro.set_rng_seed(seed)
            loss = elbo.loss_and_grads(model, recorded, x)
            found = {name: pyro.param(name).unconstrained().grad for name in START}
            return loss, {n: 0.0 if g is None else numbers(g) for n, g in found.items()}, draws
        params = {name: array("numpyro", values) for name, values in START.items()}

        def of(params):
            return elbo.loss(jax.random.key(seed), params, model, guide, x)

        loss, gradient = jax.value_and_grad(of)(params)
        count = elbo.num_particles
        keys = (
            [jax.random.key(seed)] if count == 1 else jax.random.split(jax.random.key(seed), count)
        )
        for key in keys:
            seeded = numpyro.handlers.seed(guide, jax.random.split(key)[1])
            trace = numpyro.handlers.trace(numpyro.handlers.substitute(seeded, params)).get_trace(x)
            draws.append((numbers(trace["z"]["value"]), numbers(trace["w"]["value"])))
        return float(loss), {name: numbers(g) for name, g in gradient.items()}, draws


def by_hand(case, draws, minimum, per):
    """Loss and gradient of the draws, number by number."""
    rows = ROWS if case.subsample else range(len(X))
    scale = len(X) / len(rows)
    counts = [scale * (not case.mask or i % 2 == 0) * case.weight for i in range(len(rows))]
    normal = scipy.stats.norm
    loss = 0.0
    kl = np.zeros(3)
    sd = np.exp(START["log_scale"])
    slopes = {name: np.zeros(3) for name in START}
    kl_slopes = {name: np.zeros(3) for name in START}
    for z, w in draws:
        loss += normal.logpdf(w, 2.0) - normal.logpdf(w)
        for i, row in enumerate(rows):
            for d in range(3):
                noise = (z[i, d] - START["loc"][d]) / sd[d]
                error = X[row, d] - z[i, d]
                loss -= scale * normal.logpdf(error, scale=2.0)
                by_z = -scale * error / 4
                slopes["loc"][d] += by_z
                slopes["log_scale"][d] += by_z * sd[d] * noise
                own = normal.logpdf(z[i, d], START["loc"][d], sd[d])
                kl[d] += counts[i] * (own - normal.logpdf(z[i, d]))
                kl_slopes["loc"][d] += counts[i] * z[i, d]
                kl_slopes["log_scale"][d] += counts[i] * (z[i, d] * sd[d] * noise - 1)
    count = sum(counts)
    groups = np.arange(3) if per == "dim" else np.zeros(3, int)
    total = np.bincount(groups, kl / len(draws))
    counted = (total > minimum * count)[groups]
    loss = loss / len(draws) + np.maximum(total, minimum * count).sum()
    return loss, {n: slopes[n] / len(draws) + counted * kl_slopes[n] / len(draws) for n in START}


CASES = {
    "one particle": ({}, {}),
    "masked": ({"mask": True}, {}),
    "subsampled": ({"subsample": True}, {}),
    "weighted": ({"weight": 0.25}, {}),
    "particles one by one": ({}, {"num_particles": 3, "vectorize_particles": False}),
    "particles at once": ({"mask": True}, {"num_particles": 3, "vectorize_particles": True}),
}


@every_wing
@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=pytest.mark.slow) if c == "particles one by one" else c for c in CASES],
)
@pytest.mark.parametrize(("per", "minimum"), [("site", 3.0), ("dim", 0.2)])
def test_losses_and_gradients_are_those_by_hand(wing, case, per, minimum):
    options, particles = CASES[case]
    made = Case(wing, **options)
    if wing == "pyro":
        particles = {**particles, "max_plate_nesting": 1}
    elbo = made.elbo(minimum, latents=["z"], per=per, **particles)
    loss, gradient, draws = made.loss_and_gradient(elbo)
    assert len(draws) == particles.get("num_particles", 1)
    expected, slopes = by_hand(made, draws, minimum, per)
    assert loss == pytest.approx(expected, rel=1e-9)
    for name, values in slopes.items():
        np.testing.assert_allclose(gradient[name], values, rtol=1e-7, atol=1e-9)


def trained(wing, guide, elbo):
    """The loss of a guide beside the model of one latent vector for each row."""
    x = array(wing, X)
    model = Case(wing).model
    if wing == "pyro":
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        return float(elbo.loss(model, guide, x))
    return float(elbo.loss(jax.random.key(0), {}, model, guide, x))


def other_guide(wing, density):
    ppl, dist = PPL[wing], DISTRIBUTIONS[wing]
    zero = array(wing, np.zeros(3))

    def guide(x):
        with ppl.plate("data", len(x), dim=-1):
            ppl.sample("z", density(dist, zero + 0 * x))
        ppl.sample("w", dist.Normal(zero[0], 1.0))

    return guide


@every_wing
def test_above_the_minimum_it_is_the_ppls_own_elbo_also_of_a_flow(wing):
    package = PACKAGES[wing]
    flow = package.iaf(3, num_layers=1, hidden_dims=(4,))
    flow = flow(jax.random.key(0)) if wing == "numpyro" else flow.double()

    def density(dist, zero):
        return package.FlowDistribution(flow, dist.Normal(zero + 2, 0.5).to_event(1))

    guide = other_guide(wing, density)
    plain = PPL[wing].infer.Trace_ELBO()
    own = package.FreeBitsELBO(0.1, latents=["z"])
    assert trained(wing, guide, own) == pytest.approx(trained(wing, guide, plain), rel=1e-9)
    with pytest.raises(TypeError, match=r"guide: expected independent coordinates at 'z'.*Flow"):
        trained(wing, guide, package.FreeBitsELBO(0.1, per="dim"))


def delta(dist, zero):
    return (
        dist.Delta(zero).to_event(1)
        if dist is DISTRIBUTIONS["pyro"]
        else dist.Delta(zero, event_dim=1)
    )


REFUSALS = {
    "no such latent": (
        {"latents": ["z", "v"]}, lambda dist, zero: dist.Normal(zero, 1.0).to_event(1),
        ValueError, "latents: expected latent sites of model.*, got 'v'; they share 'z', 'w'",
    ),
    "a point mass": ({}, delta, TypeError, "guide: expected 'z' to be drawn from a density"),
    "no path": (
        {}, lambda dist, zero: dist.Poisson(zero + 1).to_event(1),
        NotImplementedError, "guide: expected reparametrised draws, got .* at 'z'",
    ),
}  # fmt: skip


@every_wing
@pytest.mark.parametrize("case", REFUSALS)
def test_what_has_no_free_bits_is_refused_by_name(wing, case):
    options, density, error, message = REFUSALS[case]
    with pytest.raises(error, match=message):
        trained(wing, other_guide(wing, density), PACKAGES[wing].FreeBitsELBO(1.0, **options))


@every_wing
def test_wrong_arguments_are_refused(wing):
    elbo = PACKAGES[wing].FreeBitsELBO
    with pytest.raises(ValueError, match="minimum: expected a finite number > 0, got 0"):
        elbo(0)
    with pytest.raises(ValueError, match="per: expected one of 'site', 'dim', got 'plate'"):
        elbo(1.0, per="plate")
    with pytest.raises(TypeError, match="latents: expected a sequence, got 'z'"):
        elbo(1.0, latents="z")
    with pytest.raises(TypeError, match="num_particles: expected an integer"):
        elbo(1.0, num_particles=1.5)
