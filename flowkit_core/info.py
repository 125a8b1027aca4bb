"""What is installed here: versions, extras, devices.

Frameworks are imported when the report is made, not with this module; one that is broken is told of
and stops nothing.
"""

import importlib
import os
import platform
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import flowkit_core
from flowkit_core.native.library import status

# Extra -> the packages it installs: name to import, name to install.
EXTRAS = {
    "pyro": (("torch", "torch"), ("pyro", "pyro-ppl"), ("scipy", "scipy"), ("tqdm", "tqdm")),
    "numpyro": (
        ("jax", "jax"), ("numpyro", "numpyro"), ("optax", "optax"), ("scipy", "scipy"),
        ("tqdm", "tqdm"),
    ),
    "plot": (("matplotlib", "matplotlib"),),
    "diagnostics": (("arviz", "arviz"),),
}  # fmt: skip
CORE = (("numpy", "numpy"), ("safetensors", "safetensors"))


class Found(NamedTuple):
    """A package, as far as it could be imported."""

    module: ModuleType | None
    version: str
    problem: str

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.version, self.problem)))


def report() -> str:
    """Versions, the extras found and the devices of torch and JAX, as lines of text.

    An extra is there if each of its packages can be imported. Importing torch and JAX takes some
    seconds.

    Example:
        >>> report().startswith(f"ppl-flowkit {flowkit_core.__version__}")
        True
    """
    names = dict.fromkeys([*CORE, *(pair for pairs in EXTRAS.values() for pair in pairs)])
    found = {package: _find(module, package) for module, package in names}
    # What is made by the C compiler is made once, in about a second, and kept.
    devices = {
        "torch": _told(found["torch"], _torch_devices),
        "jax": _told(found["jax"], _jax_devices),
        "sweep on CPUs": status(),
    }
    return "\n".join(
        [
            f"ppl-flowkit {flowkit_core.__version__} in {Path(flowkit_core.__file__).parent}",
            f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} CPUs",
            *_table("package", {name: str(one) for name, one in found.items()}),
            *_table("extra", {extra: _state(extra, found) for extra in EXTRAS}),
            *_table("device", devices),
        ]
    )


def _find(module: str, package: str) -> Found:
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        version = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # announcements of packages are none of this report's
            return Found(importlib.import_module(module), version, "")
    except ModuleNotFoundError as error:
        missing = error.name is not None and error.name.partition(".")[0] == module
        return Found(None, version, "not installed" if missing else _broken(error))
    except Exception as error:  # whatever it is, the rest of the report stands
        return Found(None, version, _broken(error))


def _broken(error: Exception) -> str:
    return f"broken: {type(error).__name__}: {' '.join(str(error).split())}"


def _state(extra: str, found: dict[str, Found]) -> str:
    wrong = {package: found[package] for _, package in EXTRAS[extra]}
    wrong = {package: one for package, one in wrong.items() if one.module is None}
    if not wrong:
        return "yes"
    if any(one.problem != "not installed" for one in wrong.values()):
        return f"broken: {', '.join(wrong)}"
    return f'no: {", ".join(wrong)}; pip install "ppl-flowkit[{extra}]"'


def _told(framework: Found, devices: Callable[[Any], str]) -> str:
    """The devices of a framework, or why it has none."""
    if framework.module is None:
        return framework.problem
    try:
        return devices(framework.module)
    except Exception as error:  # drivers fail in many ways
        return _broken(error)


def _torch_devices(torch: Any) -> str:
    cards = [
        f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())
    ]
    return ", ".join([f"cpu (threads: {torch.get_num_threads()})", *cards])


def _jax_devices(jax: Any) -> str:
    return ", ".join(f"{one.platform}:{one.id} ({one.device_kind})" for one in jax.devices())


def _table(head: str, rows: dict[str, str]) -> list[str]:
    width = max(map(len, [head, *rows]))
    return ["", f"{head}:", *(f"  {name:{width}}  {value}" for name, value in rows.items())]
