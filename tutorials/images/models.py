"""The flows, as specs that either library builds: every one maps noise to images in [0, 1]."""

from math import prod

from flowkit_core import recipes
from flowkit_core.specs import FlattenedSpec
from tutorials.images.data import NUM_CLASSES, SHAPE

NUM_LAYERS = 8  # of RealNVP of vectors
DIM = prod(SHAPE)
ALPHA = 0.05  # of the logit


def spec_of(model, settings):
    """The spec of a model: the flow, a scale for each pixel, and the logit."""
    flow = _flow(model, settings)
    return recipes.compose(
        flow,
        FlattenedSpec(recipes.act_norm(DIM), SHAPE),
        FlattenedSpec(recipes.logit(DIM, alpha=ALPHA), SHAPE),
    )


def _flow(model, settings):
    if model == "realnvp":
        return FlattenedSpec(_as_large_as(_flow("realnvp_image", settings)), SHAPE)
    if model == "realnvp_image":
        width = settings.hidden_channels
        return recipes.realnvp_image(SHAPE, num_scales=2, hidden_channels=width)
    return recipes.glow(
        SHAPE,
        num_scales=2,
        num_steps=settings.num_steps,
        hidden_channels=settings.glow_channels,
        context_dim=NUM_CLASSES if model == "glow_class" else 0,
    )


def _as_large_as(image_flow):
    """RealNVP of vectors whose number of weights is nearest to that of a flow of images."""
    flows = (recipes.realnvp(DIM, num_layers=NUM_LAYERS, hidden_dims=(w, w)) for w in range(1, 300))
    return min(flows, key=lambda flow: abs(flow.num_parameters - image_flow.num_parameters))
