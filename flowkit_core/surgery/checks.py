"""Checks of what surgery is asked for, the same in both wings."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_core import checks

METHODS = ("exact", "bounds")

# Others of each data point in method "bounds".
NUM_OTHERS = 255


def check_method(method: object) -> str:
    """Return the name of a method.

    Raises:
        ValueError: for another name; the biased estimators of minibatches have their reason.
    """
    if method in ("mws", "mss"):
        raise ValueError(
            f"method: expected 'exact' or 'bounds', got {method!r}; minibatch-weighted sampling is "
            "off by up to log n nats and does not bound what it estimates"
        )
    return checks.choice("method", method, METHODS)


def check_num_others(num_others: object, num_data: int) -> int:
    """Return how many others to take of n - 1; None is `NUM_OTHERS`, or all if those are fewer."""
    if num_others is None:
        return min(NUM_OTHERS, num_data - 1)
    # A single data point has no others, and needs none: the mutual information is zero.
    smallest = 1 if num_data > 1 else 0
    number = checks.int_at_least("num_others", num_others, smallest)
    if number > num_data - 1:
        raise ValueError(
            f"num_others: expected at most {num_data - 1}, since there are {num_data} data points, "
            f"got {number}"
        )
    return number


def check_posterior_shapes(
    batch_shape: Sequence[int], event_shape: Sequence[int], where: str = "posterior"
) -> None:
    """Raise unless there is one vector for each data point.

    Example:
        >>> check_posterior_shapes((100, 8), ())
        Traceback (most recent call last):
            ...
        ValueError: posterior: expected batch shape (n,) and event shape (d,): one distribution \
of a vector for each data point; got batch shape (100, 8) and event shape (); call .to_event(1)
    """
    batch, event = tuple(batch_shape), tuple(event_shape)
    if len(batch) == 1 and len(event) == 1 and batch[0] > 0 and event[0] > 0:
        return
    hint = ""
    if len(batch) >= 2 and not event:
        hint = f"; call .to_event({len(batch) - 1})"
    elif len(batch) == 1 and not event:
        hint = "; give each parameter the shape (n, 1) and call .to_event(1)"
    elif not batch and event:
        hint = "; a single data point has the batch shape (1,)"
    raise ValueError(
        f"{where}: expected batch shape (n,) and event shape (d,): one distribution of a vector "
        f"for each data point; got batch shape {batch} and event shape {event}{hint}"
    )


def posterior_parts(posterior: Any, distribution: Any, *, allow_none: bool = False) -> list[Any]:
    """The distributions that a posterior is made of: one, or one for each batch.

    Args:
        posterior: a distribution or an iterable of them, which is read once.
        distribution: what a distribution is in the wing that asks.
        allow_none: whether there may be no data points: parts without any are left out.

    Raises:
        TypeError: for something else.
        ValueError: for shapes that do not fit a row of vectors or each other, or none.
    """
    single = isinstance(posterior, distribution)
    if not single and not isinstance(posterior, Iterable):
        raise TypeError(
            "posterior: expected a distribution or an iterable of them, got "
            f"{type(posterior).__name__}"
        )
    given: list[Any] = [posterior] if single else list(posterior)
    if not given and not allow_none:
        raise ValueError("posterior: expected at least one batch, got none")
    parts: list[Any] = []
    for index, part in enumerate(given):
        where = "posterior" if single else f"posterior[{index}]"
        if not isinstance(part, distribution):
            raise TypeError(f"{where}: expected a distribution, got {type(part).__name__}")
        if allow_none and tuple(part.batch_shape) == (0,):
            continue
        parts.append(part)
        check_posterior_shapes(part.batch_shape, part.event_shape, where)
        if part.event_shape != parts[0].event_shape:
            raise ValueError(
                f"{where}: expected event shape {tuple(parts[0].event_shape)}, as the batches "
                f"before, got {tuple(part.event_shape)}"
            )
    return parts


def check_prior(prior: Any, distribution: Any, dim: int) -> None:
    """Raise unless the prior is a distribution of the posterior's vectors.

    Args:
        prior: what was given.
        distribution: what a distribution is in the wing that asks.
        dim: length of the posterior's vectors.
    """
    if not isinstance(prior, distribution):
        raise TypeError(f"prior: expected a distribution, got {type(prior).__name__}")
    check_prior_shapes(prior.batch_shape, prior.event_shape, dim)


def check_prior_shapes(
    batch_shape: Sequence[int], event_shape: Sequence[int], dim: int, where: str = "prior"
) -> None:
    """Raise unless the prior is a single distribution of the posterior's vectors."""
    batch, event = tuple(batch_shape), tuple(event_shape)
    if batch == (dim,) and not event:
        raise ValueError(
            f"{where}: expected event shape ({dim},), as the posterior has, got batch shape "
            f"{batch} and event shape (); call .to_event(1)"
        )
    if event != (dim,) or any(size != 1 for size in batch):
        raise ValueError(
            f"{where}: expected event shape ({dim},), as the posterior has, and a single "
            f"distribution, got batch shape {batch} and event shape {event}"
        )


def check_points(shape: Sequence[int], num_bad: int, dim: int) -> None:
    """Raise unless z is (..., d) without NaN or infinite numbers."""
    if len(shape) < 1 or shape[-1] != dim:
        raise ValueError(
            f"z: expected shape (..., {dim}), as the posterior has, got {tuple(shape)}"
        )
    if num_bad:
        raise ValueError(f"z: expected finite numbers, got {num_bad} NaN or infinite ones")


def check_draws(bad: NDArray[np.bool_]) -> None:
    """Raise if the draws of some data points are NaN or infinite."""
    if bad.any():
        raise ValueError(
            f"posterior: expected finite draws, got NaN or infinite ones at {int(bad.sum())} of "
            f"{len(bad)} data points, the first of which is {int(bad.argmax())}"
        )


def check_log_likelihood(shape: Sequence[int], expected: Sequence[int]) -> None:
    """Raise unless there is one number for each draw."""
    if tuple(shape) != tuple(expected):
        raise ValueError(
            f"log_likelihood: expected one number for each draw, shape {tuple(expected)}, got "
            f"{tuple(shape)}; sum over what belongs to one data point"
        )


def check_factorises(where: str, got: str, factorises: bool) -> None:
    """Raise unless latents can be told apart."""
    if not factorises:
        wanted = {
            "posterior": "Gaussian posteriors, whose latents have densities of their own",
            "prior": "a prior of independent latents, such as Normal(loc, scale).to_event(1)",
        }[where]
        raise TypeError(f"{where}: expected {wanted}, got {got}")
