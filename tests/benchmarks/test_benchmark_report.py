"""Bars, verdicts, remarks, stored results and the report of the benchmarks."""

import dataclasses

import pytest

from benchmarks import remarks, report, store
from benchmarks.bars import Bar, all_bars, figure_of, verdict
from benchmarks.sections import SECTIONS, section
from benchmarks.statistics import Ratio
from tests.benchmarks.cells import RUN, cell, times

SAMPLING = [
    cell(
        pyro_flowkit=times(0.01, 0.01, 0.01),
        zuko=times(0.2, 0.3, 0.1),
        pyro={"skipped": "Hidden dimension must not be less than input dimension."},
    ),
    cell(operation="score", pyro_flowkit=times(0.005, 0.005, 0.005)),
]
BAR = Bar("sampling", "speedup", "torch", 64, 128, "sample", 18)


def test_a_figure_is_found_by_its_cell():
    assert figure_of(BAR, SAMPLING) == Ratio(
        pytest.approx(20), pytest.approx(10), pytest.approx(30), "zuko"
    )
    for change in ({"dim": 32}, {"hidden": 512}, {"backend": "jax"}, {"operation": "score_grad"}):
        assert figure_of(dataclasses.replace(BAR, **change), SAMPLING) is None


def test_cells_of_accelerators_are_not_held_to_the_bars():
    elsewhere = [{**SAMPLING[0], "device": "cuda"}]
    assert figure_of(BAR, elsewhere) is None


@pytest.mark.parametrize(
    ("at_least", "found", "outcome"),
    [
        (True, Ratio(18, 17, 19), "met"),
        (True, Ratio(9, 8, 10), "missed by 50.0%"),
        (True, Ratio(17.1, 16, 18), "missed by 5.0%, within the spread"),
        (False, Ratio(18, 17, 19), "met"),
        (False, Ratio(19.8, 19, 20), "missed by 10.0%"),
        (False, Ratio(19.8, 18, 20), "missed by 10.0%, within the spread"),
        (True, None, "not measured"),
    ],
)
def test_verdicts_say_by_how_much(at_least, found, outcome):
    assert verdict(dataclasses.replace(BAR, at_least=at_least), found) == outcome


def test_memory_is_compared_with_own_scoring():
    bar = Bar("memory", "memory", "torch", 64, 128, "sample_grad", 1.3, at_least=False)
    cells = [
        cell(operation="sample_grad", pyro_flowkit={"bytes": [30, 10, 20]}, zuko={"bytes": [90]}),
        cell(operation="score_grad", pyro_flowkit={"bytes": [10]}),
    ]
    assert figure_of(bar, cells).median == 2
    assert figure_of(bar, cells[:1]) is None


def test_compile_times_are_compared_with_flowjax():
    compiled = cell(
        "jax",
        256,
        operation="sample_grad",
        numpyro_flowkit=times(4.0, 4.0),
        flowjax=times(8.0, 6.0),
    )
    bar = Bar("compile", "flowjax", "jax", 256, 128, "sample_grad", 1)
    assert figure_of(bar, [compiled]).median == 1.75
    assert figure_of(dataclasses.replace(bar, figure="seconds"), [compiled]).median == 4


def test_keys_of_bars_are_unique_and_begin_with_a_section():
    keys = [bar.key for bar in all_bars()]
    assert len(set(keys)) == len(keys)
    assert {key.split("/")[0] for key in keys} <= set(SECTIONS)


def test_sections_have_what_the_report_needs():
    for name in SECTIONS:
        module = section(name)
        assert module.TITLE
        assert module.ABOUT
        assert callable(module.measure)
        assert callable(module.render)


def test_remarks_are_found_by_section():
    text = (
        "# Title\nno key\n## sampling\nall of it\n\nmore\n## sampling/torch\n## scoring/jax\nwhy\n"
    )
    found = remarks.read_remarks(text)
    assert found == {"sampling": "all of it\n\nmore", "scoring/jax": "why"}
    assert remarks.about("sampling", found) == {"sampling": "all of it\n\nmore"}
    assert remarks.about("score", found) == {}


def test_remarks_of_the_repository_can_be_read():
    for key in remarks.read_remarks(remarks.PATH.read_text()):
        assert key.split("/")[0] in SECTIONS


def test_sections_of_separate_runs_merge(tmp_path):
    assert store.load(tmp_path) == {}
    store.save_section(tmp_path, "sampling", RUN, SAMPLING)
    store.save_section(tmp_path, "scoring", RUN, [])
    again = [cell(pyro_flowkit=times(1 / 3))]
    results = store.save_section(tmp_path, "sampling", RUN, again)
    assert list(results) == list(store.load(tmp_path)) == ["sampling", "scoring"]
    (stored,) = store.load(tmp_path)["sampling"]["cells"]
    assert stored["entries"]["pyro_flowkit"]["cpu"] == [0.333333]
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_the_report_shows_figures_beside_bars_gaps_remarks_and_the_run(tmp_path):
    results = {"sampling": {"run": RUN, "cells": SAMPLING}}
    notes = {"sampling/torch": "Why it is so."}
    text = "\n".join(report.render(results, notes, {"sampling": ["sampling.png"]}))
    assert "| at least 18 | 20.0 (10.0 to 30.0) | zuko | met |" in text
    assert "| 64 / 128 | 10.0 | 200 | - | zuko | 20.0 (10.0 to 30.0) |" in text
    assert "pyro at 64 / 128: Hidden dimension must not be less" in text
    assert "| torch | cpu | 64 / 128 | 2.00 |" in text
    assert "*sampling/torch*: Why it is so." in text
    assert "![Sampling from a MAF](plots/sampling.png)" in text
    assert "no CUDA device for torch and jax" in text
    assert "Some CPU, 2 cores" in text
    assert "Not measured yet: noise, sampling_gradient" in text


def test_the_report_and_its_pictures_are_written(tmp_path):
    path = report.write(tmp_path, {"sampling": {"run": RUN, "cells": SAMPLING}})
    assert path.read_text().startswith("# Results")
    assert (tmp_path / "plots" / "sampling.png").stat().st_size > 1000
