"""Linear flows: lu_linear, qr_linear, triangular, Householder, low-rank, diagonal; permute."""

from collections.abc import Sequence

from flowkit_core import checks
from flowkit_core.specs import (
    DiagonalAffineSpec,
    FlowSpec,
    HouseholderLinearSpec,
    LowRankLinearSpec,
    LULinearSpec,
    PermutationSpec,
    QRLinearSpec,
    TriangularAffineSpec,
)


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


def diagonal_linear(input_dim: int) -> FlowSpec:
    """Scale and shift of each coordinate: ``x = exp(s) * z + b``.

    Cost: D per point in either direction.

    Args:
        input_dim: number of coordinates D.

    References:
        Dinh, Krueger, Bengio, "NICE", 2015, section 3.3.

    Example:
        >>> diagonal_linear(4).num_parameters
        8
    """
    return DiagonalAffineSpec(input_dim)


def triangular_linear(input_dim: int) -> FlowSpec:
    """Invertible linear map ``x = L z + b``, L lower triangular with a positive diagonal.

    On its own it makes any Gaussian of a standard one: ``L L^T`` is the covariance.

    Cost: D^2 per point in either direction (the inverse solves a triangular system); the
    log-determinant is a sum of D numbers.

    Args:
        input_dim: number of coordinates D.

    References:
        Kucukelbir et al., "Automatic Differentiation Variational Inference", 2017, section 2.4.

    Example:
        >>> triangular_linear(4).num_parameters
        24
    """
    return TriangularAffineSpec(input_dim)


def householder_linear(input_dim: int, *, num_reflections: int) -> FlowSpec:
    """Rotation ``x = Q z + b`` by a few Householder reflections; volume preserving.

    Cost: 2 K D per point in either direction for K reflections, and K^2 D once per call.

    Args:
        input_dim: number of coordinates D.
        num_reflections: K, even; D of them (D - 1 where D is odd) reach every rotation.

    Raises:
        ValueError: for an odd number, of which no product starts as the identity.

    References:
        Tomczak, Welling, "Improving Variational Auto-Encoders using Householder Flow", 2016.

    Example:
        >>> print(householder_linear(4, num_reflections=2))
        HouseholderLinear(input_dim=4, num_reflections=2)
    """
    return HouseholderLinearSpec(input_dim, num_reflections)


def low_rank_linear(input_dim: int, *, rank: int) -> FlowSpec:
    """Invertible linear map ``x = (diagonal + low rank) z + b``, for many coordinates.

    ``diag(exp(s)) (1 + U Q^T)`` with Q orthonormal and U such that ``1 + Q^T U`` is triangular with
    a positive diagonal, so never singular. On its own it makes Gaussians whose covariance is a
    diagonal plus a matrix of rank up to 2 r.

    Cost: 2 r D per point in either direction (the inverse by the Woodbury identity) and r^2 D once
    per call; the log-determinant is a sum of D + r numbers.

    Args:
        input_dim: number of coordinates D.
        rank: r, at most D.

    Raises:
        ValueError: for a rank above D.

    References:
        Golub, Van Loan, "Matrix Computations", 4th ed., section 2.1.4.

    Example:
        >>> low_rank_linear(1000, rank=2).num_parameters
        6006
    """
    return LowRankLinearSpec(input_dim, rank)


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
