"""What is measured: one fit of one guide to one target."""

from dataclasses import asdict, dataclass

from benchmarks.quality import synthetic

WINGS = ("pyro", "numpyro")
DTYPES = ("float32", "float64")
OURS = "AutoIAF"
# Peers get one seed, and the precision in which they do best.
PEERS = {
    "pyro": ("AutoNormal", "AutoMultivariateNormal", "AutoIAFNormal"),
    "numpyro": ("AutoNormal", "AutoMultivariateNormal", "AutoIAFNormal", "AutoBNAFNormal"),
}
PEER_DTYPE = "float64"


@dataclass(frozen=True)
class Cell:
    """One fit, which happens in a process of its own.

    Args:
        target: name of a posterior or of a synthetic target.
        wing: "pyro" or "numpyro".
        dtype: "float32" or "float64".
        seed: of the fit.
        guide: name of a guide class, of ours with the base if it is not the default one.
    """

    target: str
    wing: str
    dtype: str
    seed: int
    guide: str = OURS

    @property
    def is_peer(self):
        """Whether the guide is one of the framework's own."""
        return self.guide in PEERS[self.wing]

    @property
    def base(self):
        """The base that our guide is told to have; None for its default."""
        return self.guide.partition("base=")[2].rstrip(")") or None

    def our_guide(self, guide_class, model):
        """Our guide, with default settings save for a base that the cell names."""
        return guide_class(model) if self.base is None else guide_class(model, base=self.base)

    def to_dict(self):
        """Plain values."""
        return asdict(self)


def cell_of(row):
    """The cell that a row of results belongs to."""
    return Cell(**{name: row[name] for name in Cell.__dataclass_fields__})


def plan(targets, wings, dtypes, num_seeds, *, peers):
    """All cells; the first seed of everything first, so that a run cut short has seen it all.

    Args:
        targets: names.
        wings: names.
        dtypes: names.
        num_seeds: fits of ours per target, wing and dtype.
        peers: whether to fit the framework's own guides, too.
    """
    cells = []
    for seed in range(num_seeds):
        for target in targets:
            guides = [OURS]
            if target in synthetic.CHOSEN_BASE:
                guides.append(f"{OURS}(base={synthetic.CHOSEN_BASE[target]})")
            cells += [
                Cell(target, wing, dtype, seed, guide)
                for wing in wings
                for dtype in dtypes
                for guide in guides
            ]
    if peers:
        cells += [
            Cell(target, wing, PEER_DTYPE, 0, guide)
            for target in targets
            for wing in wings
            for guide in PEERS[wing]
        ]
    return cells
