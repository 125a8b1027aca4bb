"""AutoFlow: a guide over all latents whose distribution is a flow."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from pyro.infer.autoguide.guides import AutoContinuous
from pyro.infer.autoguide.initialization import InitMessenger, init_to_median
from torch import Tensor, nn
from torch.distributions import Distribution, biject_to

from flowkit_core import checks
from pyro_flowkit.bases.base import draw_seeded
from pyro_flowkit.bases.choice import BaseChoice, checked_choice, make_base
from pyro_flowkit.distributions import FlowDistribution, standard_normal
from pyro_flowkit.guides.layers import affine_layer, checked_flow
from pyro_flowkit.guides.param_store import claim_stored_names, with_stored_weights
from pyro_flowkit.transforms import Compose, Flow

# Draws behind median() and quantiles(): Monte Carlo error about 1 % of a posterior sd.
_QUANTILE_DRAWS = 10_000


ModuleT = TypeVar("ModuleT", bound=nn.Module)


class AutoFlow(AutoContinuous):
    """Guide ``q(theta)`` = a flow over all latents of a model, in unconstrained coordinates.

    ``theta = m + S (loc + L flow(z))`` with z from a base, by default Student-t with learnt degrees
    of freedom, nearly Normal at first: tails that are a little too heavy keep importance weights
    bounded, which the Normal's do not. L is lower triangular (diagonal above 128 latents) and
    starts as ``init_scale`` times the identity, ``loc`` starts at ``init_loc_fn``, both trainable,
    and the flow starts as the identity, so the guide starts as the base moved there. The frame (m,
    S) is fixed: the identity, until `warm_start` sets it to where the posterior is. It is a Pyro
    `AutoContinuous` guide and works wherever one does (`NeuTraReparam`, `AutoGuideList`, every
    ELBO).

    The flow is built when the guide is first called with the model's arguments; do that before
    asking for parameters or distributions.

    Cost: one step evaluates the flow once; drawing and scoring share it.

    Args:
        model: a Pyro model whose latents are continuous.
        flow: callable from the number of latents D to a flow, e.g.
            ``functools.partial(realnvp, num_layers=10)``.
        init_loc_fn: Pyro's strategy for the starting point of each latent.
        init_scale: scale that the guide starts with, in unconstrained coordinates.
        path_gradient: use path gradients (see `FlowDistribution`). They pay near the posterior;
            far from it, and for bounds of several weighted particles (`RenyiELBO`), switch them
            off. ``guide.path_gradient`` may be set between steps.
        base: what z is drawn from: "student_t", with learnt tails; "normal"; "mixture", with
            several modes (4 diagonal Normals, learnt); or a callable from D to a base, e.g.
            ``functools.partial(mixture_base, num_components=5)``. See `student_t_base` and
            `mixture_base`.

    Raises:
        ValueError: when first called, if the model subsamples a plate that holds latents, the flow
            has another dimension or takes a context, or the base has another dimension.
        RuntimeError: if parts are asked for before the first call, or there is no latent.

    References:
        Rezende, Mohamed, "Variational Inference with Normalizing Flows", 2015; Agrawal, Sheldon,
        Domke, "Advances in Black-Box VI", 2020 (flow guides with a location-scale start).

    Example:
        >>> import functools, pyro, pyro.distributions as dist
        >>> from pyro_flowkit import realnvp
        >>> def model():
        ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
        ...     pyro.sample("y", dist.Normal(x, x.exp()))
        >>> guide = AutoFlow(model, functools.partial(realnvp, num_layers=2))
        >>> sorted(guide())
        ['x', 'y']
    """

    transform: Compose | None
    base: nn.Module | None
    _bare_model: tuple[Callable[..., Any]] | None

    def __init__(
        self,
        model: Callable[..., Any],
        flow: Callable[[int], Flow],
        *,
        init_loc_fn: Callable[..., Tensor] = init_to_median,
        init_scale: float = 0.1,
        path_gradient: bool = True,
        base: BaseChoice = "student_t",
    ) -> None:
        path_gradient = checks.boolean("path_gradient", path_gradient)
        base = checked_choice(base)
        self.init_scale = checks.positive_float("init_scale", init_scale)
        if not callable(flow) or isinstance(flow, Flow):
            raise TypeError(
                "flow: expected a callable from the number of latents to a flow, e.g. "
                f"functools.partial(realnvp, num_layers=10), got {type(flow).__name__}"
            )
        super().__init__(model, init_loc_fn=init_loc_fn)
        self.init_loc_fn = init_loc_fn
        self.path_gradient = path_gradient
        self._bare_model = (model,)
        self._make_flow = flow
        self._base_choice = base
        self.transform = None
        self.base = None

    def bare_model(self) -> Callable[..., Any]:
        """The model as it was given; upstream's ``model`` sets the starting values, too.

        Raises:
            RuntimeError: for a guide that was unpickled, which comes without its model.
        """
        if self._bare_model is None:
            raise RuntimeError(
                f"{type(self).__name__}: this guide was unpickled, and the model is not saved with "
                "it; make a new guide of the model and load_state_dict() the saved weights"
            )
        return self._bare_model[0]

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        try:
            self._check_plates()
            transform = self._build_transform()
            like = next(transform.parameters())
            base = make_base(self._base_choice, self.latent_dim, like)
            self.transform = with_stored_weights(self, "transform", transform)
            if base is not None:
                self.base = with_stored_weights(self, "base", base)
        except BaseException:
            self.prototype_trace = None  # so that the next call reports the error again
            raise

    def _check_plates(self) -> None:
        for name, frame in self._prototype_frames.items():
            if frame.full_size is not None and frame.full_size != frame.size:
                raise ValueError(
                    f"{type(self).__name__} does not support local latent variables: plate "
                    f"{name!r} draws {frame.size} of {frame.full_size} rows, so its latents differ "
                    "from step to step; use AutoAmortisedFlow"
                )

    def _build_transform(self) -> Compose:
        loc = self._init_loc().detach()
        flow = checked_flow(self._make_flow(self.latent_dim), self.latent_dim)
        log_scale = torch.full_like(loc, math.log(self.init_scale))
        affine = affine_layer(loc, log_scale, frozen=False)
        frame = affine_layer(torch.zeros_like(loc), torch.zeros_like(loc), frozen=True)
        return Compose([flow, affine, frame]).to(device=loc.device, dtype=loc.dtype)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Sample every latent, with the same arguments as the model."""
        claim_stored_names(self, ("transform", "base"))
        values: dict[str, Tensor] = super().forward(*args, **kwargs)
        return values

    def _flow(self) -> Compose:
        if self.transform is None:
            raise RuntimeError(
                f"{type(self).__name__} has not seen the model yet: call guide(*args) once with "
                "the model's arguments first"
            )
        return self.transform

    def get_base_dist(self) -> Distribution:
        """Distribution of z: the standard Normal, or the learnt base as it is now.

        `NeuTraReparam` only needs to know where z lives and draws a first point from here; its
        target is the model's posterior seen through `get_transform`, whatever the base.
        """
        flow = self._flow()
        if self.base is None:
            return standard_normal(flow)
        base: Distribution = self.base()
        return base

    def get_base(self, *args: Any, **kwargs: Any) -> nn.Module | None:
        """The learnt base, for `save_flow`; None for the standard Normal."""
        self._flow()
        return self.base

    def get_transform(self, *args: Any, **kwargs: Any) -> Compose:
        """The flow with its location and scale, base to unconstrained latents."""
        return self._flow()

    def get_posterior(self, *args: Any, **kwargs: Any) -> FlowDistribution:
        """Distribution of the packed, unconstrained latents."""
        base = self.get_base_dist()
        return FlowDistribution(self._flow(), base, path_gradient=self.path_gradient)

    @torch.no_grad()
    def _draw_latents(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Unconstrained draws (count, D); the sweep's workspace stays bounded by the chunks."""
        flow = self._flow()
        like = next(flow.parameters())
        if self.base is None:
            z = torch.randn(
                count, flow.input_dim, generator=generator, dtype=like.dtype, device=like.device
            )
        else:
            z = draw_seeded(self.get_base_dist(), count, generator)
        return torch.cat([flow.forward_and_log_det(part)[0] for part in z.split(4096)])

    def _constrain(self, latents: Tensor) -> dict[str, Tensor]:
        """Each site's values (n, *site shape) from packed latents (n, D)."""
        # Unit dimensions keep the draws to the left of every plate of the model.
        depth = max((-f.dim for f in self._prototype_frames.values()), default=0)
        spread = latents.reshape(len(latents), *(1,) * depth, self.latent_dim)
        values = {}
        for site, unconstrained in self._unpack_latent(spread):
            value = biject_to(site["fn"].support)(unconstrained)
            values[site["name"]] = value.reshape(len(latents), *site["value"].shape)
        return values

    @torch.no_grad()
    def sample_posterior(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draws from the guide, in the model's own (constrained) coordinates.

        Args:
            num_samples: number of draws n.
            generator: source of randomness on the guide's device; torch's own by default.

        Returns:
            For each latent site a tensor (n, *shape of the site).
        """
        count = checks.positive_int("num_samples", num_samples)
        return self._constrain(self._draw_latents(count, generator))

    @torch.no_grad()
    def median(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Posterior median of each latent, from seeded draws of the guide."""
        return {name: values[0] for name, values in self.quantiles([0.5]).items()}

    @torch.no_grad()
    def quantiles(
        self, quantiles: Sequence[float] | Tensor, *args: Any, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Marginal posterior quantiles of each latent, from seeded draws of the guide.

        Taken coordinate by coordinate in unconstrained space, so that they lie in the support.

        Args:
            quantiles: probabilities between 0 and 1.
            args: the model's arguments, which are not needed.
            kwargs: the same.

        Returns:
            For each latent site a tensor (len(quantiles), *shape of the site).
        """
        like = next(self._flow().parameters())
        generator = torch.Generator(device=like.device).manual_seed(0)
        latents = self._draw_latents(_QUANTILE_DRAWS, generator)
        levels = torch.as_tensor(quantiles, dtype=like.dtype, device=like.device)
        return self._constrain(torch.quantile(latents, levels.reshape(-1), dim=0))

    def __getstate__(self) -> dict[str, Any]:
        # Upstream drops the model from the live guide; here only the copy loses it. Before the
        # first call the copy could not do without.
        model, master = self._model, self.master
        state: dict[str, Any] = dict(super().__getstate__())
        self._model, self.master = model, master
        state["_model"] = None
        if self.prototype_trace is not None:
            state["_bare_model"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._bare_model is not None:
            self._model = (InitMessenger(self.init_loc_fn)(self._bare_model[0]),)

    def __deepcopy__(self, memo: dict[int, Any]) -> "AutoFlow":
        model = self._bare_model[0] if self._bare_model is not None else None
        memo[id(model)] = model  # a copied guide is a guide of the same model
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        state = {**self.__getstate__(), "_bare_model": self._bare_model}
        new.__setstate__(copy.deepcopy(state, memo))
        return new
