"""Learnt bases: densities against scipy, draws and their gradients against integrals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
from torch import nn

import numpyro_flowkit
import pyro_flowkit
from flowkit_core.bases import MAX_DF, MixtureBaseSpec, StudentTBaseSpec
from numpyro_flowkit.bases import mixture_path as numpyro_path
from pyro_flowkit.bases import mixture_path as pyro_path

WINGS = {"pyro": pyro_flowkit, "numpyro": numpyro_flowkit}
every_wing = pytest.mark.parametrize("wing", WINGS)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
DRAWS = 20_000


def arrays_of(name, dim, components=3, seed=7):
    """Arrays of a base, away from where they start."""
    rng = np.random.default_rng(seed)
    if name == "student_t":
        return {"free": rng.uniform(-3, 1, dim)}
    return {
        "locs": rng.normal(size=(components, dim)),
        "log_scales": rng.normal(scale=0.3, size=(components, dim)) - 0.2,
        "logits": rng.normal(scale=0.7, size=components),
    }


def made(wing, name, arrays, dtype="float64"):
    """A base of a wing with these arrays; with a batch dimension in each, if they have one."""
    recipe = getattr(WINGS[wing], f"{name}_base")
    dim = next(iter(arrays.values())).shape[-1]
    if wing == "numpyro":
        kind = type(recipe(dim)(jax.random.key(0)))
        return kind(**{k: jnp.asarray(v, dtype) for k, v in arrays.items()})
    base = recipe(dim)
    for key, value in arrays.items():
        setattr(base, key, nn.Parameter(torch.tensor(value, dtype=getattr(torch, dtype))))
    return base


def tensor(wing, x, dtype="float64"):
    return jnp.asarray(x, dtype) if wing == "numpyro" else torch.tensor(x).to(getattr(torch, dtype))


def as_numpy(x):
    return np.asarray(x.detach() if isinstance(x, torch.Tensor) else x)


def df_of(free):
    return 1 / (1 / MAX_DF + (1 - 1 / MAX_DF) * scipy.special.expit(free))


def log_density(name, arrays, z):
    if name == "student_t":
        return scipy.stats.t.logpdf(z, df_of(arrays["free"])).sum(-1)
    scales = np.exp(arrays["log_scales"])
    each = scipy.stats.norm.logpdf(z[..., None, :], arrays["locs"], scales).sum(-1)
    return scipy.special.logsumexp(each + scipy.special.log_softmax(arrays["logits"]), axis=-1)


BASES = {
    "student_t": ("student_t", 3, 0), "student_t, D = 1": ("student_t", 1, 0),
    "mixture": ("mixture", 3, 3), "mixture, D = 1": ("mixture", 1, 4),
    "mixture, K = 1": ("mixture", 2, 1),
}  # fmt: skip
every_base = pytest.mark.parametrize("case", BASES)


@every_wing
@every_base
@every_dtype
def test_the_density_is_that_of_scipy(wing, case, dtype):
    name, dim, components = BASES[case]
    arrays = arrays_of(name, dim, components)
    z = np.random.default_rng(0).normal(size=(50, dim)) * 3
    got = made(wing, name, arrays, dtype)().log_prob(tensor(wing, z, dtype))
    assert str(got.dtype).removeprefix("torch.") == dtype
    tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(as_numpy(got), log_density(name, arrays, z), tolerance, tolerance)


@every_wing
@every_dtype
@pytest.mark.parametrize("name", ["student_t", "mixture"])
def test_densities_and_scores_are_finite_far_out(wing, dtype, name):
    far = 1e30 if name == "student_t" else 1e15
    z = np.array([[far, -far], [0.0, far], [0.0, 0.0]])
    base = made(wing, name, arrays_of(name, 2), dtype)
    if wing == "numpyro":
        score = jax.jit(jax.grad(lambda z: base().log_prob(z).sum()))(tensor(wing, z, dtype))
    else:
        at = tensor(wing, z, dtype).requires_grad_()
        (score,) = torch.autograd.grad(base().log_prob(at).sum(), at)
    assert np.isfinite(as_numpy(base().log_prob(tensor(wing, z, dtype)))).all()
    assert np.isfinite(as_numpy(score)).all()
    if name == "student_t":  # log p = -(df + 1) log |z| + ..., whose derivative is (df + 1) / |z|
        expected = -(df_of(arrays_of(name, 2)["free"])[0] + 1) / far
        np.testing.assert_allclose(as_numpy(score)[0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_both_wings_start_at_the_same_arrays(dim):
    for name in ("student_t", "mixture"):
        ours = getattr(numpyro_flowkit, f"{name}_base")(dim)(jax.random.key(1))
        theirs = getattr(pyro_flowkit, f"{name}_base")(dim)
        for key, parameter in theirs.named_parameters():
            np.testing.assert_allclose(getattr(ours, key), as_numpy(parameter), rtol=1e-6)


@pytest.mark.parametrize("components", [1, 2, 5])
def test_a_mixture_starts_with_mean_zero_and_variance_one(components):
    arrays = MixtureBaseSpec(4, num_components=components).arrays()
    np.testing.assert_allclose(arrays["locs"].mean(0), 0, atol=1e-12)
    within = np.exp(2 * arrays["log_scales"]).mean(0)
    np.testing.assert_allclose(arrays["locs"].var(0) + within, 1)
    assert len(np.unique(arrays["locs"][:, 0])) == components


@pytest.mark.parametrize("df", [1.5, 30.0, 150.0])
def test_a_student_t_base_starts_at_its_degrees_of_freedom(df):
    np.testing.assert_allclose(df_of(StudentTBaseSpec(3, df).arrays()["free"]), df)
    base = pyro_flowkit.student_t_base(3, df=df)
    np.testing.assert_allclose(as_numpy(base.df), df, rtol=1e-5)


def combined(z, coefficients):
    """A function of draws, with a cosine so that it is bounded but for one part that is not."""
    a = (z * coefficients).sum(-1)
    xp = torch if isinstance(a, torch.Tensor) else jnp
    return xp.cos(a) + 0.2 * a**2


def expected_combined(arrays, coefficients):
    """Its mean under a mixture: a is Normal in each component."""
    mean = arrays["locs"] @ coefficients
    variance = np.exp(2 * arrays["log_scales"]) @ coefficients**2
    each = np.cos(mean) * np.exp(-variance / 2) + 0.2 * (mean**2 + variance)
    return scipy.special.softmax(arrays["logits"]) @ each


def heavy(z, coefficients):
    """A function of draws that grows slowly: its moments exist for every df."""
    xp = torch if isinstance(z, torch.Tensor) else jnp
    return (coefficients * (xp.log1p(z**2) + xp.cos(z))).sum(-1)


@functools.cache
def expected_heavy_of_one(df):
    def integrand(z):
        return scipy.stats.t.pdf(z, df) * (np.log1p(z**2) + np.cos(z))

    # Far out the cosine is left away: it averages to nothing there.
    middle = scipy.integrate.quad(integrand, 0, 400, limit=2000, epsabs=1e-12)[0]
    far = scipy.integrate.quad(lambda z: scipy.stats.t.pdf(z, df) * np.log1p(z**2), 400, np.inf)[0]
    return 2 * (middle + far)


def expected_heavy(arrays, coefficients):
    return float(coefficients @ np.array([expected_heavy_of_one(d) for d in df_of(arrays["free"])]))


def by_finite_differences(function, arrays):
    found = {}
    for key, value in arrays.items():
        gradient = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            step = np.zeros_like(value)
            step[index] = 1e-4
            ends = [function({**arrays, key: value + s * step}) for s in (1, -1)]
            gradient[index] = (ends[0] - ends[1]) / 2e-4
        found[key] = gradient
    return found


def draws_and_gradients(wing, name, arrays, function, dtype="float64"):
    """Values of a function of draws (n,), and each one's gradient by each array (n, ...)."""
    if wing == "numpyro":
        base = made(wing, name, arrays, dtype)

        @jax.jit
        @jax.vmap
        def one(key):
            return jax.value_and_grad(lambda base: function(base().rsample(key)))(base)

        values, gradients = one(jax.random.split(jax.random.key(3), DRAWS))
        return values, {key: as_numpy(getattr(gradients, key)) for key in arrays}
    rows = {k: np.broadcast_to(v, (DRAWS, *v.shape)).copy() for k, v in arrays.items()}
    base = made(wing, name, rows, dtype)
    torch.manual_seed(3)
    values = function(base().rsample())
    values.sum().backward()
    return as_numpy(values), {key: as_numpy(getattr(base, key).grad) for key in arrays}


@every_wing
@every_base
@every_dtype
def test_gradients_of_expectations_are_those_of_integrals(wing, case, dtype):
    name, dim, components = BASES[case]
    arrays = arrays_of(name, dim, components)
    coefficients = np.array([1.0, -0.6, 0.8])[:dim]
    function, mean = (combined, expected_combined) if name == "mixture" else (heavy, expected_heavy)
    values, gradients = draws_and_gradients(
        wing, name, arrays,
        functools.partial(function, coefficients=tensor(wing, coefficients, dtype)), dtype,
    )  # fmt: skip
    exact = by_finite_differences(lambda a: mean(a, coefficients), arrays)
    values = np.asarray(values, np.float64)
    assert abs(values.mean() - mean(arrays, coefficients)) < 4.5 * values.std() / DRAWS**0.5
    for key, gradient in gradients.items():
        gradient = gradient.astype(np.float64)
        error = gradient.std(0) / DRAWS**0.5 + 1e-6
        z = (gradient.mean(0) - exact[key]) / error
        assert np.abs(z).max() < 4.5, (key, z)


@every_wing
def test_draws_have_the_moments_of_the_distribution(wing):
    base = made(wing, "mixture", arrays_of("mixture", 3))()
    torch.manual_seed(0)
    z = base.sample((DRAWS,)) if wing == "pyro" else base.sample(jax.random.key(0), (DRAWS,))
    mean, variance = as_numpy(base.mean), as_numpy(base.variance)
    z = as_numpy(z)
    assert (np.abs(z.mean(0) - mean) < 4.5 * np.sqrt(variance / DRAWS)).all()
    spread = ((z - mean) ** 2).std(0) / DRAWS**0.5
    assert (np.abs(((z - mean) ** 2).mean(0) - variance) < 4.5 * spread).all()


@every_wing
def test_draws_of_student_t_follow_its_distribution_function(wing):
    arrays = arrays_of("student_t", 3)
    base = made(wing, "student_t", arrays)()
    torch.manual_seed(0)
    z = base.sample((4000,)) if wing == "pyro" else base.sample(jax.random.key(0), (4000,))
    for column, df in zip(as_numpy(z).T, df_of(arrays["free"]), strict=True):
        assert scipy.stats.kstest(column, scipy.stats.t(df).cdf).pvalue > 1e-4


@every_wing
def test_draws_of_batches_have_the_batch_shape(wing):
    rng = np.random.default_rng(0)
    rows = {k: v + rng.normal(size=(2, *v.shape)) for k, v in arrays_of("mixture", 3).items()}
    batch = made(wing, "mixture", rows)()
    wide = batch.expand((5, 2))
    assert tuple(batch.batch_shape) == (2,)
    assert tuple(wide.batch_shape) == (5, 2)
    for each, shape in ((batch, (2,)), (wide, (5, 2))):
        z = each.rsample((4,)) if wing == "pyro" else each.rsample(jax.random.key(0), (4,))
        assert tuple(z.shape) == (4, *shape, 3)
        z = as_numpy(z)
        got = as_numpy(each.log_prob(tensor(wing, z)))
        for i in range(2):
            row = {k: v[i] for k, v in rows.items()}
            np.testing.assert_allclose(got[..., i], log_density("mixture", row, z[..., i, :]))


def path_gradient(wing, z, arrays, cotangent, dtype="float64"):
    """Gradient by each array of ``sum cotangent * z`` as the draws z move with them."""
    values = [arrays["locs"], np.exp(arrays["log_scales"]), arrays["logits"]]
    values = [tensor(wing, v, dtype) for v in values]
    z, cotangent = tensor(wing, z, dtype), tensor(wing, cotangent, dtype)
    if wing == "numpyro":

        def total(values):
            return (cotangent * numpyro_path.along_path(z, *values)).sum()

        return [as_numpy(g) for g in jax.jit(jax.grad(total))(values)]
    values = [v.requires_grad_() for v in values]
    total = (cotangent * pyro_path.along_path(z, *values)).sum()
    return [as_numpy(g) for g in torch.autograd.grad(total, values)]


@pytest.mark.parametrize("dim", [1, 2, 6])
def test_both_wings_move_draws_alike(dim):
    rng = np.random.default_rng(1)
    arrays = arrays_of("mixture", dim, 4)
    z, cotangent = rng.normal(size=(2, 30, dim))
    pairs = zip(*(path_gradient(w, z, arrays, cotangent) for w in WINGS), strict=True)
    for one, two in pairs:
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


@every_wing
@pytest.mark.parametrize("far", [3.0, 12.0, 60.0, -60.0])
def test_draws_far_out_move_as_precisely_as_others(wing, far):
    arrays = arrays_of("mixture", 2)
    z = np.array([[far, 0.4], [0.1, far], [far, -far]])
    single, double = (path_gradient(wing, z, arrays, np.ones((3, 2)), d)
                      for d in ("float32", "float64"))  # fmt: skip
    for one, two in zip(single, double, strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-3, atol=2e-3 * np.abs(two).max())


@every_wing
def test_the_weights_of_one_coordinate_move_draws_by_the_distribution_function(wing):
    arrays = arrays_of("mixture", 1)
    z = np.linspace(-4, 4, 9)[:, None]
    weights = scipy.special.softmax(arrays["logits"])
    standard = (z - arrays["locs"][:, 0]) / np.exp(arrays["log_scales"][:, 0])
    cdfs = scipy.stats.norm.cdf(standard)
    slope = weights * (cdfs - (cdfs @ weights)[:, None])  # dF / dlogit_k
    expected = -slope / np.exp(log_density("mixture", arrays, z))[:, None]
    for row, value in zip(expected, z, strict=True):
        got = path_gradient(wing, value[None], arrays, np.ones((1, 1)))[2]
        np.testing.assert_allclose(got, row, rtol=1e-9, atol=1e-12)


def test_second_derivatives_of_expectations_are_those_of_integrals():
    arrays = arrays_of("mixture", 2, 2)
    coefficients = np.array([1.0, -0.6])

    def by_locs_and_logits(kind):
        function = functools.partial(
            by_finite_differences, lambda a: expected_combined(a, coefficients)
        )
        step = np.zeros_like(arrays[kind])
        step[0] = 1e-3
        ends = [function({**arrays, kind: arrays[kind] + s * step})["logits"][0] for s in (1, -1)]
        return (ends[0] - ends[1]) / 2e-3

    base = made("numpyro", "mixture", arrays)

    @jax.jit
    @jax.vmap
    def one(key):
        def slope(base):
            value = jax.grad(lambda b: combined(b().sample(key), jnp.asarray(coefficients)))(base)
            return value.logits[0]

        curvature = jax.grad(slope)(base)
        return jnp.array([curvature.locs[0].sum(), curvature.logits[0]])

    rows = np.asarray(one(jax.random.split(jax.random.key(0), DRAWS)))
    exact = [by_locs_and_logits("locs"), by_locs_and_logits("logits")]
    z = (rows.mean(0) - exact) / (rows.std(0) / DRAWS**0.5)
    assert np.abs(z).max() < 4.5, z

    rows = {k: np.broadcast_to(v, (DRAWS, *v.shape)).copy() for k, v in arrays.items()}
    base = made("pyro", "mixture", rows)
    torch.manual_seed(5)
    value = combined(base().rsample(), torch.tensor(coefficients)).sum()
    (slope,) = torch.autograd.grad(value, base.logits, create_graph=True)
    locs, logits = torch.autograd.grad(slope[:, 0].sum(), (base.locs, base.logits))
    rows = np.stack([as_numpy(locs[:, 0].sum(-1)), as_numpy(logits[:, 0])], -1)
    z = (rows.mean(0) - exact) / (rows.std(0) / DRAWS**0.5)
    assert np.abs(z).max() < 4.5, z


BAD = {
    "no component": (lambda fk: fk.mixture_base(2, num_components=0), ValueError, "num_components"),
    "half a component": (
        lambda fk: fk.mixture_base(2, num_components=1.5), TypeError, "num_components"
    ),
    "no coordinate": (lambda fk: fk.mixture_base(0), ValueError, "input_dim"),
    "a negative seed": (lambda fk: fk.mixture_base(2, seed=-1), ValueError, "seed"),
    "no mean": (lambda fk: fk.student_t_base(2, df=1.0), ValueError, "between 1.0 and 200.0"),
    "too near the Normal": (lambda fk: fk.student_t_base(2, df=200), ValueError, "between"),
    "df as text": (lambda fk: fk.student_t_base(2, df="3"), TypeError, "expected a number"),
}  # fmt: skip


@every_wing
@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(wing, case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call(WINGS[wing])
