"""The last two layers of a flow guide: where the posterior is, and in which coordinates.

A guide is ``flow``, then a trainable affine layer, then a frozen affine layer, the *frame*. Until a
warm start sets it the frame is the identity. Afterwards it maps to the posterior's location and
scale, as far as a Gaussian has them, and all that is trained works in coordinates in which the
posterior is about standard Normal: one learning rate then serves latents of any scale.
"""

from flowkit_core.specs import AffineSpec, DiagonalAffineSpec, TriangularAffineSpec

# Beyond it D^2 weights cost more than they bring, and D^3 operations for a Hessian's factor hurt.
MAX_TRIANGULAR_DIM = 128


def affine_spec(dim: int, *, frozen: bool) -> AffineSpec:
    """Lower triangular up to `MAX_TRIANGULAR_DIM` latents, diagonal above (and for one latent).

    Example:
        >>> affine_spec(4, frozen=True)
        TriangularAffineSpec(input_dim=4, frozen=True)
        >>> affine_spec(1000, frozen=False)
        DiagonalAffineSpec(input_dim=1000, frozen=False)
    """
    if 1 < dim <= MAX_TRIANGULAR_DIM:
        return TriangularAffineSpec(dim, frozen)
    return DiagonalAffineSpec(dim, frozen)


def check_flow_dims(input_dim: int, context_dim: int, *, expected: tuple[int, int]) -> None:
    """Raise unless a flow that was made for a guide has the dimensions asked for.

    Args:
        input_dim: of the flow.
        context_dim: of the flow.
        expected: both, as they have to be.

    Raises:
        ValueError: if it has others.
    """
    if (input_dim, context_dim) != expected:
        context = f"context_dim={expected[1]}" if expected[1] else "no context"
        raise ValueError(
            f"flow: expected input_dim={expected[0]} and {context}, got "
            f"input_dim={input_dim}, context_dim={context_dim}"
        )
