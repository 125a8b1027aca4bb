"""What can be wrong with a model that a flow guide is asked for: one wording for both wings."""

from collections.abc import Iterable, Mapping

Shape = tuple[int, ...]


class ModelError(ValueError):
    """A model that a flow guide cannot be fitted to; the message names the site and the remedy."""


def discrete_latent(site: str, distribution: str) -> ModelError:
    """For a latent that takes separate values."""
    return ModelError(
        f"site {site!r} ({distribution}) is discrete, and a flow guide is continuous: sum it out "
        f"in the model, or hide it from the guide (block with hide=[{site!r}]) and enumerate it "
        "with TraceEnum_ELBO"
    )


def no_bijection(site: str, distribution: str, support: str) -> ModelError:
    """For a latent whose support nothing maps the real numbers to."""
    return ModelError(
        f"site {site!r} ({distribution}) has the support {support}, to which no map from the real "
        "numbers is known: give biject_to one (biject_to.register), or, of a mixture, make the "
        "component a discrete site, hide it from the guide and enumerate it with TraceEnum_ELBO"
    )


def no_latents(sites: Iterable[str]) -> ModelError:
    """For a model in which every site is observed."""
    seen = ", ".join(map(repr, sites)) or "no sites at all"
    return ModelError(
        f"the model has no latent variables (it has {seen}, observed): there is nothing to infer; "
        "give at least one sample site no obs="
    )


def bad_density(site: str, log_prob: float, *, observed: bool) -> ModelError:
    """For a model whose log-density is not finite where the guide starts."""
    if observed:
        remedy = "check its data (NaN, values outside of the support), or start elsewhere with"
    else:
        remedy = "start elsewhere with"
    return ModelError(
        f"site {site!r} has log-density {log_prob} at the guide's starting point: {remedy} "
        f"init_loc_fn=init_to_value(values={{...}})"
    )


def local_latent(site: str, plate: str, size: int, full_size: int) -> ModelError:
    """For a latent in a plate of which only some rows are drawn."""
    return ModelError(
        f"site {site!r} is a latent in plate {plate!r}, which draws {size} of {full_size} rows, so "
        "the latents differ from step to step: take all rows, or use AutoAmortisedFlow, whose "
        "local latents have a flow of their own"
    )


def empty_plate(sites: Iterable[str]) -> ModelError:
    """For a plate without rows, as of data without rows."""
    *_, last = ["the start", *(f"site {site!r}" for site in sites)]
    return ModelError(
        f"the model opens a plate of size 0 (after {last}): give it at least one row of data"
    )


def bad_start_shape(site: str, expected: Shape, got: Shape) -> ModelError:
    """For a starting value of another shape than its site's."""
    return ModelError(
        f"site {site!r}: expected a starting value of shape {expected}, but init_loc_fn gives one "
        f"of shape {got}"
    )


def bad_start_value(site: str, value: object, support: object) -> ModelError:
    """For a starting value outside of its site's support."""
    return ModelError(
        f"site {site!r}: expected a starting value inside of the support ({support}), but "
        f"init_loc_fn gives {value}"
    )


def check_same_shapes(met: Mapping[str, Shape], given: Mapping[str, Shape]) -> None:
    """Raise unless a model's latents are those that the guide has met, by name and shape.

    Raises:
        ModelError: for the first that is not.
    """
    for name in [*met, *given]:
        if met.get(name) != given.get(name):
            raise changed_shapes(name, met.get(name), given.get(name))


def changed_shapes(site: str, expected: Shape | None, got: Shape | None) -> ModelError:
    """For a model whose latents are others than those that the guide has met."""
    told = "no such site" if got is None else f"shape {got}"
    met = "no such site" if expected is None else f"shape {expected}"
    return ModelError(
        f"site {site!r}: the guide has met the model with {met}, these arguments give {told}; a "
        "flow guide has a fixed set of latents, so make a new guide for other data sizes"
    )
