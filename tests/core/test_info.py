"""`python -m flowkit_core info` of a full installation, of the core alone, of ruins."""

import re
import tomllib

import pytest

import flowkit_core
from flowkit_core import info
from flowkit_core.__main__ import main
from tests.interpreter import ROOT, run

FRAMEWORKS = ("torch", "pyro", "jax", "numpyro", "optax", "scipy", "tqdm", "matplotlib", "arviz")
COMMAND = """
    import sys
    sys.path.insert(0, {folder!r})
    from flowkit_core import __main__, info
    print(sorted({{"torch", "jax", "matplotlib"}} & set(sys.modules)))
    __main__.main(["info"])
"""


def names(requirements):
    return {re.match(r"[\w.-]+", one).group() for one in requirements}


def test_the_extras_are_those_of_the_distribution():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert names(project["dependencies"]) == {package for _, package in info.CORE}
    for extra, pairs in info.EXTRAS.items():
        assert names(project["optional-dependencies"][extra]) == {package for _, package in pairs}
    assert project["optional-dependencies"]["all"] == [f"ppl-flowkit[{','.join(info.EXTRAS)}]"]


def test_a_full_installation_has_every_extra_and_says_on_what_it_computes(capsys):
    main(["info"])
    printed = capsys.readouterr().out
    assert printed.startswith(f"ppl-flowkit {flowkit_core.__version__} in {ROOT}")
    for extra in info.EXTRAS:
        assert re.search(rf"^  {extra} +yes$", printed, flags=re.MULTILINE), printed
    assert re.search(r"^  torch +cpu \(threads: \d+\)", printed, flags=re.MULTILINE)
    assert re.search(r"^  jax +\w+:\d+ \(", printed, flags=re.MULTILINE)
    assert re.search(r"^  numpy +\d+\.\d+", printed, flags=re.MULTILINE)


def test_the_core_alone_says_how_to_install_each_extra():
    done = run(COMMAND.format(folder=""), blocked=FRAMEWORKS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("[]\n")  # the module itself imports none of them
    for extra, pairs in info.EXTRAS.items():
        missing = ", ".join(package for _, package in pairs)
        assert f'no: {missing}; pip install "ppl-flowkit[{extra}]"\n' in done.stdout
    assert re.search(r"^  jax +not installed$", done.stdout, flags=re.MULTILINE)


def test_a_broken_package_is_told_of_and_stops_nothing(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise OSError('lib.so: cannot open\\n shared file')")
    (tmp_path / "arviz.py").write_text("import a_package_that_is_not_there")
    done = run(COMMAND.format(folder=str(tmp_path)), blocked=FRAMEWORKS[:7])
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^  plot +broken: matplotlib$", done.stdout, flags=re.MULTILINE)
    assert "broken: OSError: lib.so: cannot open shared file\n" in done.stdout
    assert re.search(r"^  diagnostics +broken: arviz$", done.stdout, flags=re.MULTILINE)
    assert "broken: ModuleNotFoundError: No module named 'a_package_that_is" in done.stdout


def test_devices_that_fail_are_told_of(monkeypatch):
    def fail(_):
        raise RuntimeError("driver too old")

    monkeypatch.setattr(info, "_jax_devices", fail)
    assert re.search(r"^  jax +broken: RuntimeError: driver too old$", info.report(), re.MULTILINE)


@pytest.mark.parametrize("arguments", [[], ["other"], ["info", "--loud"]])
def test_another_command_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m flowkit_core" in capsys.readouterr().err
