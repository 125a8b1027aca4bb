"""Optional dependencies: imported, or asked for by the command that installs them."""

import json
import sys

import pytest

from flowkit_core.extras import require


def test_what_is_installed_is_imported():
    assert require("json", extra="plot", purpose="a test") is json
    assert require("os.path", extra="plot", purpose="a test") is sys.modules["os.path"]


@pytest.mark.parametrize("module", ["nonexistent_package", "nonexistent_package.inner.part"])
def test_what_is_missing_is_asked_for_by_command(module):
    with pytest.raises(ImportError) as caught:
        require(module, extra="plot", purpose="a picture")
    assert str(caught.value) == (
        "a picture needs 'nonexistent_package', which is not installed; "
        'install it with: pip install "ppl-flowkit[plot]"'
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


BROKEN = {
    "needs another package": ("import another_nonexistent_package", ModuleNotFoundError),
    "lacks a name": ("from json import nonexistent", ImportError),
    "fails": ("1 / 0", ZeroDivisionError),
    "fails to find": ("raise ModuleNotFoundError('no name given')", ModuleNotFoundError),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_error_inside_an_installed_package_is_passed_on(case, tmp_path, monkeypatch):
    source, error = BROKEN[case]
    name = f"broken_{case.replace(' ', '_')}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error) as caught:
        require(name, extra="plot", purpose="a picture")
    assert "ppl-flowkit" not in str(caught.value)


def test_a_missing_part_of_an_installed_package_names_the_package():
    with pytest.raises(ImportError, match="needs 'json'"):
        require("json.nonexistent", extra="plot", purpose="a picture")
