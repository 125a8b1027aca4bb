"""How large the VAEs are and how they are trained, the same in both libraries."""

from dataclasses import dataclass

from flowkit_core.warmup import kl_warmup

# What stands in the tables and the pictures, in their order. The first is what others are held to.
VARIANTS = {
    "standard": "standard Normal prior",
    "vamp": "VampPrior",
    "maf": "MAF prior",
    "realnvp": "RealNVP prior",
    "iaf": "IAF posterior",
}
FLOW_PRIORS = ("maf", "realnvp")


@dataclass(frozen=True)
class Settings:
    """Everything that can be chosen.

    Args:
        latents: dimension of z.
        hidden: width of the two hidden layers of encoder and decoder.
        flow_hidden: widths of the hidden layers of each network of a flow.
        maf_layers: layers of the MAF prior.
        realnvp_layers: layers of the RealNVP prior.
        iaf_layers: layers of the IAF on top of the encoder's Normal.
        context: numbers that the encoder hands to the IAF beside its Normal.
        pseudo_inputs: of the VampPrior.
        epochs: passes over the training images, at most: the weights kept are those of the epoch
            with the best ELBO of the validation images.
        batch_size: images of a step.
        learning_rate: of Adam at the start; it falls to a twentieth, a little with each epoch.
        weight_decay: of AdamW: pulls weights towards zero, against learning images by heart.
        warm_up: epochs in which the KL's weight rises from near 0 to 1.
        check_every: epochs between two looks at the validation images.
        particles: draws for each image in the held-out log-likelihood.
        draws: for each image in the surgery.
        surgery_images: training images in the surgery, at most; its cost grows with their square.
        prior_epochs: of the flow that is fitted to the aggregated posterior afterwards.
        seed: of weights, minibatches and draws.
        device: for Pyro, such as "cuda"; JAX has its own way to choose (JAX_PLATFORMS).
    """

    latents: int = 8
    hidden: int = 256
    flow_hidden: tuple[int, ...] = (64, 64)
    maf_layers: int = 4
    realnvp_layers: int = 8
    iaf_layers: int = 2
    context: int = 16
    pseudo_inputs: int = 100
    epochs: int = 120
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warm_up: int = 20
    check_every: int = 5
    particles: int = 500
    draws: int = 2
    surgery_images: int = 5000
    prior_epochs: int = 20
    seed: int = 0
    device: str = "cpu"

    def decay(self):
        """What the learning rate is multiplied by after each epoch."""
        return 0.05 ** (1 / self.epochs)

    def kl_weight(self, epoch):
        """Weight of the KL in an epoch, counted from 0; never 0, which no scale handler takes."""
        return kl_warmup(epoch + 1, self.warm_up + 1)
