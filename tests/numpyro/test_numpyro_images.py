"""Flows of images inside NumPyro: likelihoods under a plate, priors, fits, own networks."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from jax.tree_util import Partial
from numpyro import handlers
from numpyro.infer import SVI, Trace_ELBO

import numpyro_flowkit as fk
from flowkit_core import recipes as r
from flowkit_core.specs import CheckerboardMask, FlattenedSpec
from numpyro_flowkit.conditioners.conv_net import by_convolution, by_neighbourhoods
from numpyro_flowkit.laws import Affine
from numpyro_flowkit.transforms import (
    Compose,
    Flattened,
    ImageCoupling,
    OnChannels,
    PerPixel,
    Squeezed,
)

SHAPE = (1, 4, 4)
KEY = jax.random.key(0)


def small(**changes):
    return fk.realnvp_image(
        SHAPE, **{"num_scales": 1, "num_couplings": 1, "hidden_channels": 3, **changes}
    )


def images(count, seed=0):
    """Noise that is smooth in one direction, so that there is something to learn."""
    return jax.random.normal(jax.random.key(seed), (count, *SHAPE)).cumsum(-1)


def test_a_flow_of_images_is_a_native_transform_of_images():
    flow = small(context_dim=2)(KEY)
    assert flow.event_shape == SHAPE
    assert flow.domain.event_dim == flow.codomain.event_dim == 3
    assert flow.forward_shape((5, *SHAPE)) == (5, *SHAPE)
    conditioned = flow.condition(jnp.ones((5, 2)))
    assert conditioned.domain.event_dim == 3
    assert conditioned.inverse_shape((7, 1, *SHAPE)) == (7, 5, *SHAPE)
    density = fk.FlowDistribution(flow, context=jnp.ones((5, 2)))
    assert (density.batch_shape, density.event_shape) == ((5,), SHAPE)
    assert density.log_prob(density.sample(KEY)).shape == (5,)
    assert fk.FlowDistribution(small()(KEY)).log_prob(jnp.zeros((0, *SHAPE))).shape == (0,)


@pytest.mark.slow
def test_a_batch_of_flows_maps_each_image_by_its_own():
    keys = jax.random.split(KEY, 3)
    flows = jax.tree.map(lambda leaf: leaf + 0.3, jax.vmap(small(context_dim=2))(keys))
    assert flows.batch_shape == (3,)
    z, context = images(3)[None].repeat(2, 0), jnp.ones((3, 2))
    x, log_det = flows.forward_and_log_det(z, context)
    assert (x.shape, log_det.shape) == ((2, 3, *SHAPE), (2, 3))
    one = jax.tree.map(lambda leaf: leaf[1], flows)
    alone, alone_log_det = one.forward_and_log_det(z[:, 1], context[1])
    np.testing.assert_allclose(x[:, 1], alone, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_det[:, 1], alone_log_det, rtol=1e-5, atol=1e-5)


def test_the_likelihood_of_observed_images_under_a_plate():
    data, labels = images(6), jnp.eye(2)[jnp.arange(6) % 2]

    def model(data):
        flow = numpyro.param("flow", small(context_dim=2))
        with numpyro.plate("data", len(data)):
            numpyro.sample("x", fk.FlowDistribution(flow, context=labels), obs=data)

    site = handlers.trace(handlers.seed(model, 0)).get_trace(data)["x"]
    assert site["fn"].event_dim == 3
    svi = SVI(model, lambda data: None, optax.adam(0.01), Trace_ELBO())
    result = svi.run(KEY, 30, data, progress_bar=False)
    assert result.losses[-1] < result.losses[0]
    fitted = fk.FlowDistribution(result.params["flow"], context=labels)
    loss = svi.evaluate(result.state, data)
    np.testing.assert_allclose(loss, -fitted.log_prob(data).sum(), rtol=1e-5)


def test_a_prior_over_images():
    noisy = images(3)

    def model(noisy):
        with numpyro.plate("data", len(noisy)):
            x = numpyro.sample("x", fk.flow_prior("x", small()))
            numpyro.sample("y", dist.Normal(x, 0.5).to_event(3), obs=noisy)

    def guide(noisy):
        loc = numpyro.param("loc", jnp.zeros((len(noisy), *SHAPE)))
        with numpyro.plate("data", len(noisy)):
            numpyro.sample("x", dist.Normal(loc, 0.5).to_event(3))

    result = SVI(model, guide, optax.adam(0.05), Trace_ELBO()).run(
        KEY, 40, noisy, progress_bar=False
    )
    assert result.losses[-10:].mean() < result.losses[:10].mean()


def test_a_base_may_have_single_numbers_for_events_in_a_fit_of_images():
    data, losses = images(40), []
    for base in (None, dist.Normal(jnp.zeros(SHAPE), 1.0)):
        flow = fk.realnvp_image(SHAPE, num_scales=1, num_couplings=1, hidden_channels=3)
        result = fk.fit_density(flow, data, base=base, num_epochs=2, batch_size=20, progress=False)
        losses.append((*result.train_losses, *result.validation_losses))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_fit_density_takes_images_and_starts_glow():
    data = images(80)
    flow = fk.glow(SHAPE, num_scales=1, num_steps=1, hidden_channels=4)
    with pytest.raises(ValueError, match="ActNorm: used before its first batch"):
        flow(KEY).inv(data)
    result = fk.fit_density(
        flow, data, num_epochs=15, batch_size=40, learning_rate=0.01, progress=False
    )
    assert result.flow.spec == r.glow(
        SHAPE, num_scales=1, num_steps=1, hidden_channels=4, started=True
    )
    assert result.train_losses[-1] < result.train_losses[0]
    with pytest.raises(ValueError, match=r"shape \(n, 1, 4, 4\), got .*; images are \(n, channels"):
        fk.fit_density(flow, jnp.moveaxis(data, 1, -1), progress=False)
    with pytest.raises(ValueError, match=r"row.* 3"):
        fk.fit_density(flow, data.at[3, 0, 2, 1].set(jnp.nan), progress=False)


@pytest.mark.slow
def test_logits_of_pixels_end_a_flow_of_images():
    spec = r.compose(
        r.realnvp_image(SHAPE, num_scales=1, num_couplings=1, hidden_channels=3),
        FlattenedSpec(r.logit(16), SHAPE),
    )
    density = fk.FlowDistribution(fk.FlowInit(spec)(KEY))
    x = density.sample(KEY, (5,))
    assert density.support.event_dim == 3
    assert density.support(x).all()
    assert not density.support(x + 2).any()
    vectors = fk.FlowDistribution(fk.logit(16)(KEY))
    np.testing.assert_allclose(
        density.log_prob(x), vectors.log_prob(x.reshape(5, 16)), rtol=1e-5, atol=1e-4
    )


def own_network(kernel, inputs, context=None):
    """From whole images to a shift and a raw log-scale of each pixel."""
    padded = jnp.pad(inputs, [(0, 0)] * (inputs.ndim - 1) + [(1, 1)])
    mean = padded[..., :-2] + padded[..., 2:]
    return jnp.concatenate([kernel[0] * mean, kernel[1] * mean], -3)


def test_a_network_of_the_users_works_in_every_layer():
    net = Partial(own_network, jnp.array([0.5, 0.3]))
    coupling = ImageCoupling(SHAPE, CheckerboardMask(), net, Affine())
    squeezed = Squeezed(OnChannels(PerPixel(fk.lu_linear(3)(KEY), 2, 2), 4))
    flow = Compose([squeezed, coupling])
    assert flow.spec is None
    z = images(5)
    x, log_det = flow.forward_and_log_det(z)
    back, inverse_log_det = flow.inverse_and_log_det(x)
    np.testing.assert_allclose(back, z, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-4, atol=1e-4)
    assert "no spec" in repr(flow)


def test_both_ways_to_convolve_give_the_same():
    rng = np.random.default_rng(0)
    pictures, kernels = rng.normal(size=(2, 5, 3, 4, 2)), rng.normal(size=(6, 2, 3, 3))
    found = by_neighbourhoods(jnp.asarray(pictures), jnp.asarray(kernels))
    expected = by_convolution(jnp.asarray(pictures), jnp.asarray(kernels))
    assert found.shape == (2, 5, 3, 4, 6)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (2, 4, 4), (5, 1, 4, 3)], ids=str)
def test_wrong_shapes_are_refused_with_the_order_of_axes(shape):
    with pytest.raises(ValueError, match=r"\(\.\.\., 1, 4, 4\), got .*channels, height, width"):
        small()(KEY)(jnp.zeros(shape))


REFUSED = {
    "inner of vectors": (lambda: Squeezed(fk.lu_linear(4)(KEY)), r"images .*shape \(4,\)"),
    "inner of images": (lambda: PerPixel(small()(KEY), 2, 2), r"flow of vectors, got .*1, 4, 4"),
    "channels": (lambda: Squeezed(small()(KEY)), "divisible by 4"),
    "no channel left": (lambda: OnChannels(small()(KEY), 1), "more than the inner flow's 1, got 1"),
    "size": (lambda: Flattened(fk.lu_linear(4)(KEY), SHAPE), "vectors of 16 numbers"),
    "vectors and images": (
        lambda: fk.compose(small()(KEY), fk.lu_linear(16)(KEY)),
        r"equal event shape, got .*\(16,\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_refuse_what_does_not_fit(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make()
