"""AutoAmortisedFlow: a guide whose local latents come from a conditional flow, row by row."""

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.util import sum_rightmost
from pyro.infer.autoguide.guides import AutoGuide
from pyro.infer.autoguide.initialization import InitMessenger, init_to_median
from torch import Tensor, nn
from torch.distributions import biject_to

from flowkit_core import checks
from flowkit_core.local_latents import LocalLatents, rows_of
from pyro_flowkit.guides.auto_flow import AutoFlow
from pyro_flowkit.guides.local_draw import draw_rows
from pyro_flowkit.guides.local_structure import first_rows, local_flow, local_latents_of
from pyro_flowkit.guides.named import AutoIAF
from pyro_flowkit.guides.target import plate_nesting
from pyro_flowkit.recipes import iaf
from pyro_flowkit.transforms import Flow

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
    ``pyro.plate("data", N, subsample_size=len(batch))`` in the model.

    It is a Pyro `AutoGuide` for SVI with any ELBO, and for `fit_guide`. Local latents at first
    stand at their starting point's mean over rows, with ``init_scale``.

    Cost: one step evaluates the flow once for each row drawn; path gradients once more where there
    are global latents.

    Args:
        model: a Pyro model with continuous latents, some of them inside of a plate.
        encoder: module from data of rows (B, ...) to (B, E), or None.
        flow: callable ``flow(d, context_dim=C)`` that gives a conditional flow over the d numbers
            of a row; by default an `iaf` of two layers.
        global_guide: callable from a model to an `AutoFlow` over its latents.
        inputs: function of the model's arguments that gives the encoder's data, rows first; by
            default the first argument.
        plate: name of the plate whose latents are local; needed where several plates hold some.
        embedding_dim: length of e_n without an encoder; by default twice the numbers of a row.
        init_loc_fn: Pyro's strategy for the starting point of each latent.
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
        >>> def model(data):
        ...     mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     with pyro.plate("data", 100, subsample_size=10) as rows:
        ...         z = pyro.sample("z", dist.Normal(mu, 1.0))
        ...         pyro.sample("y", dist.Normal(z, 1.0), obs=data[rows, 0])
        >>> guide = AutoAmortisedFlow(model, nn.Linear(1, 2))
        >>> {name: tuple(value.shape) for name, value in guide(torch.zeros(100, 1)).items()}
        {'mu': (), 'z': (10,)}
    """

    local: LocalLatents
    transform: Flow
    rows: nn.Parameter | None
    globals: AutoFlow | None

    def __init__(
        self,
        model: Callable[..., Any],
        encoder: nn.Module | None = None,
        *,
        flow: Callable[..., Flow] | None = None,
        global_guide: Callable[[Callable[..., Any]], AutoFlow] | None = None,
        inputs: Callable[..., Tensor] | None = None,
        plate: str | None = None,
        embedding_dim: int | None = None,
        init_loc_fn: Callable[..., Tensor] = init_to_median,
        init_scale: float = 0.1,
        path_gradient: bool = True,
        create_plates: Callable[..., pyro.plate] | None = None,
    ) -> None:
        if encoder is not None and not isinstance(encoder, nn.Module):
            raise TypeError(f"encoder: expected a torch module, got {type(encoder).__name__}")
        if embedding_dim is not None:
            embedding_dim = checks.positive_int("embedding_dim", embedding_dim)
            if encoder is not None:
                raise ValueError("embedding_dim: the encoder's result has a length of its own")
        super().__init__(InitMessenger(init_loc_fn)(model), create_plates=self._local_plate)
        self.path_gradient = checks.boolean("path_gradient", path_gradient)
        self.init_scale = checks.positive_float("init_scale", init_scale)
        self.encoder = encoder
        self._make_flow = _TWO_LAYERS if flow is None else flow
        self._inputs, self._wanted = inputs, plate
        self._make_globals = global_guide or functools.partial(AutoIAF, init_loc_fn=init_loc_fn)
        self._embedding_dim, self._create_plate = embedding_dim, create_plates

    def _check_prototype(self, part_trace: Any) -> None:
        """Called by the global latents' guide, which has met a part of the same model."""

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
        names = {site.name for site in self.local.sites}
        loc = first_rows(trace, self.local).mean(0)
        self.globals = None
        if any(name not in names for name, _ in trace.iter_stochastic_nodes()):
            self.globals = self._make_globals(poutine.block(self.model, hide=sorted(names)))
            with poutine.block():
                self._create_plates(*args, **kwargs)
                self.globals(*args, **kwargs)
        self.rows = None
        if self.encoder is None:
            size = self._embedding_dim or 2 * self.local.size
            self.rows = nn.Parameter(loc.new_zeros(self.local.full_size, size))
            context = size
        else:
            with torch.no_grad():
                context = self._encoded(None, args, kwargs).shape[-1]
        if self.globals is not None:
            context += self.globals.latent_dim
        self.transform = local_flow(self._make_flow, loc, self.init_scale, context)

    def _data(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if self._inputs is None and not args:
            raise ValueError(
                "inputs: the model was called without arguments; give a function that returns the "
                "encoder's data, rows first"
            )
        data: Any = args[0] if self._inputs is None else self._inputs(*args, **kwargs)
        if not isinstance(data, Tensor) or data.dim() == 0:
            raise TypeError(f"inputs: expected a tensor of rows, got {type(data).__name__}")
        return data

    def _local_plate(self, *args: Any, **kwargs: Any) -> pyro.plate:
        local = self.local
        if self._create_plate is not None:
            return self._create_plate(*args, **kwargs)
        size = self._prototype_frames[local.plate].size
        if self.encoder is not None:
            size = rows_of(local, len(self._data(args, kwargs)), size)
        return pyro.plate(local.plate, local.full_size, dim=local.dim, subsample_size=size)

    def _encoded(
        self, drawn: Tensor | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        """What the context says of the rows drawn, (B, 1 .., E)."""
        if self.rows is not None:
            found = self.rows[drawn]
        else:
            data = self._data(args, kwargs)
            if drawn is not None and len(data) == self.local.full_size:
                data = data[drawn]
            encoder: Any = self.encoder
            found = encoder(data)
            if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != len(data):
                got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
                raise ValueError(f"encoder: expected a result of shape ({len(data)}, E), got {got}")
        return found.reshape(len(found), *self.local.row_batch, -1)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Sample every latent, with the same arguments as the model."""
        if self.prototype_trace is None:
            self._setup_prototype(*args, **kwargs)
        plates = self._create_plates(*args, **kwargs)
        values: dict[str, Tensor] = {}
        shared = None
        if self.globals is not None:
            self.globals.path_gradient = self.path_gradient
            with poutine.trace() as capture:
                values.update(self.globals(*args, **kwargs))
            sites: Any = capture.trace.nodes.values()
            (shared,) = (s["value"] for s in sites if s.get("infer", {}).get("is_auxiliary"))
        with plates[self.local.plate] as drawn:
            encoded = self._encoded(drawn, args, kwargs)
            packed = self._draw(encoded, shared)
        values.update(self._constrained(packed, plates))
        return values

    def _draw(self, encoded: Tensor, shared: Tensor | None) -> Tensor:
        """Packed local latents (..., B, 1 .., d)."""
        name = self._pyro_name
        zeros = encoded.new_zeros(*encoded.shape[:-1], self.local.size)
        auxiliary: Any = {"is_auxiliary": True}
        z = pyro.sample(f"_{name}_noise", dist.Normal(zeros, 1.0).to_event(1), infer=auxiliary)
        x, log_density = draw_rows(
            self.transform, z, encoded, shared, self._standardised,
            path_gradient=self.path_gradient,
        )  # fmt: skip
        packed: Tensor = pyro.sample(
            f"_{name}_local", dist.Delta(x, log_density, event_dim=1), infer=auxiliary
        )
        return packed

    def _standardised(self, shared: Tensor) -> Tensor:
        """Global latents before the affine layers that give them location and scale."""
        guide: Any = self.globals
        for layer in reversed(guide.get_transform().parts[1:]):
            shared, _ = layer.inverse_and_log_det(shared)
        return shared

    def _constrained(self, packed: Tensor, plates: dict[str, pyro.plate]) -> dict[str, Tensor]:
        trace: Any = self.prototype_trace
        values = {}
        for site, where in self.local.slices():
            fn, stack = trace.nodes[site.name]["fn"], trace.nodes[site.name]["cond_indep_stack"]
            transform = biject_to(fn.support)
            unconstrained = packed[..., where].reshape(self.local.shape_of(site, packed.shape))
            value = transform(unconstrained)
            log_density = transform.inv.log_abs_det_jacobian(value, unconstrained)
            log_density = sum_rightmost(log_density, log_density.dim() - value.dim() + fn.event_dim)
            delta = dist.Delta(value, log_density=log_density, event_dim=fn.event_dim)
            with ExitStack() as around:
                for frame in stack:
                    around.enter_context(plates[frame.name])
                values[site.name] = pyro.sample(site.name, delta)
        return values

    @torch.no_grad()
    def sample_posterior(self, num_samples: int, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Draws of every latent, those of a row for the rows of these arguments.

        Args:
            num_samples: number of draws n.
            args: the model's arguments; with an encoder, data of any rows.
            kwargs: its keyword arguments.

        Returns:
            For each latent site a tensor (n, *shape of the site).
        """
        count = checks.positive_int("num_samples", num_samples)
        if self.prototype_trace is None:
            self._setup_prototype(*args, **kwargs)
        trace: Any = self.prototype_trace
        depth = plate_nesting(trace)
        with poutine.block(), pyro.plate("_draws", count, dim=-depth - 1):
            values = self(*args, **kwargs)
        dims = {name: trace.nodes[name]["value"].dim() for name in values}
        return {
            name: value.reshape(count, *value.shape[value.dim() - dims[name] :])
            for name, value in values.items()
        }
