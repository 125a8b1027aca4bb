"""The aggregated posterior's density against sums over all pairs, and its gradient by autodiff."""

import math

import jax
import numpy as np
import pytest
import torch

import numpyro_flowkit
import pyro_flowkit
from numpyro_flowkit.surgery import streamed as numpyro_streamed
from pyro_flowkit.surgery import streamed as pyro_streamed
from tests.surgery import (
    DISTRIBUTIONS,
    PACKAGES,
    SURGERY,
    array,
    diagonal,
    draws_of,
    every_dtype,
    every_wing,
    full,
    log_aggregate_by_hand,
    numbers,
)

# name -> (range of the means, sd of most posteriors)
NARROWNESS = {"wide": (1.0, 0.5), "narrow": (5.0, 1e-3), "collapsed": (5.0, 1e-7)}


def gaussians(rng, n, dim, spread, sd):
    """Means and sds, of which a third are wide whatever the others are."""
    loc = rng.uniform(-spread, spread, (n, dim))
    scale = sd * rng.uniform(0.5, 2, (n, dim))
    scale[: n // 3] = rng.uniform(0.5, 1, (n // 3, dim))
    return loc, scale


def factors(rng, scale):
    """Lower triangular factors with about these scales."""
    n, dim = scale.shape
    lower = np.tril(0.5 * rng.normal(size=(n, dim, dim)), -1) + np.eye(dim)
    return scale[:, :, None] * lower


@every_wing
@every_dtype
@pytest.mark.parametrize("narrowness", NARROWNESS)
@pytest.mark.parametrize("dim", [1, 5])
def test_diagonal_gaussians_match_the_sum_over_pairs(wing, dtype, narrowness, dim, rng):
    loc, scale = gaussians(rng, 150, dim, *NARROWNESS[narrowness])
    posterior = diagonal(wing, loc, scale, dtype)
    # NumPyro draws in float64 whatever the parameters' dtype.
    z = array(wing, numbers(draws_of(wing, posterior)), dtype)
    # The numbers that the wing has, after its rounding.
    loc, scale = (np.asarray(part, dtype) for part in (loc, scale))
    truth = log_aggregate_by_hand(loc, scale, numbers(z))
    found = SURGERY[wing].aggregate_log_prob(posterior, z)
    assert str(found.dtype).endswith(dtype)
    rounding = np.spacing(np.float32(abs(truth).max())) if dtype == "float32" else 0
    np.testing.assert_allclose(numbers(found), truth, rtol=0, atol=1e-6 + rounding)


@every_wing
@pytest.mark.parametrize("narrowness", NARROWNESS)
@pytest.mark.parametrize("dim", [1, 4])
def test_full_covariances_match_the_sum_over_pairs(wing, narrowness, dim, rng):
    loc, scale = gaussians(rng, 150, dim, *NARROWNESS[narrowness])
    factor = factors(rng, scale)
    posterior = full(wing, loc, factor)
    z = draws_of(wing, posterior)
    found = SURGERY[wing].aggregate_log_prob(posterior, z)
    truth = log_aggregate_by_hand(loc, factor, numbers(z))
    np.testing.assert_allclose(numbers(found), truth, rtol=0, atol=2e-6)


@every_wing
def test_small_tiles_batches_and_shapes_of_points_change_nothing(wing, rng):
    loc, scale = gaussians(rng, 130, 3, 5.0, 1e-3)
    parts = [slice(0, 1), slice(1, 60), slice(60, 130)]
    batches = [diagonal(wing, loc[rows], scale[rows]) for rows in parts]
    batches[1] = full(wing, loc[parts[1]], scale[parts[1], :, None] * np.eye(3))
    z = rng.uniform(-5, 5, (2, 35, 3))
    truth = log_aggregate_by_hand(loc, scale, z.reshape(-1, 3)).reshape(2, 35)
    for limit in (2_000, 2**26):
        generator = (batch for batch in batches)  # is read once
        found = SURGERY[wing].aggregate_log_prob(generator, array(wing, z), memory_limit=limit)
        np.testing.assert_allclose(numbers(found), truth, rtol=0, atol=1e-6)
    one = SURGERY[wing].aggregate_log_prob(batches, array(wing, z[0, 0]))
    assert tuple(one.shape) == ()
    none = SURGERY[wing].aggregate_log_prob(batches, array(wing, np.zeros((0, 3))))
    assert tuple(none.shape) == (0,)


@every_wing
def test_an_expanded_posterior_is_that_many_equal_ones(wing):
    single = diagonal(wing, np.array([1.0, -1.0]), np.array([0.5, 2.0]))
    z = array(wing, [[0.0, 0.0], [2.0, 1.0]])
    found = SURGERY[wing].aggregate_log_prob(single.expand((7,)), z)
    np.testing.assert_allclose(numbers(found), numbers(single.log_prob(z)), atol=1e-6)


@every_wing
def test_flow_posteriors_match_the_sum_over_pairs(wing, rng):
    posterior = flow_posterior(wing, rng, 40)
    z = array(wing, rng.normal(size=(30, 3)))
    pairs = numbers(posterior.log_prob(z[:, None]))
    assert pairs.shape == (30, 40)
    truth = np.log(np.exp(pairs).mean(1))
    for limit in (2**17, 2**26):  # some points at a time, and all
        found = SURGERY[wing].aggregate_log_prob(posterior, z, memory_limit=limit)
        np.testing.assert_allclose(numbers(found), truth, rtol=0, atol=1e-9)


def flow_posterior(wing, rng, n):
    """An IAF with a context for each of n data points."""
    recipe = PACKAGES[wing].iaf(3, num_layers=2, hidden_dims=(8,), context_dim=2)
    if wing == "numpyro":
        flow = recipe(jax.random.key(0))
        flow = jax.tree.map(lambda a: array(wing, rng.normal(size=a.shape) * 0.5), flow)
    else:
        flow = recipe.double()
        for parameter in flow.parameters():
            parameter.data = array(wing, rng.normal(size=tuple(parameter.shape)) * 0.5)
    base = diagonal(wing, rng.normal(size=(n, 3)), rng.uniform(0.2, 1, (n, 3)))
    return PACKAGES[wing].FlowDistribution(flow, base, context=array(wing, rng.normal(size=(n, 2))))


@every_wing
@pytest.mark.parametrize(
    "kind", [pytest.param("diagonal", marks=pytest.mark.slow), "collapsed", "full"]
)
def test_gradients_match_autodiff_through_the_table_of_pairs(wing, kind, rng):
    loc, scale = gaussians(rng, 60, 3, 1.0, 1e-6 if kind == "collapsed" else 0.5)
    factor = factors(rng, scale) if kind == "full" else scale
    make = full if kind == "full" else diagonal
    z = np.concatenate([loc[50:] + scale[50:] * 0.3, rng.normal(size=(40, 3))])
    weights = rng.normal(size=len(z))
    arrays = [loc, factor, z]

    def total(values, log_prob):
        loc, factor, z = values
        return (log_prob(remade(wing, make, loc, factor), z) * array(wing, weights)).sum()

    def by_hand(posterior, z):
        pairs = posterior.log_prob(z[:, None])
        if wing == "numpyro":
            return jax.scipy.special.logsumexp(pairs, 1)
        return torch.logsumexp(pairs, 1)

    # In several tiles.
    def ours(posterior, z):
        return SURGERY[wing].aggregate_log_prob(posterior, z, memory_limit=2**15)

    found, truth = (gradients(wing, total, arrays, way) for way in (ours, by_hand))
    for one, other in zip(found, truth, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6 * abs(other).max())


def remade(wing, make, loc, factor):
    """A distribution of arrays that are being differentiated."""
    if make is full:
        return DISTRIBUTIONS[wing].MultivariateNormal(loc, scale_tril=factor)
    return DISTRIBUTIONS[wing].Normal(loc, factor).to_event(1)


def gradients(wing, total, arrays, way):
    if wing == "numpyro":
        values = [array(wing, a) for a in arrays]
        return [np.asarray(g) for g in jax.grad(total)(values, way)]
    values = [array(wing, a).requires_grad_() for a in arrays]
    return [g.numpy() for g in torch.autograd.grad(total(values, way), values)]


@every_wing
def test_a_flow_posterior_has_gradients_through_its_tiles(wing, rng):
    posterior = flow_posterior(wing, rng, 20)
    z = array(wing, rng.normal(size=(10, 3)))

    def total(posterior, z, log_prob):
        return log_prob(posterior, z).sum()

    def ours(posterior, z):
        return SURGERY[wing].aggregate_log_prob(posterior, z, memory_limit=2**17)

    if wing == "numpyro":

        def by_hand(posterior, z):
            return jax.scipy.special.logsumexp(posterior.log_prob(z[:, None]), 1)

        found, truth = (jax.grad(total)(posterior, z, way) for way in (ours, by_hand))
        found, truth = jax.tree.leaves(found), jax.tree.leaves(truth)
    else:

        def by_hand(posterior, z):
            return torch.logsumexp(posterior.log_prob(z[:, None]), 1)

        weights = list(posterior.flow.dependencies())
        weights = [w for w in weights if w.requires_grad]
        found, truth = (
            torch.autograd.grad(total(posterior, z, way), weights) for way in (ours, by_hand)
        )
    assert len(found) >= 8
    for one, other in zip(found, truth, strict=True):
        np.testing.assert_allclose(numbers(one), numbers(other), atol=1e-9)


@every_wing
def test_only_what_a_product_cannot_do_is_done_by_differences(wing, rng, monkeypatch):
    seen = []
    module = {"pyro": pyro_streamed, "numpyro": numpyro_streamed}[wing]
    kind = module.GaussianPairs.__subclasses__()[0]
    original = kind.by_differences

    def spy(self, z):
        seen.append(len(self.params[0]))
        return original(self, z)

    monkeypatch.setattr(kind, "by_differences", spy)
    loc, scale = gaussians(rng, 90, 2, 5.0, 0.5)
    scale[[3, 50]] = 1e-7
    if wing == "pyro":
        SURGERY[wing].aggregate_log_prob(diagonal(wing, loc, scale), array(wing, loc))
        assert sum(seen) == 2
    else:  # a program holds both ways; which tile takes which is data
        plan = numpyro_streamed.Plan(kind, 64, 16)
        tiles = numpyro_streamed._tiles(
            plan, array(wing, loc), (array(wing, loc), array(wing, scale))
        )
        assert tiles.is_narrow.tolist() == [False] * 5 + [True]


def test_jax_without_its_x64_flag_computes_in_float64_outside_of_traces(rng):
    loc, scale = gaussians(rng, 150, 5, *NARROWNESS["narrow"])
    with jax.enable_x64(False):
        posterior = diagonal("numpyro", loc, scale, "float32")
        z = draws_of("numpyro", posterior)
        assert z.dtype == np.float32
        truth = log_aggregate_by_hand(np.float32(loc), np.float32(scale), z)
        for way in (
            numpyro_flowkit.surgery.aggregate_log_prob,
            jax.jit(numpyro_flowkit.surgery.aggregate_log_prob),
        ):
            found = way(posterior, z)
            assert found.dtype == np.float32
            np.testing.assert_allclose(numbers(found), truth, rtol=0, atol=1e-5)
        posteriors = numpyro_flowkit.surgery.posterior.Posterior(posterior)
        wide = posteriors.log_sum(z, memory_limit=2**26)
        assert wide.dtype == np.float64
        np.testing.assert_allclose(wide, truth + math.log(150), rtol=0, atol=1e-6)
        # The flag is as it was.
        assert not jax.config.jax_enable_x64


def test_memory_of_the_table_is_never_asked_for(rng):
    # 40 000 by 40 000 pairs would be 12.8 GB; torch is told not to have more than a tile.
    n = 40_000
    posterior = diagonal("pyro", rng.normal(size=(n, 1)), np.ones((n, 1)))
    z = array("pyro", rng.normal(size=(40, 1)))
    largest = []
    original = torch.addmm

    def spy(*args, **kwargs):
        out = original(*args, **kwargs)
        largest.append(out.numel() * out.element_size())
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "addmm", spy)
        pyro_flowkit.surgery.aggregate_log_prob(posterior, z, memory_limit=2**20)
    assert max(largest) < 2**20


def test_second_derivatives_in_pyro_say_that_there_are_none(rng):
    loc = array("pyro", rng.normal(size=(20, 2))).requires_grad_()
    posterior = diagonal("pyro", np.zeros((20, 2)), 1.0)
    posterior.base_dist.loc = loc
    total = SURGERY["pyro"].aggregate_log_prob(posterior, loc.detach()).sum()
    with pytest.raises(NotImplementedError, match="second derivatives are not implemented"):
        torch.autograd.grad(total, loc, create_graph=True)
