"""One bin of a rational-quadratic spline, in a form that is exact where the bin is the identity.

For a bin of width w, height h and chord slope s = h / w let a = d_0 / s and b = d_1 / s, and for
xi = (u - x_0) / w and theta = (v - y_0) / h in [0, 1] let xi' = 1 - xi and theta' = 1 - theta.
Equations 4 to 8 of Durkan et al. (2019) then read

    theta = xi (xi + a xi') / D,     D = 1 + (a + b - 2) xi xi',
    dv/du = s E / D^2,               E = xi' (a xi' + xi) + xi (xi' + b xi).

No term of E is negative, D is at least 1/2, and ``xi + xi'`` is exactly 1 in floating point too:
where a = b = s = 1, D = E = 1 whatever xi. The functions return v - u, which is then exactly 0.

For the inverse, theta D = xi (xi + a xi') is a quadratic equation in xi. With
m = a theta' - b theta and R = sqrt(4 theta theta' + m^2), where no term is negative either, its
root in [0, 1] is

    xi = 2 theta / P,    xi' = 2 theta' / Q,    P = 2 theta + (R + m),    Q = 2 theta' + (R - m).

One of R + m and R - m would cancel; their product is 4 theta theta', so it follows from the other.
The root differs from theta by 4 theta theta' ((b - 1) theta - (a - 1) theta') / (P Q).
"""

import torch
from torch import Tensor


def forward(u: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``v - u`` and ``log dv/du`` of the image v of a point u in a bin.

    Shapes: corners (3, 2, ...), the x, y and slope of the left and of the right knot; u (...).
    """
    (x_0, x_1), (y_0, y_1), (d_0, d_1) = corners
    width = x_1 - x_0
    flatness = width / (y_1 - y_0)  # 1 / s
    a, b = d_0 * flatness, d_1 * flatness
    part = u - x_0
    xi = part / width
    rest = 1 - xi
    denominator = 1 + (a + b - 2) * (xi * rest)
    secant = (xi + a * rest) / (flatness * denominator)  # (v - y_0) / (u - x_0)
    difference = (y_0 - x_0) + part * (secant - 1)
    return difference, _log_slope(xi, rest, a, b, flatness)


def inverse(v: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``u - v`` and ``log du/dv`` of the point u of a bin whose image is v.

    Shapes: as for `forward`.
    """
    (x_0, x_1), (y_0, y_1), (d_0, d_1) = corners
    width, height = x_1 - x_0, y_1 - y_0
    flatness = width / height
    a, b = d_0 * flatness, d_1 * flatness
    theta = (v - y_0) / height
    rest = 1 - theta
    product = 4 * theta * rest
    m = a * rest - b * theta
    root = torch.sqrt(product + m * m)
    # Not abs(m), whose derivative at 0 would fit neither of the two branches.
    larger = root + torch.where(m > 0, m, -m)
    smaller = product / larger
    p = 2 * theta + torch.where(m > 0, larger, smaller)
    q = 2 * rest + torch.where(m > 0, smaller, larger)
    bend = product * ((b - 1) * theta - (a - 1) * rest) / (p * q)  # xi - theta
    difference = (x_0 - y_0) + ((width - height) * theta + width * bend)
    return difference, -_log_slope(theta + bend, rest - bend, a, b, flatness)


def _log_slope(xi: Tensor, rest: Tensor, a: Tensor, b: Tensor, flatness: Tensor) -> Tensor:
    """``log dv/du`` from xi and 1 - xi."""
    denominator = 1 + (a + b - 2) * (xi * rest)
    numerator = rest * (a * rest + xi) + xi * (rest + b * xi)
    return torch.log(numerator / (flatness * denominator * denominator))
