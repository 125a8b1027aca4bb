"""Specs and recipes of flows of images: what they hold, and what they refuse."""

import numpy as np
import pytest

from flowkit_core import masks
from flowkit_core import recipes as r
from flowkit_core.specs import (
    AdditiveLaw,
    AffineLaw,
    ChannelMask,
    CheckerboardMask,
    ComposeSpec,
    Conv1x1Spec,
    ConvNetSpec,
    FlattenedSpec,
    FlowSpec,
    ImageCouplingSpec,
    LULinearSpec,
    OnChannelsSpec,
    PerPixelSpec,
    SqueezedSpec,
)
from flowkit_core.specs.base import MAX_NESTING
from tests.cases import image_coupling


def conv_net(**changes):
    fields = {
        "hidden_dims": (4,),
        "activation": "relu",
        "context_dim": 0,
        "num_inputs": 1,
        "num_outputs": 2,
        "residual": False,
        "weight_norm": False,
    }
    return ConvNetSpec(**{**fields, **changes})


def coupling(**changes):
    fields = {
        "image_shape": (1, 2, 2),
        "mask": CheckerboardMask(),
        "conditioner": conv_net(),
        "law": AffineLaw(),
    }
    return ImageCouplingSpec(**{**fields, **changes})


def pixels(channels=4, height=2, width=2):
    return Conv1x1Spec(LULinearSpec(channels), height, width)


def leaves(spec):
    """The single layers of a spec, and how often the image is squeezed around each."""
    if isinstance(spec, ComposeSpec):
        return [leaf for layer in spec.layers for leaf in leaves(layer)]
    if isinstance(spec, SqueezedSpec | OnChannelsSpec):
        deeper = isinstance(spec, SqueezedSpec)
        return [(layer, depth + deeper) for layer, depth in leaves(spec.inner)]
    return [(spec, 0)]


def test_realnvp_image_has_the_layers_of_figure_4():
    found = leaves(r.realnvp_image((3, 8, 8), num_scales=2))[::-1]  # from data to base
    kinds = [(type(layer.mask), layer.image_shape, depth) for layer, depth in found]
    assert kinds == [
        *[(CheckerboardMask, (3, 8, 8), 0)] * 3,
        *[(ChannelMask, (12, 4, 4), 1)] * 3,
        *[(CheckerboardMask, (6, 4, 4), 1)] * 4,
    ]
    boards = [layer.mask.flip for layer, _ in found if layer.mask.kind == "checkerboard_mask"]
    assert boards == [False, True, False, True, False, True, False]
    halves = [layer.mask.passes for layer, _ in found if layer.mask.kind == "channel_mask"]
    assert halves == [masks.half_mask(12, flip=flip) for flip in (False, True, False)]


def test_glow_has_its_steps_and_a_coupling_of_what_is_factored_out():
    found = leaves(r.glow((1, 4, 4), num_scales=2, num_steps=2))[::-1]
    step = ["per_pixel", "conv1x1", "image_coupling"]
    kinds = [layer.kind for layer, _ in found]
    assert kinds == [*step, *step, "image_coupling", *step, *step]
    assert [depth for _, depth in found] == [1] * 7 + [2] * 6
    assert [layer.event_shape for layer, _ in found] == [(4, 2, 2)] * 7 + [(8, 1, 1)] * 6
    flips = [layer.mask.passes[0] for layer, _ in found if layer.kind == "image_coupling"]
    assert flips == [False, True, True, False, True]
    assert not found[0][0].inner.started
    assert leaves(r.glow((1, 2, 2), num_scales=1, num_steps=1, started=True))[-1][0].inner.started


@pytest.mark.parametrize("recipe", ["realnvp_image", "glow"])
def test_arguments_reach_every_network_and_law(recipe):
    steps = {"num_steps": 1} if recipe == "glow" else {"num_couplings": 1}
    spec = getattr(r, recipe)(
        (1, 4, 4), num_scales=2, hidden_channels=7, num_blocks=2, context_dim=3,
        activation="elu", weight_norm=False, law="additive", **steps,
    )  # fmt: skip
    couplings = [layer for layer, _ in leaves(spec) if layer.kind == "image_coupling"]
    assert len(couplings) >= 3
    for layer in couplings:
        net = layer.conditioner
        assert (net.hidden_dims, net.activation, net.context_dim) == ((7, 7), "elu", 3)
        assert (net.residual, net.weight_norm, layer.law) == (True, False, AdditiveLaw())
    assert spec.context_dim == 3
    assert spec.event_shape == (1, 4, 4)
    assert spec.input_dim == 16


@pytest.mark.parametrize("shape", [(1, 1, 2), (3, 5, 7), (2, 3, 3)])
def test_one_scale_takes_any_size(shape):
    assert r.realnvp_image(shape, num_scales=1).event_shape == shape


def test_checkerboards_alternate_whatever_the_size():
    for height, width, flip in ((1, 1, False), (2, 3, True), (4, 5, False)):
        board = masks.checkerboard_mask(height, width, flip=flip)
        for i, j in np.ndindex(height, width):
            assert board[i, j] == (((i + j) % 2 == 0) != flip)


def test_every_layer_of_images_survives_json_and_prints():
    inner = r.realnvp(4, num_layers=1, hidden_dims=(3,))
    for spec in (
        coupling(),
        SqueezedSpec(pixels()),
        OnChannelsSpec(pixels(), 6),
        PerPixelSpec(inner, 2, 2),
        FlattenedSpec(inner, (1, 2, 2)),
        pixels(),
    ):
        twin = FlowSpec.from_json(spec.to_json())
        assert twin == spec
        assert hash(twin) == hash(spec)
        assert str(twin) == str(spec)
        assert str(spec.event_shape) in str(spec)
        assert spec.input_dim == np.prod(spec.event_shape)


def test_a_coupling_prints_what_sets_it_apart():
    assert str(image_coupling((2, 2, 2), ChannelMask((True, False)), context_dim=3)) == (
        "ImageCoupling(image_shape=(2, 2, 2), hidden_dims=(5,), law=affine, mask=channels 10, "
        "context_dim=3)"
    )


def nested(depth):
    spec = pixels(4, 1, 1)
    for _ in range(depth - spec.nesting):
        spec = OnChannelsSpec(spec, spec.event_shape[0] + 1)
    return spec


def test_nesting_is_bounded_as_that_of_compositions():
    assert nested(MAX_NESTING).nesting == MAX_NESTING
    with pytest.raises(ValueError, match=f"at most {MAX_NESTING} deep, got {MAX_NESTING + 1}"):
        nested(MAX_NESTING + 1)


REFUSED = {
    "no image": (lambda: r.realnvp_image(8, num_scales=1), TypeError, "a sequence, got 8"),
    "two extents": (lambda: r.realnvp_image((8, 8), num_scales=1), ValueError, "channels, height"),
    "no rows": (lambda: r.glow((1, 0, 4), num_scales=1, num_steps=1), ValueError, ">= 1, got 0"),
    "odd": (
        lambda: r.glow((1, 6, 8), num_scales=2, num_steps=1), ValueError,
        r"num_scales=2 halves height and width 2 times, so expected both divisible by 4, got .*"
        r"\(1, 6, 8\)",
    ),
    "odd realnvp": (
        lambda: r.realnvp_image((3, 8, 7), num_scales=2), ValueError, r"divisible by 2, got .*8, 7"
    ),
    "no scale": (lambda: r.realnvp_image((1, 4, 4), num_scales=0), ValueError, "num_scales: .* 0"),
    "scale text": (lambda: r.realnvp_image((1, 4, 4), num_scales="2"), TypeError, "num_scales"),
    "no step": (lambda: r.glow((1, 2, 2), num_scales=1, num_steps=0), ValueError, "num_steps"),
    "no coupling": (
        lambda: r.realnvp_image((1, 2, 2), num_scales=1, num_couplings=0), ValueError, "num_coup"
    ),
    "no block": (
        lambda: r.realnvp_image((1, 2, 2), num_scales=1, num_blocks=0), ValueError, "num_blocks"
    ),
    "law": (lambda: r.glow((1, 2, 2), num_scales=1, num_steps=1, law="x"), ValueError, "'x'"),
    "seed": (lambda: r.realnvp_image((1, 2, 2), num_scales=1, seed=-1), ValueError, "seed"),
    "one pixel": (lambda: coupling(image_shape=(1, 1, 1)), ValueError, "one pixel .* nothing"),
    "mask of another image": (
        lambda: image_coupling((3, 2, 2), ChannelMask((True, False))), ValueError,
        "expected 3 entries, one per channel .*got 2",
    ),
    "mask of one channel": (lambda: ChannelMask((True,)), ValueError, "two channels .*squeezed"),
    "mask all True": (lambda: ChannelMask((True, True)), ValueError, "both True and False"),
    "flip": (lambda: CheckerboardMask(flip=1), TypeError, "True or False, got 1"),
    "network too small": (
        lambda: coupling(law=AdditiveLaw()), ValueError, r"=\(1, 1\), got \(1, 2\)"
    ),
    "residual widths": (
        lambda: conv_net(residual=True, hidden_dims=(3, 4)), ValueError, "equal widths"
    ),
    "weight norm": (lambda: conv_net(weight_norm="yes"), TypeError, "weight_norm"),
    "squeezed 6": (lambda: SqueezedSpec(pixels(6)), ValueError, "divisible by 4, got images"),
    "squeezed vector": (lambda: SqueezedSpec(LULinearSpec(4)), ValueError, r"images .*\(4,\)"),
    "no channel passes": (lambda: OnChannelsSpec(pixels(4), 4), ValueError, "more than .* 4"),
    "pixels of images": (lambda: PerPixelSpec(pixels(), 2, 2), ValueError, "flow of vectors"),
    "convolution of no matrix": (
        lambda: Conv1x1Spec(r.realnvp(4), 2, 2), TypeError, "LinearSpec, got ComposeSpec"
    ),
    "flattened size": (
        lambda: FlattenedSpec(LULinearSpec(5), (1, 2, 2)), ValueError, "vectors of 4 numbers"
    ),
    "an interval in a part": (
        lambda: OnChannelsSpec(PerPixelSpec(r.logit(1), 2, 2), 2), ValueError, "all real numbers"
    ),
    "composed with vectors": (
        lambda: ComposeSpec((pixels(), LULinearSpec(16))), ValueError, "equal event shapes"
    ),
    "composed with another size": (
        lambda: ComposeSpec((pixels(), pixels(4, 1, 4))), ValueError, "equal event shapes"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_nonsense_is_refused_with_the_reason(name):
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        make()
