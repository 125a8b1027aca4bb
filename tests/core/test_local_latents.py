"""How the latents of a plate's rows are packed."""

import numpy as np
import pytest

from flowkit_core.local_latents import (
    LocalLatents,
    LocalSite,
    local_site,
    only_plate,
    rows_of,
)
from flowkit_core.model_problems import ModelError


@pytest.mark.parametrize("inner", [(), (5,)])
@pytest.mark.parametrize("lead", [(), (2,), (2, 1)])
def test_sites_of_a_row_lie_one_behind_the_other(lead, inner):
    dim = -1 - len(inner)
    sites = (
        local_site("a", dim, (4, *inner), (), "rows"),
        local_site("b", dim, (4, *inner), (2, 3), "rows"),
    )
    local = LocalLatents("rows", 4, dim, sites)
    count = int(np.prod(inner))
    assert local.size == count * 7
    packed = np.arange(np.prod(lead, dtype=int) * 4 * local.size)
    packed = packed.reshape(*lead, 4, *local.row_batch, local.size)
    found = [packed[..., where].reshape(local.shape_of(site, packed.shape))
             for site, where in local.slices()]  # fmt: skip
    assert [part.shape for part in found] == [(*lead, 4, *inner), (*lead, 4, *inner, 2, 3)]
    # Row by row the parts hold the row's numbers, and no other's.
    rows = packed.reshape(-1, local.size)
    flat = [part.reshape(len(rows), -1) for part in found]
    np.testing.assert_array_equal(np.concatenate(flat, -1), rows)


def test_a_site_inside_of_two_plates_is_refused():
    with pytest.raises(ModelError, match="plate 'rows' lies inside of another one"):
        local_site("z", -1, (3, 4), (), "rows")


def test_the_only_plate_is_found_and_others_have_to_be_named():
    around = {"mu": [], "z": ["rows"], "w": ["rows", "inner"]}
    assert only_plate("rows", around) == "rows"
    with pytest.raises(ModelError, match=r"name the plate .* 'inner', 'rows'"):
        only_plate(None, around)
    with pytest.raises(ModelError, match="it has none"):
        only_plate(None, {})


def test_rows_of_data_are_all_or_some():
    local = LocalLatents("rows", 10, -1, (LocalSite("z", (), ()),))
    assert [rows_of(local, count, 4) for count in (10, 3, 1)] == [4, 3, 1]
    for count in (0, 11):
        with pytest.raises(ModelError, match=f"the 10 rows of plate 'rows'.* got {count} rows"):
            rows_of(local, count, 4)
