"""The VAE in Pyro: one model and one guide, and the pieces in which the variants differ."""

from itertools import pairwise

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.distributions import constraints

from pyro_flowkit import FlowDistribution, flow_prior, iaf, maf, realnvp, vamp_prior


def network(sizes):
    """Linear layers with SiLU between them; weights start with variance 1 / inputs, biases at 0."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.SiLU()]
        nn.init.normal_(layers[-2].weight, std=inputs**-0.5)
        nn.init.zeros_(layers[-2].bias)
    return nn.Sequential(*layers[:-1])


class Vae(nn.Module):
    """``z ~ prior``, ``x ~ Bernoulli(decoder(z))``, and the encoder that guesses z from x.

    Args:
        variant: a key of `VARIANTS`.
        images: `Images`.
        settings: `Settings`.
    """

    def __init__(self, variant, images, settings):
        super().__init__()
        self.variant = variant
        self.settings = s = settings
        with_flow = variant == "iaf"
        outputs = 2 * s.latents + (s.context if with_flow else 0)
        self.encoder = network((images.pixels, s.hidden, s.hidden, outputs))
        self.decoder = network((s.latents, s.hidden, s.hidden, images.pixels))
        with torch.no_grad():
            self.encoder[-1].weight.mul_(0.1)
            self.decoder[-1].bias.copy_(torch.from_numpy(images.mean_logits))
        options = {"hidden_dims": s.flow_hidden, "activation": "silu", "seed": s.seed}
        self.flow = None
        if variant == "maf":
            self.flow = maf(s.latents, num_layers=s.maf_layers, **options)
        elif variant == "realnvp":
            self.flow = realnvp(s.latents, num_layers=s.realnvp_layers, **options)
        elif with_flow:
            self.flow = iaf(
                s.latents, num_layers=s.iaf_layers, context_dim=s.context, **options
            )  # fmt: skip
        start = torch.from_numpy(images.brightness[: s.pseudo_inputs]).clamp(0.05, 0.95)
        self.register_buffer("pseudo_inputs", start)
        self.register_buffer("zeros", torch.zeros(s.latents))

    def model(self, x):
        """Decode a draw of the prior."""
        pyro.module("decoder", self.decoder)
        prior = self.prior()
        with pyro.plate("images", len(x)):
            z = pyro.sample("z", prior)
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        """Encode."""
        pyro.module("encoder", self.encoder)
        if self.variant == "iaf":
            pyro.module("encoder_flow", self.flow)
        with pyro.plate("images", len(x)):
            pyro.sample("z", self.encode(x))

    def encode(self, x):
        """The posterior q(z | x)."""
        s = self.settings
        raw = self.encoder(2 * x - 1)
        loc, width = raw[..., : s.latents], raw[..., s.latents : 2 * s.latents]
        scale = nn.functional.softplus(width + 0.5) + 1e-3
        normal = dist.Normal(loc, scale).to_event(1)
        if self.variant != "iaf":
            return normal
        # The guide scores only what it has drawn: an IAF does that in one pass. Path gradients
        # leave out the part of the gradient that is noise alone.
        context = raw[..., 2 * s.latents :]
        return FlowDistribution(self.flow, normal, context=context, path_gradient=True)

    def prior(self):
        """What the variants differ in: p(z), which registers its parameters here."""
        if self.variant == "vamp":
            return vamp_prior(
                "z", self.encode, self.pseudo_inputs, learn_weights=True,
                constraint=constraints.unit_interval,
            )  # fmt: skip
        # Flow priors score what the guide has drawn: one pass of a MAF or of a RealNVP.
        if self.variant in ("maf", "realnvp"):
            return flow_prior("z", self.flow)
        return dist.Normal(self.zeros, 1.0).to_event(1)
