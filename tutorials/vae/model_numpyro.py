"""The VAE in NumPyro: one model and one guide, and the pieces in which the variants differ."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import nn
from numpyro.distributions import constraints

from numpyro_flowkit import FlowDistribution, flow_prior, iaf, maf, realnvp, vamp_prior
from tutorials.vae import networks_numpyro as networks


class Vae:
    """``z ~ prior``, ``x ~ Bernoulli(decoder(z))``, and the encoder that guesses z from x.

    Args:
        variant: a key of `VARIANTS`.
        images: `Images`.
        settings: `Settings`.
    """

    def __init__(self, variant, images, settings):
        self.variant = variant
        self.settings = settings
        self._images = images

    def model(self, x):
        """Decode a draw of the prior."""
        decoder = self._decoder()
        prior = self.prior()
        with numpyro.plate("images", len(x)):
            z = numpyro.sample("z", prior)
            likelihood = dist.Bernoulli(logits=networks.apply(decoder, z)).to_event(1)
            numpyro.sample("x", likelihood, obs=x)

    def guide(self, x):
        """Encode."""
        encode = self.encoder()
        with numpyro.plate("images", len(x)):
            numpyro.sample("z", encode(x))

    def encoder(self):
        """The function from images to q(z | x); model and guide register it under one name."""
        s = self.settings
        with_flow = self.variant == "iaf"
        outputs = 2 * s.latents + (s.context if with_flow else 0)
        sizes = (self._images.pixels, s.hidden, s.hidden, outputs)
        weights = numpyro.param("encoder", networks.start(sizes, last_scale=0.1))
        flow = None
        if with_flow:
            recipe = iaf(
                s.latents, num_layers=s.iaf_layers, hidden_dims=s.flow_hidden,
                context_dim=s.context, activation="silu",
            )  # fmt: skip
            flow = numpyro.param("encoder_flow", recipe)

        def encode(x):
            raw = networks.apply(weights, 2 * x - 1)
            loc, width = raw[..., : s.latents], raw[..., s.latents : 2 * s.latents]
            normal = dist.Normal(loc, nn.softplus(width + 0.5) + 1e-3).to_event(1)
            if flow is None:
                return normal
            # The guide scores only what it has drawn: an IAF does that in one pass. Path gradients
            # leave out the part of the gradient that is noise alone.
            context = raw[..., 2 * s.latents :]
            return FlowDistribution(flow, normal, context=context, path_gradient=True)

        return encode

    def prior(self):
        """What the variants differ in: p(z), which registers its parameters here."""
        s = self.settings
        if self.variant == "vamp":
            start = jnp.clip(self._images.brightness[: s.pseudo_inputs], 0.05, 0.95)
            return vamp_prior(
                "z", self.encoder(), start, learn_weights=True,
                constraint=constraints.unit_interval,
            )  # fmt: skip
        # Flow priors score what the guide has drawn: one pass of a MAF or of a RealNVP.
        options = {"hidden_dims": s.flow_hidden, "activation": "silu"}
        if self.variant == "maf":
            return flow_prior("z", maf(s.latents, num_layers=s.maf_layers, **options))
        if self.variant == "realnvp":
            return flow_prior("z", realnvp(s.latents, num_layers=s.realnvp_layers, **options))
        return dist.Normal(jnp.zeros(s.latents), 1.0).to_event(1)

    def _decoder(self):
        s = self.settings
        sizes = (s.latents, s.hidden, s.hidden, self._images.pixels)
        return numpyro.param("decoder", networks.start(sizes, self._images.mean_logits))

    def decode(self, params, z):
        """Brightness of every pixel, given latents."""
        return nn.sigmoid(networks.apply(params["decoder"], z))
