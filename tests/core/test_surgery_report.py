"""The report of ELBO surgery: tables, plain values, pictures."""

import json
import math

import numpy as np
import pytest

from flowkit_core import surgery_plots
from flowkit_core.surgery import (
    Bounds,
    ElboSurgery,
    Estimate,
    compare,
    mean_over_neighbours,
    mean_over_rows,
    rows_per_tile,
    slices,
    stratified,
    surgery_of_terms,
    tile_shape,
    uniform_with_own,
)


def terms(rng, shift=0.0, **keywords):
    own = rng.normal(5, 1, (2, 50))
    return surgery_of_terms(own, own - 4 - shift, aggregate=own - 3, **keywords)


def test_a_report_prints_and_becomes_json(rng):
    found = terms(rng, log_likelihood=rng.normal(-20, 1, (2, 50)))
    told = str(found)
    for part in ("E log p(x | z)", "average KL", "mutual information", "marginal KL", "ELBO"):
        assert part in told
    assert "3.000 +- 0.000" in told
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["avg_kl"]["value"] == pytest.approx(4)
    assert plain["log_n"] == pytest.approx(math.log(50))
    assert found.mutual_information_bits == pytest.approx(3 / math.log(2))


def test_bounds_print_as_an_interval(rng):
    own = rng.normal(size=(1, 50))
    found = surgery_of_terms(own, own - 4, others=own - 2, num_others=7)
    assert isinstance(found.mutual_information, Bounds)
    assert " to " in str(found)
    assert json.loads(json.dumps(found.to_dict()))["reconstruction"] is None
    low, high = found.mutual_information_bits
    assert low <= high


def test_surgeries_stand_side_by_side(rng):
    one = terms(rng, log_likelihood=rng.normal(size=(2, 50)))
    table = compare({"standard": one, "flow": terms(rng)})
    lines = table.splitlines()
    assert lines[0].split() == ["standard", "flow"]
    assert next(line for line in lines if line.startswith("ELBO")).endswith("-")
    assert len({len(line) for line in lines}) == 1
    with pytest.raises(ValueError, match="surgeries: expected at least one"):
        compare({})


def test_neither_aggregate_nor_others_is_refused(rng):
    own = rng.normal(size=(1, 5))
    with pytest.raises(ValueError, match="got neither"):
        surgery_of_terms(own, own)


def test_several_draws_tell_the_error_within_data_points(rng):
    centres = 100 * rng.normal(size=50)
    values = centres + rng.normal(size=(10, 50))
    assert mean_over_rows(values).stderr == pytest.approx(1 / math.sqrt(500), rel=0.1)
    assert mean_over_rows(values[:1]).stderr > 5
    assert math.isnan(mean_over_rows(values[:1, :1]).stderr)


def test_rows_that_share_draws_have_larger_errors(rng):
    shared = np.repeat(rng.normal(size=(1, 40)), 5, axis=1)
    found = mean_over_neighbours(shared, 5)
    assert found.stderr == pytest.approx(1 / math.sqrt(40), rel=0.3)
    assert mean_over_neighbours(shared, 50).stderr == mean_over_rows(shared).stderr


def test_the_two_estimates_of_the_density_by_hand():
    # Own density 0.8; others 0.1, 0.3 out of n = 10.
    own, others = np.log([0.8]), np.log([0.4])
    assert np.exp(uniform_with_own(own, others, 2)) == pytest.approx(1.2 / 3)
    expected = 0.1 * 0.8 + 0.9 * 0.2
    assert np.exp(stratified(own, others, 2, num_data=10)) == pytest.approx(expected)


@pytest.mark.parametrize("limit", [3000, 2**16, 2**20, 2**26])
@pytest.mark.parametrize("features", [2, 64, 560])
def test_tiles_fit_their_limit_or_say_what_they_need(limit, features):
    if limit < 16 * features * 3 + 48:  # one row, two columns
        with pytest.raises(ValueError, match="memory_limit: expected at least"):
            tile_shape(features, limit)
        return
    rows, columns = tile_shape(features, limit)
    assert 24 * rows * columns + 16 * features * (rows + columns) <= limit


def test_runs_cover_everything_once():
    assert [list(range(10))[part] for part in slices(10, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(slices(0, 4)) == []
    with pytest.raises(ValueError, match="at least 100 bytes"):
        rows_per_tile(100, 99)


def test_pictures_show_the_parts(rng, tmp_path):
    one = terms(rng, log_likelihood=rng.normal(-20, 1, (2, 50)))
    figure = surgery_plots.surgery_bars({"a": one, "b": one}, path=tmp_path / "bars.png")
    left, right = figure.axes
    widths = [bar.get_width() for bar in left.patches]
    assert widths == pytest.approx([3, 3, 1, 1])
    assert sum(bar.get_width() for bar in right.patches[::2]) == pytest.approx(-one.elbo.value)
    assert (tmp_path / "bars.png").stat().st_size > 5000
    assert len(terms(rng).plot().axes) == 1
    own = rng.normal(size=(1, 50))
    surgery_of_terms(own, own - 4, others=own - 2, num_others=7).plot(tmp_path / "bounds.png")
    with pytest.raises(ValueError, match="at least one"):
        surgery_plots.surgery_bars({})


def test_a_picture_of_latents_is_in_the_first_series_order(rng):
    figure = surgery_plots.dimension_bars({"all": [1.0, 3.0, 2.0], "some": [0.1, 0.2, 0.3]})
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx([3, 2, 1, 0.2, 0.3, 0.1])
    with pytest.raises(ValueError, match="parts: expected series of one length"):
        surgery_plots.dimension_bars({"all": [1.0], "some": [1.0, 2.0]})


def test_projections_share_their_axes(rng):
    figure = surgery_plots.projections(
        rng.normal(size=(50, 3)), rng.normal(size=(20, 3)), pairs=((0, 1), (1, 2))
    )
    assert len(figure.axes) == 4
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    with pytest.raises(ValueError, match="pairs: expected latents from 0 to 2"):
        surgery_plots.projections(np.zeros((5, 3)), np.zeros((5, 3)), pairs=((0, 3),))
    with pytest.raises(ValueError, match=r"got \(5, 3\) and \(5, 2\)"):
        surgery_plots.projections(np.zeros((5, 3)), np.zeros((5, 2)))


def test_an_estimate_reads_as_a_number():
    assert float(Estimate(1.5, 0.1)) == 1.5
    assert not Estimate(1.0, 0.1).within(1.5)
    assert Bounds(Estimate(1, 0.1), Estimate(2, 0.1)).interval(1) == (0.9, 2.1)
    assert isinstance(terms(np.random.default_rng(0)), ElboSurgery)
