"""Path gradients of a flow's distribution, against their definition and against total gradients."""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch

import pyro_flowkit as fk
from tests.cases import CASES, arrays_for, params, points_for
from tests.pyro.helpers import SMALL, assert_same_gradients, gradients, large, points
from tests.wings import WINGS

TRAINABLE = sorted(name for name, spec in CASES.items() if spec.arrays())
FLOWS = {
    "iaf": lambda: fk.iaf(3, **SMALL),
    "maf": lambda: fk.maf(3, **SMALL),
    "realnvp": lambda: fk.realnvp(3, **SMALL),
    "maf_spline": lambda: fk.maf(3, law="spline", **SMALL),
    "realnvp_spline": lambda: fk.realnvp(3, law="spline", **SMALL),
}
every_flow = pytest.mark.parametrize("name", FLOWS)


def target(x):
    """Some log-density of x."""
    return -(0.3 * x**2 + torch.sin(x)).sum(-1)


def bound(density, shape=()):
    """``sum of log q(x) - log p(x)`` over draws, as an ELBO has it."""
    pyro.set_rng_seed(5)
    x = density.rsample(shape)
    return density.log_prob(x).sum() - target(x).sum()


def bound_by_definition(flow, make_base, base_params, shape=(), context=None):
    """The same; log q is evaluated by the inverse of a copy in which nothing is trainable."""
    pyro.set_rng_seed(5)
    plain = fk.FlowDistribution(flow, make_base(*base_params), context=context)
    x = plain.rsample(shape)
    frozen = copy.deepcopy(flow).requires_grad_(False)
    fixed = None if context is None else context.detach()
    base = make_base(*(p.detach() for p in base_params))
    log_prob = fk.FlowDistribution(frozen, base, context=fixed).log_prob(x)
    return log_prob.sum() - target(x).sum()


def standard(event_shape):
    zeros = torch.zeros(event_shape, dtype=torch.float64)
    return lambda: dist.Normal(zeros, zeros + 1).to_event(len(event_shape))


@pytest.mark.parametrize("case", params(TRAINABLE))
def test_it_is_the_gradient_with_the_density_held_fixed(case):
    spec = CASES[case]
    flow = WINGS["pyro"].build(spec, arrays_for(spec))
    _, context = points_for(spec, (4,))
    others = {}
    if context is not None:
        context = others["context"] = torch.from_numpy(context).requires_grad_()
    shape = (4,) if context is None else ()
    density = fk.FlowDistribution(flow, context=context, path_gradient=True)
    got = gradients(bound(density, shape), flow, others)
    loss = bound_by_definition(flow, standard(spec.event_shape), (), shape, context)
    assert_same_gradients(got, gradients(loss, flow, others), tolerance=1e-8)


def bent(loc, scale):
    """A base that is itself transformed, by a map that is not linear."""
    return dist.TransformedDistribution(
        dist.Normal(loc, scale).to_event(1), [dist.transforms.ExpTransform()]
    )


BASES = {
    "normal": lambda loc, scale: dist.Normal(loc, scale).to_event(1),
    "single numbers": dist.Normal,
    "student": lambda loc, scale: dist.StudentT(5.0, loc, scale).to_event(1),
    "transformed": bent,
    "batch": lambda loc, scale: dist.Normal(loc.expand(2, 3), scale).to_event(1),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", ["iaf", "maf"])
def test_any_base_and_its_own_parameters_take_part(name, base):
    flow = large(FLOWS[name]())
    params = [points(3, seed=2).requires_grad_(), (points(3, seed=3).abs() + 0.5).requires_grad_()]
    others = dict(zip(("loc", "scale"), params, strict=True))
    density = fk.FlowDistribution(flow, BASES[base](*params), path_gradient=True)
    got = gradients(bound(density, (4,)), flow, others)
    loss = bound_by_definition(flow, BASES[base], params, (4,))
    assert_same_gradients(got, gradients(loss, flow, others), tolerance=1e-8)


@every_flow
def test_values_are_those_without_path_gradients(name):
    flow = large(FLOWS[name]())
    density = fk.FlowDistribution(flow, path_gradient=True)
    x = density.rsample((50,))
    expected = fk.FlowDistribution(flow).log_prob(x.detach().clone())
    torch.testing.assert_close(density.log_prob(x), expected, rtol=1e-8, atol=1e-8)


@every_flow
def test_foreign_points_have_the_gradient_of_the_density(name):
    flow, x = large(FLOWS[name]()), points(6, 3)
    density = fk.FlowDistribution(flow, path_gradient=True)
    density.rsample((6,))  # a draw that was not asked about
    got = gradients(density.log_prob(x).sum(), flow)
    expected = gradients(fk.FlowDistribution(flow).log_prob(x).sum(), flow)
    assert_same_gradients(got, expected)


WRAPPED = {
    "expand": (lambda d: d.expand((2,)), ()),
    "expand twice": (lambda d: d.expand((2,)).expand((3, 2)), ()),
    "to_event": (lambda d: d.expand((3,)).to_event(1), (2,)),
    "mask": (lambda d: d.expand((3,)).mask(torch.tensor([True, False, True])), (2,)),
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_wrapped_distributions_keep_path_gradients(wrapper):
    wrap, shape = WRAPPED[wrapper]
    flow = large(FLOWS["maf"]())

    def gradient(log_prob_of, path_gradient):
        pyro.set_rng_seed(5)
        density = wrap(fk.FlowDistribution(flow, path_gradient=path_gradient))
        x = density.rsample(shape)
        return gradients(log_prob_of(density, x).sum(), flow)

    def by_definition(_, x):
        frozen = copy.deepcopy(flow).requires_grad_(False)
        return wrap(fk.FlowDistribution(frozen)).log_prob(x)

    got = gradient(lambda density, x: density.log_prob(x), path_gradient=True)
    assert_same_gradients(got, gradient(by_definition, path_gradient=False), tolerance=1e-8)


@pytest.mark.slow
@every_flow
def test_path_gradients_have_the_mean_of_total_gradients(name):
    flow = large(FLOWS[name](), seed=1)
    differences = []
    for seed in range(300):
        found = []
        for path_gradient in (True, False):
            pyro.set_rng_seed(seed)
            density = fk.FlowDistribution(flow, path_gradient=path_gradient)
            x = density.rsample((30,))
            loss = (density.log_prob(x) - target(x)).mean()
            found.append(torch.cat([g.flatten() for g in gradients(loss, flow).values()]))
        differences.append(found[0] - found[1])
    differences = torch.stack(differences)
    # Of the same draws, so that what both share cancels; masked weights never differ at all.
    moved = differences[:, differences.abs().amax(0) > 1e-9]
    assert moved.shape[1] > 30
    z = moved.mean(0) / (moved.std(0) / len(moved) ** 0.5)
    # One false alarm in a thousand runs, whichever of the weights raises it.
    assert z.abs().max() < torch.distributions.Normal(0, 1).icdf(
        torch.tensor(1 - 1e-3 / (2 * moved.shape[1]), dtype=torch.float64)
    )
