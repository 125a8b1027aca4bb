"""Flows of images inside Pyro: likelihoods under a plate, priors, fits, own networks, bad input."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch import nn

import pyro_flowkit as fk
from flowkit_core import recipes as r
from flowkit_core.specs import CheckerboardMask, FlattenedSpec
from pyro_flowkit.laws import Affine
from pyro_flowkit.transforms import (
    Compose,
    Flattened,
    ImageCoupling,
    OnChannels,
    PerPixel,
    Squeezed,
)
from tests.cases import CASES, arrays_for, points_for
from tests.wings import WINGS

SHAPE = (1, 4, 4)


def small(**changes):
    return fk.realnvp_image(
        SHAPE, **{"num_scales": 1, "num_couplings": 1, "hidden_channels": 3, **changes}
    )


def images(count, seed=0):
    """Noise that is smooth in one direction, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *SHAPE, generator=generator).cumsum(-1)


def test_a_flow_of_images_is_a_native_transform_of_images():
    flow = small(context_dim=2)
    assert flow.event_shape == SHAPE
    assert flow.domain.event_dim == flow.codomain.event_dim == 3
    assert flow.forward_shape(torch.Size((5, *SHAPE))) == (5, *SHAPE)
    conditioned = flow.condition(torch.ones(5, 2))
    assert conditioned.domain.event_dim == 3
    assert conditioned.inverse_shape(torch.Size((7, 1, *SHAPE))) == (7, 5, *SHAPE)
    density = fk.FlowDistribution(flow, context=torch.ones(5, 2))
    assert (density.batch_shape, density.event_shape) == ((5,), SHAPE)
    assert density.log_prob(density.sample()).shape == (5,)
    assert fk.FlowDistribution(small()).log_prob(torch.zeros(0, *SHAPE)).shape == (0,)


@pytest.mark.parametrize("path_gradient", [False, True])
def test_single_numbers_as_a_base_are_images(path_gradient):
    flow = WINGS["pyro"].build(CASES["glow_context"], arrays_for(CASES["glow_context"]))
    context = torch.ones(2, dtype=torch.float64)
    zeros = torch.zeros(SHAPE, dtype=torch.float64)
    single = fk.FlowDistribution(
        flow, dist.Normal(zeros, zeros + 1), context=context, path_gradient=path_gradient
    )
    x = single.rsample()
    expected = fk.FlowDistribution(flow, context=context).log_prob(x)
    torch.testing.assert_close(single.log_prob(x), expected)


def test_the_likelihood_of_observed_images_under_a_plate():
    flow, data = small(context_dim=2), images(6)
    labels = torch.eye(2)[torch.arange(6) % 2]

    def model(data):
        pyro.module("flow", flow)
        with pyro.plate("data", len(data), subsample_size=4) as rows:
            pyro.sample("x", fk.FlowDistribution(flow, context=labels[rows]), obs=data[rows])

    trace = poutine.trace(model).get_trace(data)
    assert trace.nodes["x"]["fn"].event_dim == 3
    site = trace.nodes["x"]
    rows = trace.nodes["data"]["value"]
    expected = fk.FlowDistribution(flow, context=labels[rows]).log_prob(data[rows]).sum() * 6 / 4
    torch.testing.assert_close(site["fn"].log_prob(site["value"]).sum() * 6 / 4, expected)
    svi = SVI(model, lambda data: None, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    first = svi.step(data)
    losses = [svi.step(data) for _ in range(30)]
    assert np.mean(losses[-10:]) < first


def test_a_prior_over_images():
    flow, noisy = small(), images(3)

    def model(noisy):
        with pyro.plate("data", len(noisy)):
            x = pyro.sample("x", fk.flow_prior("x", flow))
            pyro.sample("y", dist.Normal(x, 0.5).to_event(3), obs=noisy)

    def guide(noisy):
        loc = pyro.param("loc", torch.zeros(len(noisy), *SHAPE))
        with pyro.plate("data", len(noisy)):
            pyro.sample("x", dist.Normal(loc, 0.5).to_event(3))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    losses = [svi.step(noisy) for _ in range(40)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_a_base_may_have_single_numbers_for_events_in_a_fit_of_images():
    data, losses = images(40), []
    for base in (None, dist.Normal(torch.zeros(SHAPE), 1.0)):
        flow = fk.realnvp_image(SHAPE, num_scales=1, num_couplings=1, hidden_channels=3)
        result = fk.fit_density(flow, data, base=base, num_epochs=2, batch_size=20, progress=False)
        losses.append((*result.train_losses, *result.validation_losses))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_fit_density_takes_images_and_starts_glow():
    data = images(80)
    flow = fk.glow(SHAPE, num_scales=1, num_steps=1, hidden_channels=4)
    with pytest.raises(ValueError, match="ActNorm: used before its first batch"):
        flow.inv(data)
    result = fk.fit_density(
        flow, data, num_epochs=15, batch_size=40, learning_rate=0.01, progress=False
    )
    assert not flow.awaits_data
    assert result.flow.spec == r.glow(
        SHAPE, num_scales=1, num_steps=1, hidden_channels=4, started=True
    )
    assert result.train_losses[-1] < result.train_losses[0]
    with pytest.raises(ValueError, match=r"shape \(n, 1, 4, 4\), got .*; images are \(n, channels"):
        fk.fit_density(flow, data.movedim(1, -1), progress=False)
    data[3, 0, 2, 1] = torch.nan
    with pytest.raises(ValueError, match=r"row.* 3"):
        fk.fit_density(flow, data, progress=False)


def test_logits_of_pixels_end_a_flow_of_images():
    spec = r.compose(
        r.realnvp_image(SHAPE, num_scales=1, num_couplings=1, hidden_channels=3),
        FlattenedSpec(r.logit(16), SHAPE),
    )
    flow = fk.build(spec, seed=0)
    density = fk.FlowDistribution(flow)
    x = density.sample((5,))
    assert density.support.event_dim == 3
    assert density.support.check(x).all()
    assert not density.support.check(x + 2).any()
    vectors = fk.FlowDistribution(fk.logit(16))
    torch.testing.assert_close(density.log_prob(x), vectors.log_prob(x.flatten(1)))
    with pytest.raises(ValueError, match="data side is an interval"):
        r.compose(*reversed(spec.layers))


class OwnNetwork(nn.Module):
    """From whole images to a shift and a raw log-scale of each pixel."""

    def __init__(self, outputs=2):
        super().__init__()
        self.conv = nn.Conv2d(1, outputs, 3, padding=1)

    def forward(self, inputs, context=None):
        return self.conv(inputs)


def test_a_network_of_the_users_works_in_every_layer():
    coupling = ImageCoupling(SHAPE, CheckerboardMask(), OwnNetwork(), Affine())
    squeezed = Squeezed(OnChannels(PerPixel(fk.lu_linear(3), 2, 2), 4))
    flow = Compose([squeezed, coupling])
    assert flow.spec is None
    z = images(5)
    x, log_det = flow.forward_and_log_det(z)
    back, inverse_log_det = flow.inverse_and_log_det(x)
    torch.testing.assert_close(back, z, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=1e-4, atol=1e-4)
    assert "no spec" in repr(flow)
    with pytest.raises(ValueError, match=r"expected 2 \* 1 = 2 outputs, got 3"):
        ImageCoupling(SHAPE, CheckerboardMask(), OwnNetwork(3), Affine())(z)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (2, 4, 4), (5, 1, 4, 3)], ids=str)
def test_wrong_shapes_are_refused_with_the_order_of_axes(shape):
    with pytest.raises(ValueError, match=r"\(\.\.\., 1, 4, 4\), got .*channels, height, width"):
        small()(torch.zeros(shape))


REFUSED = {
    "inner of vectors": (lambda: Squeezed(fk.lu_linear(4)), r"images .*shape \(4,\)"),
    "inner of images": (lambda: PerPixel(small(), 2, 2), r"flow of vectors, got .*1, 4, 4"),
    "channels": (lambda: Squeezed(small()), "divisible by 4"),
    "no channel left": (lambda: OnChannels(small(), 1), "more than the inner flow's 1, got 1"),
    "size": (lambda: Flattened(fk.lu_linear(4), SHAPE), "vectors of 16 numbers"),
    "vectors and images": (
        lambda: fk.compose(small(), fk.lu_linear(16)), r"equal event shape, got .*\(16,\)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_layers_refuse_what_does_not_fit(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.slow
def test_a_flow_of_images_compiles():
    spec = CASES["realnvp_image"]
    flow = WINGS["pyro"].build(spec, arrays_for(spec, dtype=np.float32))
    z = torch.from_numpy(points_for(spec, dtype=np.float32)[0])
    compiled = torch.compile(flow.forward_and_log_det, fullgraph=True)
    for got, expected in zip(compiled(z), flow.forward_and_log_det(z), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
