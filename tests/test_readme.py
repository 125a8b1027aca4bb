"""The README's examples run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.code_blocks import blocks_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = [(block.heading, block.code) for block in blocks_of(ROOT / "README.md")]


def test_every_python_block_is_an_example_under_a_heading():
    assert len(EXAMPLES) == README.count("```python") == 6


# Two of them are fits to convergence, and each starts a Python of its own.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("title", "code"), [pytest.param(title, code, id=title) for title, code in EXAMPLES]
)
def test_an_example_runs_and_prints_finite_numbers(title, code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.search(r"\d\.\d", done.stdout), done.stdout
    assert not re.search(r"\b(nan|inf)\b", done.stdout), done.stdout


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README + CONTRIBUTING))
def test_a_link_leads_to_a_file(link):
    assert (ROOT / link.partition("#")[0]).exists()


def test_the_commands_are_targets_of_the_makefile():
    commands = re.findall(r"^make (\w+)", README, flags=re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)
    assert commands == ["demo", "test", "docs"]
    assert set(commands) <= set(targets)


def test_every_recipe_stands_in_the_table_of_costs():
    from flowkit_core import recipes

    section = README.partition("## The flows")[2]
    rows = re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)
    assert sorted(rows) == recipes.__all__
