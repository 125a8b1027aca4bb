"""Ground floor of ppl-flowkit: what a flow is, as data. Imports neither torch nor jax."""

__version__ = "0.1.0"

from flowkit_core.checkpoint import read_checkpoint, write_checkpoint
from flowkit_core.safe_file import CheckpointError
from flowkit_core.specs import FlowSpec

__all__ = [
    "CheckpointError",
    "FlowSpec",
    "__version__",
    "read_checkpoint",
    "write_checkpoint",
]
