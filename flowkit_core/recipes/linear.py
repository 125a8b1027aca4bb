"""Linear flows: lu_linear, qr_linear and permute."""

from collections.abc import Sequence

from flowkit_core import checks
from flowkit_core.specs import FlowSpec, LULinearSpec, PermutationSpec, QRLinearSpec


def lu_linear(input_dim: int) -> FlowSpec:
    """Invertible linear map ``x = L U z + b`` by its triangular factors.

    Cost: D^2 per point in either direction (the inverse solves two triangular systems); the
    log-determinant is a sum of D numbers.

    Args:
        input_dim: number of coordinates D.

    References:
        Kingma, Dhariwal, "Glow", 2018, equation 10; Durkan et al., "Neural Spline Flows", 2019.

    Example:
        >>> lu_linear(4).num_parameters
        40
    """
    return LULinearSpec(input_dim)


def qr_linear(input_dim: int) -> FlowSpec:
    """Invertible linear map ``x = Q R z + b``: Householder reflections times a triangle.

    Cost: D^2 per point in either direction and D^3 once per call; the log-determinant is a sum of
    D numbers.

    Args:
        input_dim: number of coordinates D.

    References:
        Hoogeboom, van den Berg, Welling, "Emerging Convolutions", 2019, section 4; Golub, Van
        Loan, "Matrix Computations", 4th ed., section 5.1 (compact WY form).

    Example:
        >>> print(qr_linear(4))
        QRLinear(input_dim=4)
    """
    return QRLinearSpec(input_dim)


def permute(input_dim: int, *, order: Sequence[int]) -> FlowSpec:
    """Fixed permutation ``x[i] = z[order[i]]``; volume preserving, nothing to train.

    Args:
        input_dim: number of coordinates D.
        order: each of 0 .. D-1 exactly once.

    Raises:
        ValueError: if ``order`` is no permutation of ``input_dim`` indices.

    Example:
        >>> print(permute(3, order=(2, 0, 1)))
        Permutation(input_dim=3, order=(2, 0, 1))
    """
    checks.positive_int("input_dim", input_dim)
    spec = PermutationSpec(checks.permutation("order", order))
    if spec.input_dim != input_dim:
        raise ValueError(f"order: expected {input_dim} indices, got {spec.input_dim}")
    return spec
