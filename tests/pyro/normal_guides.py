"""The named guides with a Normal base, for which there are closed forms; and a table of them."""

from functools import partial

import pyro_flowkit as fk

AutoMAF = partial(fk.AutoMAF, base="normal")
AutoIAF = partial(fk.AutoIAF, base="normal")
AutoRealNVP = partial(fk.AutoRealNVP, base="normal")
GUIDES = {"maf": AutoMAF, "iaf": AutoIAF, "realnvp": AutoRealNVP}
