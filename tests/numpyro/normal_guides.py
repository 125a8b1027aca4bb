"""The named guides with a Normal base, for which there are closed forms; and a table of them."""

from functools import partial

import pytest

import numpyro_flowkit as fk

AutoMAF = partial(fk.AutoMAF, base="normal")
AutoIAF = partial(fk.AutoIAF, base="normal")
AutoRealNVP = partial(fk.AutoRealNVP, base="normal")
GUIDES = {"maf": AutoMAF, "iaf": AutoIAF, "realnvp": AutoRealNVP}

# Of a MAF guide every program is compiled with a sweep for its draws; training one to the posterior
# is among the default tests.
every_guide = pytest.mark.parametrize(
    "name", [pytest.param("maf", marks=pytest.mark.slow), "iaf", "realnvp"]
)
