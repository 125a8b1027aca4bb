"""Numerical constants that both wings share, each with its reason."""

# The product of the scales of a whole flow stays within exp(+-TOTAL_LOG_SCALE) per coordinate.
# With raw exponentials 32 coupling layers lose every digit in float32; with this budget ten layers
# with wild weights keep a round trip below 1e-3 (tests/both/test_stability.py measures it).
TOTAL_LOG_SCALE = 16.0

# A single layer never needs more than a factor e^2 = 7.4: the free bias of each coordinate lies
# outside the bound, so overall scales are not limited by it.
LAYER_LOG_SCALE = 2.0

# Half-width of the box in which a spline bends, in units of a layer's input. 6e-5 of a standard
# Normal lies outside 4; the bins of a wider box would be coarser. (Durkan et al. 2019 use 3 on
# standardised data, zuko 5.)
SPLINE_BOUND = 4.0

# Narrowest bin of a spline, as a fraction of its box. Single precision tells 2^24 places in a box
# apart, so 80 of them lie even in such a bin.
MIN_BIN_WIDTH = 5e-6


# A coordinate of a batch is constant if its standard deviation is within this many rounding errors
# of its largest value: then it is rounding that varies, and it tells nothing of the scale.
CONSTANT_ROUNDING_ERRORS = 16.0


# A probability that rounding may have moved past 0 is held at this many rounding errors.
INTERVAL_ROUNDING_ERRORS = 4.0


def log_scale_bound(num_layers: int) -> float:
    r"""Half-width c of the soft bound on a conditioned log-scale, tighter with depth.

    A law maps the network's output h to the log-scale ``b + c * tanh(h / c)``: smooth, slope 1 at
    h = 0, and with a free bias b per coordinate outside the bound (Hoffman et al. 2019 use the same
    form for NeuTra). Unbounded scales make inverses explode with depth (Behrmann et al. 2021), so
    c falls as 1/K once the flow is deep.

    Example:
        >>> [log_scale_bound(k) for k in (1, 8, 32)]
        [2.0, 2.0, 0.5]
    """
    return min(LAYER_LOG_SCALE, TOTAL_LOG_SCALE / num_layers)


def round_trip_tolerance(eps: float) -> float:
    """Relative residual up to which a direction counts as the inverse of the other.

    Ten thousand rounding errors: 1e-3 in float32, 2e-12 in float64. A flow amplifies rounding by
    its Jacobian, so a healthy deep flow loses two or three digits; one that loses more is about to
    lose all.

    Args:
        eps: distance from 1 to the next number of the dtype.
    """
    return 1e4 * eps


# An iteration stops once its update is this many rounding errors below the solution: further steps
# move the result by no more than the rounding of the network itself.
STOP_ROUNDING_ERRORS = 4.0


def spline_soft_bound(num_layers: int) -> float:
    r"""Half-width c of the soft bound on a spline's raw widths, heights and slopes.

    Three quarters of `log_scale_bound`, because log-slopes of a spline range over more than +-c:
    they fall to -6.6 c in a low, wide bin between steep knots (8 bins). In float32 a round trip of
    three coupling layers of wild weights then errs by 8e-4 of the size of the values (the worst
    point of six, ninth decile of 40 draws), with c = 2 by 0.07. Smaller bounds cost likelihood: on
    two peaks 30 standard deviations apart one layer stays 0.03 nats below the truth with 2, 0.04
    with 1.5 and 0.10 with 1.

    Example:
        >>> [spline_soft_bound(k) for k in (1, 8, 32)]
        [1.5, 1.5, 0.375]
    """
    return 0.75 * log_scale_bound(num_layers)


# Smallest slope of a planar or Sylvester layer along a direction of its hidden units: none
# contracts by more than a factor 100 there. Without a floor the slope could round to zero or below,
# and with it the log-determinant to infinity; at 0.01 float32 still knows it to five digits.
MIN_RESIDUAL_SLOPE = 0.01
