"""Ratios, exponents, numbers and tables of the benchmarks."""

import pytest

from benchmarks import statistics
from benchmarks.statistics import Ratio
from benchmarks.tables import milliseconds, number, scientific, spread, table
from tests.benchmarks.cells import cell, times


def test_ratios_are_formed_inside_rounds_before_the_median():
    # The machine was slow in the second round; both were, so the ratio stays 3.
    measured = cell(pyro_flowkit=times(1.0, 10.0, 2.0), zuko=times(3.0, 30.0, 4.0))
    assert statistics.ratio(measured, "zuko", "pyro_flowkit") == Ratio(3.0, 2.0, 3.0, "zuko")


def test_the_fastest_peer_has_the_smallest_median_and_is_not_ours():
    measured = cell(
        pyro_flowkit=times(0.1, 0.1, 0.1),
        pyro={"skipped": "too narrow"},
        zuko=times(3.0, 3.0, 0.2),
        nflows=times(2.0, 2.0, 2.0),
    )
    assert statistics.fastest_peer(measured, "pyro_flowkit") == "nflows"
    assert statistics.speedup(measured, "pyro_flowkit").median == pytest.approx(20)


def test_without_figures_there_is_no_ratio():
    alone = cell(pyro_flowkit=times(1.0), zuko={"skipped": "no inverse"})
    assert statistics.fastest_peer(alone, "pyro_flowkit") is None
    assert statistics.speedup(alone, "pyro_flowkit") is None
    assert statistics.ratio(alone, "zuko", "pyro_flowkit") is None
    assert statistics.typical(alone, "zuko") is None


def test_wall_time_counts_on_an_accelerator():
    entries = {"pyro_flowkit": times(1.0, 1.0, 1.0)}
    assert statistics.typical(cell(**entries), "pyro_flowkit") == 1.0
    assert statistics.typical(cell(device="cuda", **entries), "pyro_flowkit") == 2.0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.01234, "0.0123"),
        (1.0, "1.00"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12346"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_other_forms_of_numbers():
    assert milliseconds(0.0123) == "12.3"
    assert milliseconds(None) == "-"
    assert scientific(1.23e-7) == "1.2e-07"
    assert scientific(None) == "-"
    assert spread(Ratio(2.0, 1.5, 3.0)) == "2.00 (1.50 to 3.00)"
    assert spread(None) == "-"


def test_tables_are_markdown_and_escape_bars():
    assert table(["a", "|x|"], [["1", 2]]) == [
        "| a | \\|x\\| |",
        "| :-- | --: |",
        "| 1 | 2 |",
    ]
