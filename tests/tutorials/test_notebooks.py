"""The notebooks: committed with outputs, small and clean; the two shortest are executed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tutorials.notebooks import FOLDER, execute, on_stderr, parsed

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 300_000
# Executed in fewer steps, which these notebooks take by an environment variable.
SHORTEST = ("1", "6")


def read(path):
    return nbformat.read(path, as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def test_there_are_six_in_order():
    assert [path.name.partition("_")[0] for path in NOTEBOOKS] == list("123456")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_it_is_small_and_valid(self, path):
        nbformat.validate(read(path))
        assert path.stat().st_size < MAX_BYTES

    def test_it_says_what_one_learns_and_what_to_try_next(self, path):
        texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
        assert texts[0].startswith(f"# {path.name[0]}. ")
        assert "**What you learn.**" in texts[0]
        assert "## What to try next" in texts[-1]
        assert "**Sources.**" in texts[-1] or "**See also.**" in texts[-1]

    def test_it_was_executed_from_top_to_bottom_without_a_warning(self, path):
        notebook = read(path)
        counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
        assert counts == list(range(1, len(counts) + 1))
        assert on_stderr(notebook) == ""

    def test_it_uses_both_libraries_and_shows_pictures(self, path):
        notebook = read(path)
        code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        assert {"pyro_flowkit", "numpyro_flowkit"} <= set(re.findall(r"\w+_flowkit", code))
        assert any("image/png" in output.get("data", {}) for output in outputs(notebook))

    def test_no_output_has_a_path_of_the_machine_or_a_number_that_is_none(self, path):
        texts = [
            o.get("text", o.get("data", {}).get("text/plain", "")) for o in outputs(read(path))
        ]
        found = re.findall(r"(?:/tmp|/home|/root|/work)/\S*|\bnan\b|\binf\b", "\n".join(texts))
        assert not found


def test_the_readme_lists_them():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"(tutorials/{path.name})" in readme for path in NOTEBOOKS)


def test_numbers_choose_notebooks():
    assert [path.name[0] for path in parsed(["2", "6"]).paths] == ["2", "6"]
    assert parsed([]).paths == NOTEBOOKS
    with pytest.raises(SystemExit):
        parsed(["7"])


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("print(1)", ""),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import warnings; warnings.warn('beware')", "beware"),
        ("import os; os._exit(1)", "the kernel died"),
        ("import time; time.sleep(60)", "not done after"),
    ],
)
def test_what_goes_wrong_in_a_notebook_is_told(tmp_path, code, problem):
    path = tmp_path / "one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), path)
    found = execute(path, limit=6 if "sleep" in code else 60)[1]
    assert problem in found
    assert bool(problem) == bool(found)


@pytest.mark.slow
@pytest.mark.parametrize("number", SHORTEST)
def test_the_shortest_run_from_top_to_bottom(number):
    done = subprocess.run(
        [sys.executable, "-m", "tutorials.notebooks", number],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"FLOWKIT_QUICK": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
