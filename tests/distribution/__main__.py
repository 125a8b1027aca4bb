"""The built distribution, installed into empty environments: `make test-dist`.

The sdist has to hold what git tracks, neither less nor more. The wheel is installed with each extra
into an environment of its own, with the pins of constraints.txt, and `smoke` runs in it.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMOKE = Path(__file__).with_name("smoke.py")
# Written by the build, not by hand.
GENERATED = {"PKG-INFO"}
# "core" stands for no extra.
EXTRAS = ("core", "plot", "diagnostics", "pyro", "numpyro", "all")


def only(pattern):
    """The one file in dist/ that fits a pattern."""
    found = sorted((ROOT / "dist").glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"dist/{pattern}: expected one file, found {len(found)}; run `make dist`")
    return found[0]


def compare_with_git(sdist):
    """Stop unless the sdist holds just what git tracks."""
    if not (ROOT / ".git").exists():
        print("sdist: not compared, this is no checkout of git")
        return
    with tarfile.open(sdist) as archive:
        files = [one.name.partition("/")[2] for one in archive.getmembers() if one.isfile()]
    shipped = set(files) - GENERATED
    listed = subprocess.run(
        ["git", "ls-files", "-z"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    tracked = set(filter(None, listed.stdout.split("\0")))
    for title, wrong in (
        ("lacks", tracked - shipped),
        ("is not tracked, but in", shipped - tracked),
    ):
        if wrong:
            raise SystemExit(f"sdist {title}: {', '.join(sorted(wrong))}; see pyproject.toml")
    print(f"sdist: the {len(shipped)} files that git tracks")


def try_extra(wheel, extra):
    """Install the wheel with an extra into an empty environment and run the smoke test there."""
    started = time.perf_counter()
    wanted = str(wheel) if extra == "core" else f"{wheel}[{extra}]"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory(prefix="ppl-flowkit-") as folder:
        venv.create(Path(folder) / "venv", with_pip=True)
        python = Path(folder) / "venv" / "bin" / "python"
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        pins = ROOT / "constraints.txt"
        for command in (
            [*pip, "install", "--no-compile", "-c", pins, wanted],
            [*pip, "check"],
            # Isolated, and in another folder: nothing of the checkout is in its path.
            [python, "-I", SMOKE, extra],
        ):
            if subprocess.run(command, cwd=folder, env=clean).returncode:
                raise SystemExit(f"{extra}: failed: {' '.join(map(str, command))}")
    print(f"{extra}: works, {time.perf_counter() - started:.0f} s", flush=True)


def main():
    """Try the installations named on the command line, all of them without."""
    parser = argparse.ArgumentParser(prog=f"{Path(sys.executable).name} -m tests.distribution")
    parser.add_argument("extra", nargs="*", help=f"of {', '.join(EXTRAS)}; all without")
    extras = parser.parse_args().extra or EXTRAS
    if unknown := set(extras) - set(EXTRAS):
        parser.error(f"extra: expected some of {', '.join(EXTRAS)}, got {', '.join(unknown)}")
    compare_with_git(only("*.tar.gz"))
    for extra in extras:
        try_extra(only("*.whl"), extra)


if __name__ == "__main__":
    main()
