"""How large the flows are and how they are trained, the same in both libraries."""

from dataclasses import dataclass

# What stands in the tables and the pictures, in their order.
MODELS = {
    "realnvp": "RealNVP of vectors",
    "realnvp_image": "RealNVP of images",
    "glow": "Glow",
    "glow_class": "Glow given the class",
}
IMAGE_MODELS = ("realnvp_image", "glow")


@dataclass(frozen=True)
class Settings:
    """Everything that can be chosen.

    Args:
        hidden_channels: of the networks of RealNVP of images.
        glow_channels: of the networks of Glow.
        num_steps: of Glow on each of its two scales.
        epochs: passes over the training images, at most: the weights kept are those of the epoch
            that the validation images like best.
        batch_size: images of a step.
        learning_rate: of Adam at the start; it falls to zero along a cosine.
        max_grad_norm: gradients of bits per dimension are scaled down to this norm.
        check_every: epochs between two looks at the validation images.
        noises: draws of the noise for each image that is measured.
        seed: of weights, noise and minibatches.
    """

    hidden_channels: int = 24
    glow_channels: int = 24
    num_steps: int = 4
    epochs: int = 40
    batch_size: int = 100
    learning_rate: float = 2e-3
    max_grad_norm: float = 50.0
    check_every: int = 2
    noises: int = 16
    seed: int = 0

    def steps(self, num_images):
        """Steps of an epoch."""
        return max(1, num_images // self.batch_size)
