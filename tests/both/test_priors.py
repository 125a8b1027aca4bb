"""Priors: densities against slow references, integrals, moments, gradients, and the other wing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions
import pyro
import pyro.distributions
import pytest
import scipy.special
import scipy.stats
import torch
from numpyro import handlers
from pyro import poutine

import numpyro_flowkit
import pyro_flowkit
from flowkit_core.bases import MixtureBaseSpec
from flowkit_core.recipes import iaf, maf
from tests.cases import arrays_for

FULL = {
    "pyro": pyro_flowkit.priors.full_normal_mixture.FullNormalMixture,
    "numpyro": numpyro_flowkit.priors.full_normal_mixture.FullNormalMixture,
}
WINGS = {"pyro": pyro_flowkit, "numpyro": numpyro_flowkit}
every_wing = pytest.mark.parametrize("wing", WINGS)
DRAWS = 20_000


DTYPES = {"float32": torch.float32, "float64": torch.float64}


def tensor(wing, x, dtype="float64"):
    return jnp.asarray(x, dtype) if wing == "numpyro" else torch.tensor(x, dtype=DTYPES[dtype])


def as_numpy(x):
    return np.asarray(x.detach() if isinstance(x, torch.Tensor) else x)


def distributions(wing):
    return numpyro.distributions if wing == "numpyro" else pyro.distributions


def with_params(wing, params, call):
    """What ``call()`` gives where these parameters stand in for those that it registers."""
    if wing == "numpyro":
        with handlers.seed(rng_seed=0), handlers.substitute(data=params):
            return call()
    for value in params.values():
        value.unconstrained = lambda value=value: value  # as Pyro's store would hand them out
    with poutine.replay(params=params):
        return call()


class Mixture:
    """`mixture_prior`, and its density by scipy."""

    def __init__(self, covariance, dim, components):
        self.covariance, self.dim, self.components = covariance, dim, components

    def params(self):
        rng = np.random.default_rng(3)
        shape = (self.components, self.dim)
        locs, log_scales = rng.normal(size=shape), rng.normal(scale=0.3, size=shape) - 0.2
        params = {"z$locs": locs, "z$logits": rng.normal(scale=0.7, size=self.components)}
        if self.covariance == "diagonal":
            return params | {"z$scales": np.exp(log_scales)}
        below = np.tril(rng.normal(scale=0.5, size=(*shape, self.dim)), -1)
        diagonal = np.exp(log_scales)[..., None] * np.eye(self.dim)
        return params | {"z$scale_trils": below + diagonal}

    def prior(self, wing, params):
        make = functools.partial(WINGS[wing].mixture_prior, "z", self.dim, self.components)
        return with_params(wing, params, lambda: make(covariance=self.covariance))

    def log_density(self, wing, params, z):
        if self.covariance == "diagonal":
            factors = params["z$scales"][..., None] * np.eye(self.dim)
        else:
            factors = params["z$scale_trils"]
        each = [
            scipy.stats.multivariate_normal(loc, factor @ factor.T).logpdf(z).reshape(len(z))
            for loc, factor in zip(params["z$locs"], factors, strict=True)
        ]
        logs = scipy.special.log_softmax(params["z$logits"])
        return scipy.special.logsumexp(np.stack(each, -1) + logs, axis=-1)


class Vamp:
    """`vamp_prior` with one layer as encoder, and its density component by component."""

    def __init__(self, kind, dim, components):
        self.kind, self.dim, self.components = kind, dim, components

    def params(self):
        rng = np.random.default_rng(4)
        return {
            "z$pseudo_inputs": rng.normal(size=(self.components, 3)),
            "z$logits": rng.normal(scale=0.7, size=self.components),
            "encoder": rng.normal(scale=0.6, size=(3, 2 * self.dim)),
        }

    def encode(self, wing, params, inputs):
        d, xp = distributions(wing), jnp if wing == "numpyro" else torch
        raw = inputs @ params["encoder"]
        loc, scale = raw[..., : self.dim], xp.exp(0.5 * raw[..., self.dim :])
        if self.kind == "laplace":
            return d.Laplace(loc, scale).to_event(1)
        if self.kind == "full":
            below = np.tril(np.full((self.dim, self.dim), 0.4), -1)
            eye = tensor(wing, np.eye(self.dim), DTYPE_NAMES[raw.dtype])
            factors = scale[..., None] * eye + tensor(wing, below, DTYPE_NAMES[raw.dtype])
            return d.MultivariateNormal(loc, scale_tril=factors)
        normal = d.Normal(loc, scale).to_event(1)
        if self.kind == "normal":
            return normal
        spec = iaf(self.dim, num_layers=1, hidden_dims=(5,), context_dim=2 * self.dim)
        arrays = {
            name: tensor(wing, array, DTYPE_NAMES[raw.dtype])
            for name, array in arrays_for(spec).items()
        }
        flow = WINGS[wing].build(spec, arrays)
        return WINGS[wing].FlowDistribution(flow, normal, context=raw)

    def prior(self, wing, params):
        own = {name: value for name, value in params.items() if name != "encoder"}
        encoder = functools.partial(self.encode, wing, params)
        start = tensor(wing, np.ones((self.components, 3)), DTYPE_NAMES[params["encoder"].dtype])
        return with_params(
            wing,
            own,
            lambda: WINGS[wing].vamp_prior("z", encoder, start, learn_weights=True),
        )

    def log_density(self, wing, params, z):
        params = {name: tensor(wing, value) for name, value in params.items()}
        each = [
            as_numpy(self.encode(wing, params, u).log_prob(tensor(wing, z)))
            for u in params["z$pseudo_inputs"]
        ]
        logs = scipy.special.log_softmax(as_numpy(params["z$logits"]))
        return scipy.special.logsumexp(np.stack(each, -1) + logs, axis=-1)


DTYPE_NAMES = {
    torch.float32: "float32", torch.float64: "float64",
    np.dtype("float32"): "float32", np.dtype("float64"): "float64",
}  # fmt: skip
PRIORS = {
    "diagonal": Mixture("diagonal", 3, 4),
    "diagonal, D = 1": Mixture("diagonal", 1, 3),
    "diagonal, K = 1": Mixture("diagonal", 2, 1),
    "full": Mixture("full", 3, 4),
    "full, D = 1": Mixture("full", 1, 3),
    "full, K = 1": Mixture("full", 2, 1),
    "vamp, Normal": Vamp("normal", 2, 4),
    "vamp, full Normal": Vamp("full", 2, 4),
    "vamp, Laplace": Vamp("laplace", 2, 4),
    "vamp, IAF": Vamp("flow", 2, 4),
    "vamp, D = 1": Vamp("normal", 1, 3),
    "vamp, K = 1": Vamp("laplace", 2, 1),
}
every_prior = pytest.mark.parametrize("case", PRIORS)
KINDS = [case for case in PRIORS if "=" not in case]
# One of each class that draws and expands in its own way; of NumPyro's, most of it compilation.
IN_NUMPYRO = ["full", "vamp, Laplace", "vamp, IAF"]
every_kind = pytest.mark.parametrize(
    ("wing", "case"), [("pyro", k) for k in KINDS] + [("numpyro", k) for k in IN_NUMPYRO]
)


def compiled(wing, function, *args):
    """A function's value, in JAX as one program."""
    return jax.jit(function)(*args) if wing == "numpyro" else function(*args)


@functools.cache
def built(wing, case, dtype="float64"):
    prior = PRIORS[case]
    params = {name: tensor(wing, value, dtype) for name, value in prior.params().items()}
    return compiled(wing, functools.partial(prior.prior, wing), params)


def log_prob(wing, prior, z):
    return as_numpy(compiled(wing, lambda prior, z: prior.log_prob(z), prior, z))


def draw(wing, prior, *shape):
    if wing == "pyro":
        torch.manual_seed(0)
        return prior.sample(shape)
    return jax.jit(lambda prior, key: prior.sample(key, shape))(prior, jax.random.key(0))


def points(dim, count=20):
    return np.random.default_rng(0).normal(size=(count, dim)) * 2


@every_prior
def test_the_density_is_the_sum_over_components(case):
    prior = PRIORS[case]
    z = points(prior.dim)
    got = log_prob("pyro", built("pyro", case), tensor("pyro", z))
    expected = prior.log_density("pyro", prior.params(), z)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@every_prior
def test_both_wings_give_the_same_density_and_gradients(case):
    prior = PRIORS[case]
    z, start = points(prior.dim), prior.params()

    def total(params):
        return prior.prior("numpyro", params).log_prob(jnp.asarray(z)).sum()

    params = {name: jnp.asarray(value) for name, value in start.items()}
    value, gradients = jax.jit(jax.value_and_grad(total))(params)
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    other = prior.prior("pyro", leaves).log_prob(torch.tensor(z)).sum()
    other.backward()
    np.testing.assert_allclose(as_numpy(other), value, rtol=1e-10)
    for name, leaf in leaves.items():
        np.testing.assert_allclose(leaf.grad, gradients[name], rtol=1e-8, atol=1e-9)
        if prior.components > 1 or "logits" not in name:  # one weight is 1, whatever its logit
            assert np.isfinite(gradients[name]).all()
            assert np.abs(gradients[name]).max() > 1e-3, name


@pytest.mark.parametrize("case", KINDS)
def test_gradients_are_those_of_finite_differences(case):
    prior = PRIORS[case]
    z = torch.tensor(points(prior.dim))

    def total(params):
        return prior.prior("pyro", params).log_prob(z).sum()

    start = {name: torch.tensor(value) for name, value in prior.params().items()}
    leaves = {name: value.clone().requires_grad_() for name, value in start.items()}
    total(leaves).backward()
    rng = np.random.default_rng(1)
    for name, leaf in leaves.items():
        step = torch.tensor(1e-5 * rng.normal(size=leaf.shape))
        step = step.tril() if "scale_trils" in name else step
        ends = [total(start | {name: start[name] + s * step}).item() for s in (1, -1)]
        expected = float((leaf.grad * step).sum())
        np.testing.assert_allclose((ends[0] - ends[1]) / 2, expected, rtol=1e-5, atol=1e-9)


def grid(dim, far, count):
    """Nodes of a grid over a box, and the volume of its cells."""
    line = np.linspace(-far, far, count)
    nodes = np.stack(np.meshgrid(*[line] * dim, indexing="ij"), -1).reshape(-1, dim)
    return nodes, (line[1] - line[0]) ** dim


def integral(wing, prior, dim, far=12.0, count=241):
    """Integral of a density over a box, by the trapezoidal rule."""
    nodes, volume = grid(dim, far, count)
    return float(np.exp(log_prob(wing, prior, tensor(wing, nodes))).sum() * volume)


@every_wing
@pytest.mark.parametrize(
    "case", ["diagonal, D = 1", "full, D = 1", "full, K = 1", "vamp, full Normal", "vamp, IAF"]
)
def test_the_density_integrates_to_one(wing, case):
    found = integral(wing, built(wing, case), PRIORS[case].dim)
    assert found == pytest.approx(1, abs=1e-5)


SPEC = maf(2, num_layers=2, hidden_dims=(6,))


@functools.cache
def flow_prior_with_base(wing):
    """A flow with random weights and a mixture as base."""
    arrays = {name: 0.25 * array for name, array in arrays_for(SPEC).items()}
    flow = WINGS[wing].build(SPEC, {k: tensor(wing, v) for k, v in arrays.items()})
    base = WINGS[wing].mixture_base(2, num_components=3)
    return with_params(wing, {}, lambda: WINGS[wing].flow_prior("z", flow, base))


@every_wing
def test_the_density_of_a_flow_prior_integrates_to_one(wing):
    found = integral(wing, flow_prior_with_base(wing), 2, far=30.0, count=601)
    assert found == pytest.approx(1, abs=1e-4)


def test_flow_priors_with_a_learnt_base_are_the_same_in_both_wings():
    z = points(2)
    one, two = (log_prob(wing, flow_prior_with_base(wing), tensor(wing, z)) for wing in WINGS)
    # Torch's base starts in float32, and is then made float64.
    np.testing.assert_allclose(one, two, rtol=1e-5)


@every_kind
def test_draws_have_the_moments_of_the_density(wing, case):
    prior = built(wing, case)
    z = as_numpy(draw(wing, prior, DRAWS))
    assert z.shape == (DRAWS, PRIORS[case].dim)
    if case == "vamp, IAF":
        nodes, volume = grid(2, 12.0, 241)
        mass = np.exp(log_prob(wing, prior, tensor(wing, nodes))) * volume
        mean = mass @ nodes
        variance = mass @ (nodes - mean) ** 2
    else:
        mean, variance = as_numpy(prior.mean), as_numpy(prior.variance)
    # Of some hundred such numbers none is expected beyond 4.5 standard errors.
    assert (np.abs(z.mean(0) - mean) < 4.5 * np.sqrt(variance / DRAWS)).all()
    squares = (z - mean) ** 2
    assert (np.abs(squares.mean(0) - variance) < 4.5 * squares.std(0) / DRAWS**0.5).all()


@every_wing
def test_draws_of_a_full_mixture_have_its_covariance(wing):
    z = as_numpy(draw(wing, built(wing, "full"), DRAWS))
    params = PRIORS["full"].params()
    weights = scipy.special.softmax(params["z$logits"])
    second = params["z$locs"][..., None] * params["z$locs"][:, None]
    second += params["z$scale_trils"] @ params["z$scale_trils"].swapaxes(-1, -2)
    products = z[:, :, None] * z[:, None]
    error = products.std(0) / DRAWS**0.5
    assert (np.abs(products.mean(0) - np.einsum("k,kij->ij", weights, second)) < 4.5 * error).all()


@every_kind
def test_an_expanded_prior_scores_and_draws_row_by_row(wing, case):
    prior, dim = built(wing, case, "float32"), PRIORS[case].dim
    wide = prior.expand((5, 3))
    assert tuple(wide.batch_shape) == (5, 3)
    assert tuple(wide.event_shape) == (dim,)
    z = draw(wing, wide)
    assert tuple(z.shape) == (5, 3, dim)
    assert len(np.unique(as_numpy(z))) == 15 * dim

    def scores(prior, z):
        wide = prior.expand((5, 3))
        rows = prior.log_prob(z.reshape(15, dim))
        return rows, wide.log_prob(z), wide.to_event(2).log_prob(z), wide.log_prob(z[0, 0])

    rows, each, joint, alone = map(as_numpy, compiled(wing, scores, prior, z))
    assert as_numpy(z).dtype == each.dtype == "float32"
    np.testing.assert_allclose(each, rows.reshape(5, 3), rtol=1e-5)
    np.testing.assert_allclose(joint, rows.sum(), rtol=1e-5)
    np.testing.assert_allclose(alone, np.full((5, 3), rows[0]), rtol=1e-5)
    double = log_prob(wing, built(wing, case), tensor(wing, as_numpy(z).astype("float64")))
    np.testing.assert_allclose(each, double, rtol=2e-5, atol=2e-5)


@every_wing
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("components", [1, 5])
def test_a_mixture_prior_starts_with_mean_zero_and_variance_one(wing, covariance, components):
    make = functools.partial(WINGS[wing].mixture_prior, "z", 3, components)
    prior = with_params(wing, {}, lambda: make(covariance=covariance, seed=2))
    np.testing.assert_allclose(as_numpy(prior.mean), 0, atol=1e-6)
    np.testing.assert_allclose(as_numpy(prior.variance), 1, rtol=1e-5)
    assert len(np.unique(as_numpy(prior.locs)[:, 0])) == components


def test_mixture_priors_start_at_the_same_numbers():
    start = MixtureBaseSpec(3, num_components=4, seed=2).arrays()
    widths = np.exp(start["log_scales"])
    for wing, fk in WINGS.items():
        for kind in ("diagonal", "full"):
            make = functools.partial(fk.mixture_prior, kind, 3, 4, covariance=kind, seed=2)
            prior = with_params(wing, {}, make)
            np.testing.assert_allclose(as_numpy(prior.locs), start["locs"], rtol=1e-6)
            np.testing.assert_allclose(as_numpy(prior.logits), 0)
            if kind == "full":
                expected = widths[..., None] * np.eye(3)
                np.testing.assert_allclose(as_numpy(prior.scale_trils), expected, rtol=1e-6)
            else:
                np.testing.assert_allclose(as_numpy(prior.scales), widths, rtol=1e-6)


@every_wing
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_densities_far_out_are_finite_in_single_precision(wing, covariance):
    prior = built(wing, covariance, "float32")
    z = tensor(wing, np.array([[1e15, 0, 0], [-1e10, 1e12, 3.0]]), "float32")
    assert np.isfinite(log_prob(wing, prior, z)).all()


@every_wing
def test_weights_are_fixed_unless_they_are_to_be_learnt(wing):
    vamp, params = PRIORS["vamp, Laplace"], PRIORS["vamp, Laplace"].params()
    params = {name: tensor(wing, value) for name, value in params.items()}
    z = points(2)
    encoder = functools.partial(vamp.encode, wing, params)
    components = as_numpy(encoder(params["z$pseudo_inputs"]).log_prob(tensor(wing, z)[:, None]))
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    for given, learn in ((None, False), (weights, False), (weights, True)):
        prior = with_params(
            wing, {},
            lambda given=given, learn=learn: WINGS[wing].vamp_prior(
                "z", encoder, params["z$pseudo_inputs"], weights=given, learn_weights=learn
            ),
        )  # fmt: skip
        logs = np.log((np.ones(4) if given is None else given) / (4 if given is None else 10))
        expected = scipy.special.logsumexp(components + logs, axis=-1)
        np.testing.assert_allclose(log_prob(wing, prior, tensor(wing, z)), expected)


@every_wing
def test_full_mixtures_of_batches_score_and_draw_row_by_row(wing):
    rng = np.random.default_rng(0)
    start = PRIORS["full"].params()
    rows = {k: np.tril(v + 0.1 * rng.random((2, *v.shape))) if "tril" in k
            else v + rng.normal(size=(2, *v.shape)) for k, v in start.items()}  # fmt: skip
    kind = FULL[wing]
    batch = kind(*(tensor(wing, rows[f"z${k}"]) for k in ("locs", "scale_trils", "logits")))
    wide = batch.expand((5, 2))
    assert tuple(batch.batch_shape) == (2,)
    for each, shape in ((batch, (2,)), (wide, (5, 2))):
        z = draw(wing, each, 4)
        assert tuple(z.shape) == (4, *shape, 3)
        got = log_prob(wing, each, z)
        for i in range(2):
            row = {k: v[i] for k, v in rows.items()}
            flat = as_numpy(z)[..., i, :].reshape(-1, 3)
            expected = PRIORS["full"].log_density(wing, row, flat)
            np.testing.assert_allclose(got[..., i].reshape(-1), expected, rtol=1e-10)


@every_wing
def test_full_mixtures_refuse_shapes_that_do_not_fit(wing):
    locs, factors, logits = np.zeros((2, 3)), np.broadcast_to(np.eye(3), (2, 3, 3)), np.zeros(2)
    for arrays, message in (
        ((locs, factors[0], logits), r"scale_trils: expected .* got \(2, 3\) and \(3, 3\)"),
        ((locs[0], factors, logits), r"locs and scale_trils: .* got \(3,\)"),
        ((locs, factors, logits[:1]), r"logits: expected shape \(..., 2\), got \(1,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            FULL[wing](*(tensor(wing, array) for array in arrays))
