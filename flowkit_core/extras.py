"""Optional dependencies: import them, or say which command installs them."""

import importlib
from types import ModuleType


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, or raise an ImportError that names the command which installs it.

    Args:
        module: dotted name of the optional module.
        extra: the extra of ``ppl-flowkit`` that provides it.
        purpose: what needs it, for the message.

    Raises:
        ImportError: if the module's top-level package is not installed. An error raised while an
            installed package is being imported is passed on as it is.

    Example:
        >>> require("json", extra="plot", purpose="a demonstration").__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top_level = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top_level:
            raise
        raise ImportError(
            f"{purpose} needs {top_level!r}, which is not installed; "
            f'install it with: pip install "ppl-flowkit[{extra}]"'
        ) from error
