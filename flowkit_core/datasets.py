"""Small published data sets that examples need; nothing is downloaded."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reference:
    """Posterior mean and standard deviation of one quantity from a long reference run."""

    mean: float
    sd: float


@dataclass(frozen=True)
class EightSchools:
    """Estimated effects of coaching in eight schools, and their standard errors.

    ``y`` and ``sigma`` are the numbers of Rubin, "Estimation in Parallel Randomized Experiments",
    1981, table 1. The reference figures hold for the model ``mu ~ N(0, 5)``,
    ``tau ~ HalfCauchy(5)``, ``theta_j ~ N(mu, tau)``, ``y_j ~ N(theta_j, sigma_j)``, centred or
    not; they are those of posteriordb's ``eight_schools_noncentered`` (10 000 draws; Magnusson,
    Buerkner, Vehtari, 2023, BSD 3-Clause). ``log_evidence`` is log p(y) in nats, by quadrature over
    mu and tau with the thetas integrated exactly.
    """

    y: NDArray[np.float64]
    sigma: NDArray[np.float64]
    reference: MappingProxyType[str, Reference]
    log_evidence: float


def eight_schools() -> EightSchools:
    """The eight schools, with reference answers for mu and tau.

    Example:
        >>> eight_schools().y
        array([28.,  8., -3.,  7., -1.,  1., 18., 12.])
    """
    return EightSchools(
        y=np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),
        sigma=np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]),
        reference=MappingProxyType(
            {"mu": Reference(4.410518, 3.309296), "tau": Reference(3.60206, 3.198478)}
        ),
        log_evidence=-31.311347,
    )
