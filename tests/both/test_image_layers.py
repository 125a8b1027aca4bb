"""Layers of images beside slow and obvious computations of the same, in both wings."""

import numpy as np
import pytest

from flowkit_core import recipes as r
from flowkit_core.specs import (
    ACTIVATIONS,
    ChannelMask,
    CheckerboardMask,
    Conv1x1Spec,
    ConvNetSpec,
    FlattenedSpec,
    LULinearSpec,
    OnChannelsSpec,
    PerPixelSpec,
    SqueezedSpec,
)
from tests.cases import arrays_for, image_coupling, points_for
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())
BATCH = (2, 3)


def built(wing, spec):
    return wing.build(spec, arrays_for(spec))


def conv_net(**changes):
    fields = {
        "hidden_dims": (4, 4),
        "activation": "tanh",
        "context_dim": 2,
        "num_inputs": 2,
        "num_outputs": 3,
        "residual": True,
        "weight_norm": True,
    }
    return ConvNetSpec(**{**fields, **changes})


def correlated(image, kernels, bias):
    """Each output pixel is a sum over its neighbours, zeros beyond the border."""
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    out = np.empty((len(kernels), height, width))
    for o, i, j in np.ndindex(out.shape):
        out[o, i, j] = (kernels[o] * padded[:, i : i + 3, j : j + 3]).sum() + bias[o]
    return out


def by_hand(spec, arrays, image, context):
    """A convolutional network, one convolution at a time."""

    def layer(index, values):
        kernels = arrays[f"weight_{index}"]
        if f"gain_{index}" in arrays:
            length = np.sqrt((kernels**2).sum((1, 2, 3), keepdims=True) * 3)
            kernels = np.exp(arrays[f"gain_{index}"])[:, None, None, None] * kernels / length
        return correlated(values, kernels, arrays[f"bias_{index}"])

    values = layer(0, image)
    if context is not None:
        values = values + (arrays["context_weight"] @ context)[:, None, None]
    last = len(spec.layer_sizes()) - 1
    if not spec.residual:
        for index in range(1, last + 1):
            values = layer(index, np.tanh(values))
        return values
    for index in range(1, last, 2):
        values = values + layer(index + 1, np.tanh(layer(index, np.tanh(values))))
    return layer(last, np.tanh(values))


@pytest.mark.parametrize(
    "changes",
    [{}, {"residual": False, "weight_norm": False, "hidden_dims": (4, 3), "context_dim": 0}],
    ids=["residual", "plain"],
)
def test_a_network_is_its_convolutions_one_at_a_time(changes):
    spec = conv_net(**changes)
    arrays = arrays_for(spec)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(*BATCH, 2, 3, 4))
    contexts = rng.normal(size=(*BATCH, 2)) if spec.context_dim else None
    expected = np.empty((*BATCH, 3, 3, 4))
    for index in np.ndindex(BATCH):
        given = None if contexts is None else contexts[index]
        expected[index] = by_hand(spec, arrays, images[index], given)
    for wing in WINGS.values():
        conditioners = __import__(f"{wing.package.__name__}.conditioners", fromlist=["ConvNet"])
        net = conditioners.ConvNet(spec, {k: wing.array(v) for k, v in arrays.items()})
        got = wing.numpy(net(wing.array(images), wing.array(contexts)))
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


def test_weight_norm_starts_with_kernels_as_long_as_without_it():
    drawn = np.random.default_rng(0).uniform(-1, 1, size=(100, 4, 3, 3)) / np.sqrt(36)
    lengths = np.sqrt((drawn**2).sum((1, 2, 3)))
    np.testing.assert_allclose(lengths.mean(), 1 / np.sqrt(3), rtol=0.02)


@every_wing
def test_squeezing_makes_channels_of_each_block_pixel_by_pixel(wing):
    inner = PerPixelSpec(r.permute(8, order=(7, 0, 1, 2, 3, 4, 5, 6)), 2, 3)
    spec = SqueezedSpec(inner)
    assert spec.event_shape == (2, 4, 6)
    z = np.random.default_rng(0).normal(size=(*BATCH, 2, 4, 6))
    x, log_det = wing.call(built(wing, spec), "forward_and_log_det", z, None)
    expected = np.empty_like(z)
    for c, i, j in np.ndindex(2, 4, 6):
        squeezed = (2 * (i % 2) + j % 2) * 2 + c
        source = (squeezed - 1) % 8  # where the inner flow has it from
        pixel, channel = divmod(source, 2)
        row, column = 2 * (i // 2) + pixel // 2, 2 * (j // 2) + pixel % 2
        expected[..., c, i, j] = z[..., channel, row, column]
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(log_det, np.zeros(BATCH))


@every_wing
def test_what_is_factored_out_passes_and_the_rest_is_the_inner_flow(wing):
    spec = OnChannelsSpec(Conv1x1Spec(LULinearSpec(2), 3, 2), 5)
    inner = wing.build(spec.inner, {k[6:]: v for k, v in arrays_for(spec).items()})
    z = np.random.default_rng(0).normal(size=(*BATCH, 5, 3, 2))
    x, log_det = wing.call(built(wing, spec), "forward_and_log_det", z, None)
    first, inner_log_det = wing.call(inner, "forward_and_log_det", z[..., :2, :, :], None)
    np.testing.assert_array_equal(x[..., 2:, :, :], z[..., 2:, :, :])
    np.testing.assert_array_equal(x[..., :2, :, :], first)
    np.testing.assert_array_equal(log_det, inner_log_det)


@every_wing
@pytest.mark.parametrize("method", ["forward_and_log_det", "inverse_and_log_det"])
def test_a_1x1_convolution_is_its_linear_layer_at_each_pixel(wing, method):
    fast, plain = (kind(LULinearSpec(4), 2, 3) for kind in (Conv1x1Spec, PerPixelSpec))
    points, _ = points_for(fast, BATCH)
    for got, expected in zip(
        wing.call(built(wing, fast), method, points, None),
        wing.call(built(wing, plain), method, points, None),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@every_wing
def test_a_flow_of_pixels_and_one_of_whole_images_are_their_inner_flows(wing):
    rng = np.random.default_rng(0)
    per_pixel = PerPixelSpec(r.realnvp(2, num_layers=2, hidden_dims=(5,), context_dim=3), 2, 3)
    flat = FlattenedSpec(per_pixel.inner, (1, 2, 1))
    vectors = wing.build(per_pixel.inner, {k[6:]: v for k, v in arrays_for(per_pixel).items()})
    z, context = rng.normal(size=(*BATCH, 2, 2, 3)), rng.normal(size=(*BATCH, 3))
    at_pixels = np.broadcast_to(context[:, :, None, None], (*BATCH, 2, 3, 3))
    rows, log_dets = wing.call(
        vectors, "forward_and_log_det", np.moveaxis(z, -3, -1).copy(), at_pixels
    )
    x, log_det = wing.call(built(wing, per_pixel), "forward_and_log_det", z, context)
    np.testing.assert_allclose(x, np.moveaxis(rows, -1, -3), rtol=1e-12)
    np.testing.assert_allclose(log_det, log_dets.sum((-2, -1)), rtol=1e-12)
    whole = z[..., :1].reshape(*BATCH, 4)[..., :2].reshape(*BATCH, 1, 2, 1)
    x, log_det = wing.call(built(wing, flat), "forward_and_log_det", whole, context)
    row, of_row = wing.call(vectors, "forward_and_log_det", whole.reshape(*BATCH, 2), context)
    np.testing.assert_array_equal(x.reshape(*BATCH, 2), row)
    np.testing.assert_array_equal(log_det, of_row)


MASKS = {
    "checkerboard": CheckerboardMask(),
    "flipped": CheckerboardMask(flip=True),
    "channels": ChannelMask((False, True, True, False)),
}


def passing(mask, image_shape):
    """Which numbers of an image pass through, one by one."""
    passes = np.empty(image_shape, bool)
    for c, i, j in np.ndindex(image_shape):
        if isinstance(mask, ChannelMask):
            passes[c, i, j] = mask.passes[c]
        else:
            passes[c, i, j] = ((i + j) % 2 == 0) != mask.flip
    return passes


@every_wing
@pytest.mark.parametrize("name", MASKS)
def test_a_coupling_moves_what_its_mask_says_by_what_passes(wing, name):
    spec = image_coupling((4, 3, 5), MASKS[name])
    passes = passing(spec.mask, spec.image_shape)
    flow = built(wing, spec)
    z, _ = points_for(spec, (8,))
    x, log_det = wing.call(flow, "forward_and_log_det", z, None)
    np.testing.assert_array_equal(x[:, passes], z[:, passes])
    assert np.abs(x - z)[:, ~passes].min(0).max() > 0.1
    # Affine in what is moved, with a scale that what is moved has no part in.
    other = np.where(passes, z, z + 1)
    further, same_log_det = wing.call(flow, "forward_and_log_det", other, None)
    slopes = (further - x)[:, ~passes]
    np.testing.assert_allclose(np.log(slopes).sum(1), log_det, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(same_log_det, log_det, rtol=1e-12, atol=1e-12)
    # And each number that passes matters to something.
    moved = np.where(passes, z + 1, z)
    changed, _ = wing.call(flow, "forward_and_log_det", moved, None)
    assert np.abs(changed - x)[:, ~passes].max() > 0.1


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_known_to_a_network_of_images(activation):
    assert conv_net(activation=activation).activation == activation
