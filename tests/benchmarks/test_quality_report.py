"""The quality of guides: planning, resumption, bars, the report, and a tiny run."""

import json
import math

import pytest

from benchmarks.quality import __main__ as command
from benchmarks.quality import bars, report, store, summary
from benchmarks.quality.budget import Budget
from benchmarks.quality.cells import PEERS, Cell, cell_of, plan
from benchmarks.quality.pool import run

RUN = {
    "date": "2025-01-01 00:00 UTC", "revision": "abc", "cpu": "Some CPU", "cores": 2,
    "system": "Linux", "workers": 1, "load": [0.5], "python": "3.11.7",
    "versions": {"torch": "2.13"}, "num_steps": 10_000, "num_draws": 10_000,
}  # fmt: skip
GOOD = {
    "run": "r", "family": "posteriordb", "kl": 0.001, "kl_stderr": 0.002, "ess": 0.99,
    "mean_error": 0.02, "sd_error": 0.03, "khat": 0.3, "nan": False, "level": "good",
    "log_evidence_error": 0.001, "log_evidence_stderr": 0.002, "num_steps": 4000,
    "stopped": "converged", "skipped_steps": 0, "seconds": 60.0,
}  # fmt: skip


def row(target="arK", wing="pyro", dtype="float32", seed=0, guide="AutoIAF", **figures):
    return {**Cell(target, wing, dtype, seed, guide).to_dict(), **GOOD, **figures}


def test_the_plan_has_every_combination_and_first_seeds_first():
    cells = plan(["arK", "two_modes"], ("pyro", "numpyro"), ("float32",), 2, peers=True)
    ours = [cell for cell in cells if not cell.is_peer]
    assert len(set(cells)) == len(cells)
    assert len(ours) == 2 * 2 * (1 + 2)
    assert [cell.seed for cell in ours] == [0] * 6 + [1] * 6
    assert {cell.base for cell in ours} == {None, "mixture"}
    assert len(cells) - len(ours) == 2 * sum(map(len, PEERS.values()))
    assert {cell.dtype for cell in cells if cell.is_peer} == {"float64"}
    assert not any(cell.is_peer for cell in plan(["arK"], ("pyro",), ("float32",), 1, peers=False))


def test_a_cell_that_names_no_base_leaves_the_guide_its_default():
    def told(model, **keywords):
        return model, keywords

    assert Cell("arK", "pyro", "float32", 0).our_guide(told, "model") == ("model", {})
    mixture = Cell("two_modes", "pyro", "float32", 0, "AutoIAF(base=mixture)")
    assert mixture.our_guide(told, "model") == ("model", {"base": "mixture"})


def test_rows_come_back_replace_their_own_and_are_not_measured_again(tmp_path):
    cells = plan(["arK"], ("pyro", "numpyro"), ("float32", "float64"), 1, peers=False)
    assert store.missing(tmp_path, cells) == cells
    store.merge(tmp_path, {"r": RUN, "unused": RUN}, [row(kl=1 / 3, khat=-math.inf)])
    store.merge(tmp_path, {}, [row(wing="numpyro", failure="killed")])
    # What failed is tried again.
    assert store.missing(tmp_path, cells) == cells[1:]
    found = store.merge(tmp_path, {"s": RUN}, [row(kl=0.5, khat=math.nan, run="s")])
    assert found == store.load(tmp_path)
    assert set(found["runs"]) == {"r", "s"}
    assert [r["kl"] for r in found["rows"]] == [0.5, 0.001]
    assert math.isnan(float(found["rows"][0]["khat"]))
    json.loads((tmp_path / "quality.json").read_text(), parse_constant=pytest.fail)
    store.forget(tmp_path, cells[:1])
    assert store.missing(tmp_path, cells) == cells


def test_bars_are_missed_by_what_is_beyond_them_and_by_nan():
    assert bars.missed(row()) == []
    assert bars.missed(row("funnel_100", log_evidence_error=0.5)) == []
    (bar,) = bars.missed(row("funnel_10", log_evidence_error=-0.02))
    assert bar.figure == "log_evidence_error"
    bad = row(kl=math.nan, ess=0.9, mean_error=0.06, sd_error=1, khat="inf", nan=True)
    assert [bar.figure for bar in bars.missed(bad)] == [bar.figure for bar in bars.BARS[:-1]]
    assert bars.counts(bars.BARS[0], [row(), row(kl=-0.01), bad]) == (2, 1)


def test_tables_show_median_and_worst_and_mark_what_misses():
    rows = [row(kl=0.001), row(seed=1, kl=0.003, ess=0.8), row(seed=2, kl=0.002)]
    assert summary.figure(rows, "kl", summary.nats) == "0.0020 / 0.0030"
    assert summary.figure(rows, "ess", summary.percent) == "**99.0 / 80.0**"
    rows[0]["khat"] = "nan"
    assert summary.figure(rows, "khat", summary.decimals(2)) == "**0.30 / nan**"
    assert summary.words([*rows, row(level="do not trust")], "level") == "good 3, do not trust 1"
    assert summary.nans([row(nan=True, skipped_steps=2)]) == "**1 / 2**"
    assert summary.figure([], "kl", summary.nats) == "-"


def test_the_report_shows_tables_peers_what_was_missed_and_whose_the_posteriors_are():
    rows = [
        row(), row(seed=1, kl=0.03), row("funnel_10", family="synthetic"),
        row(dtype="float64"), row(dtype="float64", guide="AutoNormal", kl=4.63, khat=1.08),
        row("banana", failure="ValueError: no"),
    ]  # fmt: skip
    lines = report.render({"runs": {"r": RUN}, "rows": rows})
    text = "\n".join(lines)
    assert (
        "| Posteriors of posteriordb: KL(guide to posterior), nats | < 0.02 | 2 | **1** |" in text
    )
    assert "| arK | AutoIAF | pyro | float32 | 2 | **0.0155 / 0.0300** (+- 0.0020) |" in text
    assert "| funnel_10 | AutoIAF | pyro | float32 | 1 | 0.0010 / 0.0010 (+- 0.0020) |" in text
    assert "| arK | pyro | float64 | 4.63 / 1.08 | 0.0010 / 0.30 |" in text
    assert "| arK | AutoIAF | pyro | float32 | 1 | KL(guide to posterior), nats 0.0300" in text
    assert "- banana, AutoIAF, pyro, float32, seed 0: ValueError: no" in text
    assert "- 6 fits of at most 10000 steps" in text
    assert "commit 28f8d3d), BSD 3-Clause, Copyright (c) 2011-2024" in text
    assert "Credit" not in "\n".join(report.render({"runs": {}, "rows": rows[2:3]}))
    assert "Nothing has been measured." in report.render({"runs": {}, "rows": []})


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Folders of the command's results that are not the repository's."""
    for name in ("RUNNING", "RUNNING_QUICK", "RESULTS"):
        monkeypatch.setattr(command, name, tmp_path / name)
    (tmp_path / "RESULTS").mkdir()
    return tmp_path


def test_a_run_that_is_cut_short_is_taken_up_again(elsewhere, monkeypatch, capsys):
    asked = []

    def cut_short(cells, *_):
        for cell in cells:
            asked.append(cell)
            yield cell, GOOD
            if len(asked) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_all", cut_short)
    options = "--seeds 2 --skip-peers --wings numpyro --dtypes float64 --only funnel_10 banana"
    arguments = ["--posteriors", str(elsewhere / "nowhere"), *options.split()]
    with pytest.raises(KeyboardInterrupt):
        command.main(arguments)
    assert len(store.load(elsewhere / "RESULTS")["rows"]) == 2
    assert command.main(arguments) == 0
    expected = [Cell(t, "numpyro", "float64", s) for s in (0, 1) for t in ("funnel_10", "banana")]
    assert asked == expected
    complaints = capsys.readouterr().err
    assert "there is no folder" in complaints
    assert "Only the synthetic targets are measured" in complaints
    assert "2 of 4 fits are there already" in complaints
    assert (elsewhere / "RESULTS" / "QUALITY.md").read_text().startswith("# Quality of guides")
    command.main([*arguments, "--fresh"])
    assert asked == expected + expected
    rows = store.load(elsewhere / "RESULTS")["rows"]
    assert sorted(map(str, map(cell_of, rows))) == sorted(map(str, expected))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["--only", "funny"], "no target has 'funny' in its name"), (["--seeds", "0"], "at least 1")],
)
def test_wrong_arguments_are_refused(arguments, complaint, capsys):
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert complaint in capsys.readouterr().err


# One process for several things: it takes seconds to import its framework.
def test_a_tiny_fit_in_a_process_of_its_own_yields_a_row(tmp_path):
    cell = Cell("two_modes", "pyro", "float64", 0, "AutoIAF(base=mixture)")
    found = run(cell, Budget(num_steps=5, num_draws=200), tmp_path)
    assert found["family"] == "synthetic"
    assert found["num_steps"] == 5
    assert math.isfinite(found["kl"])
    assert {"mean_error", "sd_error", "khat", "nan", "level", "stopped"} <= set(found)


def test_a_failed_fit_yields_its_reason(tmp_path):
    found = run(Cell("unheard-of", "pyro", "float64", 0), Budget(5, 200), tmp_path)
    assert found["failure"].startswith("KeyError: 'unheard-of'")
