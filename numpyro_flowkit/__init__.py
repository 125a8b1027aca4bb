"""The NumPyro wing of ppl-flowkit: normalizing flows as native NumPyro transforms."""

from flowkit_core.extras import require as _require

for _module in ("jax", "numpyro"):
    _require(_module, extra="numpyro", purpose="numpyro_flowkit")

from flowkit_core import CheckpointError, __version__  # noqa: E402
from numpyro_flowkit.build import FlowInit, build  # noqa: E402
from numpyro_flowkit.checkpoint import load_flow, save_flow  # noqa: E402
from numpyro_flowkit.density import fit_density  # noqa: E402
from numpyro_flowkit.distributions import FlowDistribution  # noqa: E402
from numpyro_flowkit.guides import AutoFlow, AutoIAF, AutoMAF, AutoRealNVP  # noqa: E402
from numpyro_flowkit.recipes import (  # noqa: E402
    compose,
    iaf,
    lu_linear,
    maf,
    nice,
    permute,
    qr_linear,
    realnvp,
)
from numpyro_flowkit.transforms import ConditionedFlow, Flow  # noqa: E402

__all__ = [
    "AutoFlow",
    "AutoIAF",
    "AutoMAF",
    "AutoRealNVP",
    "CheckpointError",
    "ConditionedFlow",
    "Flow",
    "FlowDistribution",
    "FlowInit",
    "__version__",
    "build",
    "compose",
    "fit_density",
    "iaf",
    "load_flow",
    "lu_linear",
    "maf",
    "nice",
    "permute",
    "qr_linear",
    "realnvp",
    "save_flow",
]
