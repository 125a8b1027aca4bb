"""AutoAmortisedFlow: a guide whose local latents come from a conditional flow, row by row."""

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.autoguide import AutoGuide
from numpyro.infer.initialization import init_to_median

from flowkit_core import checks
from flowkit_core.local_latents import LocalLatents, rows_of
from numpyro_flowkit.conditioners.foreign import as_conditioner
from numpyro_flowkit.distributions import StandardNormal
from numpyro_flowkit.guides.auto_flow import AutoFlow
from numpyro_flowkit.guides.local_draw import draw_rows
from numpyro_flowkit.guides.local_structure import (
    first_rows,
    latents,
    local_flow,
    local_latents_of,
)
from numpyro_flowkit.guides.named import AutoIAF
from numpyro_flowkit.recipes import iaf
from numpyro_flowkit.transforms import Flow
from numpyro_flowkit.transforms.parts import sum_last

# Of a row's few numbers: less than a guide of all latents takes.
_TWO_LAYERS = functools.partial(iaf, num_layers=2, hidden_dims=(64, 64))


class AutoAmortisedFlow(AutoGuide):
    """Guide with a flow over the global latents and a conditional one over those of each row.

    ``q(g, x_1 .. x_N) = q(g) prod_n q(x_n | e_n, g)`` for a model with a plate of N rows:
    g, the latents outside of the plate, come from a flow guide (an `AutoIAF`); x_n, all latents of
    row n packed and unconstrained, from a flow whose context is e_n and g. With an encoder
    ``e_n = encoder(data of row n)``: amortised, as in a VAE, also for rows never seen. Without one
    e_n is a learnt vector of its own for each row: a hierarchical guide of all N rows.

    The plate may be subsampled. Data come as all N rows, of which the guide takes those that the
    plate draws, or (with an encoder) as the rows of a minibatch, with
    ``numpyro.plate("data", N, subsample_size=len(batch))`` in the model.

    It is a NumPyro `AutoGuide` for SVI with any ELBO, and for `fit_guide`. Local latents at first
    stand at their starting point's mean over rows, with ``init_scale``. The parameters are
    ``"{prefix}_local_flow$params"``, ``"{prefix}_encoder$params"`` or ``"{prefix}_rows"``, and
    those of the global latents' guide.

    Cost: one step evaluates the flow once for each row drawn; path gradients once more where there
    are global latents.

    Args:
        model: a NumPyro model with continuous latents, some of them inside of a plate.
        encoder: a pytree of arrays that maps data of rows (B, ...) to (B, E): an Equinox module
            under ``jax.vmap``, say, or ``jax.tree_util.Partial(function, weights)``. Or None.
        flow: callable ``flow(d, context_dim=C)`` that gives what a recipe gives: a conditional flow
            over the d numbers of a row; by default an `iaf` of two layers.
        global_guide: callable ``guide(model, prefix=...)`` that gives an `AutoFlow`.
        inputs: function of the model's arguments that gives the encoder's data, rows first; by
            default the first argument.
        plate: name of the plate whose latents are local; needed where several plates hold some.
        embedding_dim: length of e_n without an encoder; by default twice the numbers of a row.
        prefix: prefix of the guide's sites.
        init_loc_fn: NumPyro's strategy for the starting point of each latent.
        init_scale: scale of local latents at first.
        path_gradient: use path gradients, as for `AutoFlow`; may be set between steps.
        create_plates: function of the model's arguments that gives the plate of the rows; needed
            where the model draws other numbers of rows, of all data, than in the first call.

    Raises:
        ModelError: when first called, if no latent is local, the plate lies inside of another one
            or is not named though there are several, or data have other numbers of rows.
        TypeError, ValueError: for arguments of other kinds, and if the encoder's result is no
            matrix with a row for each row of data.

    References:
        Kingma, Welling, "Auto-Encoding Variational Bayes", 2014; Rezende, Mohamed, "Variational
        Inference with Normalizing Flows", 2015, section 4; Agrawal, Domke, "Amortized Variational
        Inference for Simple Hierarchical Models", 2021.

    Example:
        >>> from jax.tree_util import Partial
        >>> def model(data):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     with numpyro.plate("data", 100, subsample_size=10) as rows:
        ...         z = numpyro.sample("z", dist.Normal(mu, 1.0))
        ...         numpyro.sample("y", dist.Normal(z, 1.0), obs=data[rows, 0])
        >>> encoder = Partial(lambda weights, data: data @ weights, jnp.ones((1, 2)))
        >>> guide = AutoAmortisedFlow(model, encoder)
        >>> with handlers.seed(rng_seed=0):
        ...     values = guide(jnp.zeros((100, 1)))
        >>> {name: value.shape for name, value in values.items()}
        {'mu': (), 'z': (10,)}
    """

    local: LocalLatents

    def __init__(
        self,
        model: Callable[..., Any],
        encoder: Any = None,
        *,
        flow: Callable[..., Any] | None = None,
        global_guide: Callable[..., AutoFlow] | None = None,
        inputs: Callable[..., Any] | None = None,
        plate: str | None = None,
        embedding_dim: int | None = None,
        prefix: str = "auto",
        init_loc_fn: Callable[..., Any] = init_to_median,
        init_scale: float = 0.1,
        path_gradient: bool = True,
        create_plates: Callable[..., numpyro.plate] | None = None,
    ) -> None:
        if embedding_dim is not None:
            embedding_dim = checks.positive_int("embedding_dim", embedding_dim)
            if encoder is not None:
                raise ValueError("embedding_dim: the encoder's result has a length of its own")
        self.path_gradient = checks.boolean("path_gradient", path_gradient)
        self.init_scale = checks.positive_float("init_scale", init_scale)
        self._encoder = None if encoder is None else as_conditioner(encoder, name="encoder")
        super().__init__(
            model, prefix=prefix, init_loc_fn=init_loc_fn, create_plates=self._local_plate
        )
        self._make_flow = _TWO_LAYERS if flow is None else flow
        self._inputs, self._wanted = inputs, plate
        self._make_globals = global_guide or functools.partial(AutoIAF, init_loc_fn=init_loc_fn)
        self._embedding_dim, self._create_plate = embedding_dim, create_plates
        self.globals: AutoFlow | None = None

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        try:
            self._build(args, kwargs)
        except BaseException:
            self.prototype_trace = None  # so that the next call reports the error again
            raise

    def _build(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        trace: Any = self.prototype_trace
        self.local = local_latents_of(trace, self._wanted)
        self._loc = first_rows(trace, self.local).mean(0)
        names = {site.name for site in self.local.sites}
        self.globals = None
        if names < set(latents(trace)):
            # Sites that are hidden do not see the seed outside of the block.
            seeded = handlers.seed(self.model, rng_seed=0)
            part = handlers.block(seeded, hide=sorted(names))
            self.globals = self._make_globals(part, prefix=f"{self.prefix}_globals")
            self.globals._setup_prototype(*args, **kwargs)

    def _data(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Array:
        if self._inputs is None and not args:
            raise ValueError(
                "inputs: the model was called without arguments; give a function that returns the "
                "encoder's data, rows first"
            )
        data: Any = args[0] if self._inputs is None else self._inputs(*args, **kwargs)
        if not hasattr(data, "shape") or jnp.ndim(data) == 0:
            raise TypeError(f"inputs: expected an array of rows, got {type(data).__name__}")
        return jnp.asarray(data)

    def _local_plate(self, *args: Any, **kwargs: Any) -> numpyro.plate:
        local = self.local
        if self._create_plate is not None:
            return self._create_plate(*args, **kwargs)
        size = self._prototype_frames[local.plate].size
        if self._encoder is not None:
            size = rows_of(local, len(self._data(args, kwargs)), size)
        return numpyro.plate(local.plate, local.full_size, dim=local.dim, subsample_size=size)

    def _encoded(self, drawn: Array, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Array:
        """What the context says of the rows drawn, (B, 1 .., E)."""
        if self._encoder is None:
            size = self._embedding_dim or 2 * self.local.size
            start = jnp.zeros((self.local.full_size, size), self._loc.dtype)
            found = numpyro.param(f"{self.prefix}_rows", start)[drawn]
        else:
            data = self._data(args, kwargs)
            if len(data) == self.local.full_size:
                data = data[drawn]
            encoder = numpyro.param(f"{self.prefix}_encoder$params", lambda _: self._encoder)
            found = encoder(data)
            if jnp.ndim(found) != 2 or len(found) != len(data):
                got = getattr(found, "shape", type(found).__name__)
                raise ValueError(f"encoder: expected a result of shape ({len(data)}, E), got {got}")
        return found.reshape(len(found), *self.local.row_batch, -1)

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Array]:
        """Sample every latent, with the same arguments as the model."""
        if self.prototype_trace is None:
            self._setup_prototype(*args, **kwargs)
        plates = self._create_plates(*args, **kwargs)
        values: dict[str, Array] = {}
        shared = global_flow = None
        if self.globals is not None:
            self.globals.path_gradient = self.path_gradient
            with handlers.trace() as sites:
                values.update(self.globals(*args, **kwargs))
            shared = sites[f"_{self.globals.prefix}_latent"]["value"]
            global_flow = sites[self.globals._param_name]["value"]
        with plates[self.local.plate] as drawn:
            encoded = self._encoded(drawn, args, kwargs)
            packed = self._draw(encoded, shared, global_flow)
        values.update(self._constrained(packed, plates))
        return values

    def _draw(self, encoded: Array, shared: Array | None, global_flow: Any) -> Array:
        """Packed local latents (..., B, 1 .., d)."""
        context_dim = encoded.shape[-1] + (0 if shared is None else shared.shape[-1])
        start = functools.partial(
            local_flow, self._make_flow, self._loc, self.init_scale, context_dim
        )
        flow: Flow = numpyro.param(f"{self.prefix}_local_flow$params", start)
        zeros = jnp.zeros((*encoded.shape[:-1], self.local.size), self._loc.dtype)
        auxiliary = {"is_auxiliary": True}
        noise = StandardNormal(zeros, jnp.ones_like(zeros)).to_event(1)
        z = numpyro.sample(f"_{self.prefix}_noise", noise, infer=auxiliary)
        standardise = functools.partial(_standardised, global_flow)
        x, log_density = draw_rows(
            flow, z, encoded, shared, standardise, path_gradient=self.path_gradient
        )
        packed: Array = numpyro.sample(
            f"_{self.prefix}_local", dist.Delta(x, log_density, event_dim=1), infer=auxiliary
        )
        return packed

    def _constrained(self, packed: Array, plates: dict[str, numpyro.plate]) -> dict[str, Array]:
        trace: Any = self.prototype_trace
        values = {}
        for site, where in self.local.slices():
            fn, stack = trace[site.name]["fn"], trace[site.name]["cond_indep_stack"]
            transform = biject_to(fn.support)
            unconstrained = packed[..., where].reshape(self.local.shape_of(site, packed.shape))
            value = transform(unconstrained)
            log_density = -transform.log_abs_det_jacobian(unconstrained, value)
            log_density = sum_last(
                log_density, jnp.ndim(log_density) - jnp.ndim(value) + fn.event_dim
            )
            delta = dist.Delta(value, log_density=log_density, event_dim=fn.event_dim)
            with ExitStack() as around:
                for frame in stack:
                    around.enter_context(plates[frame.name])
                values[site.name] = numpyro.sample(site.name, delta)
        return values

    def sample_posterior(
        self,
        rng_key: Array,
        params: dict[str, Any],
        *args: Any,
        sample_shape: tuple[int, ...] = (),
        **kwargs: Any,
    ) -> dict[str, Array]:
        """Draws of every latent, those of a row for the rows of these arguments.

        Args:
            rng_key: key of the draws.
            params: the guide's parameters.
            args: the model's arguments; with an encoder, data of any rows.
            sample_shape: shape of the draws.
            kwargs: the model's keyword arguments.

        Returns:
            For each latent site an array (*sample_shape, *shape of the site).
        """

        def one(key: Array) -> dict[str, Array]:
            with handlers.block(), handlers.seed(rng_seed=key), handlers.substitute(data=params):
                return self(*args, **kwargs)

        if self.prototype_trace is None:
            one(rng_key)
        draw = one
        for _ in sample_shape:
            draw = jax.vmap(draw)
        return draw(jax.random.split(rng_key, sample_shape))


def _standardised(flow: Any, shared: Array) -> Array:
    """Global latents before the affine layers that give them location and scale."""
    for layer in reversed(flow.layers[1:]):
        shared, _ = layer.inverse_and_log_det(shared)
    return shared
