#!/usr/bin/env python3
"""Install the wheels of a folder into a fresh environment, and try them as a user would.

    python3 setup/try_wheels.py FOLDER [--site SITE-PACKAGES]

First t2m-tui alone: it opens the demo, and says how to get the engines. Then with the engines: the demo verifies, whole. With a torch
that does not fit, which is only pretended, it says the line that mends it. `--site` takes torch and MLX from another environment's
packages instead of downloading gigabytes again: they are linked into the fresh one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import engines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--site", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        environment = Environment(Path(scratch) / "env", arguments.folder.resolve())
        begun = time.monotonic()
        environment.install("t2m-tui", dependencies=False)
        say(f"t2m-tui alone installed in {time.monotonic() - begun:.1f} s")
        said = environment.run("inspect", "demo")
        check("layers" in said.stdout and said.returncode == 0, "the program alone opens the demo")
        said = environment.run("verify", "demo", code=1)
        check("pip install \"t2m-tui[engines]\"" in said.stdout + said.stderr, "and says how to get the engines")
        begun = time.monotonic()
        if arguments.site:
            environment.link(arguments.site)
        environment.install("t2m-torch", "t2m-mlx", dependencies=not arguments.site)
        say(f"the engines installed in {time.monotonic() - begun:.1f} s")
        begun = time.monotonic()
        said = environment.run("verify", "demo", "--trials", "1", "--format", "json")
        summary = json.loads(said.stdout)["summary"]
        bad = {word: number for word, number in summary.items() if word in ("drift", "broken", "failed") and number}
        check(summary.get("ok", 0) > 20 and not bad, f"the demo verifies: {summary}")
        say(f"its numbers took {time.monotonic() - begun:.1f} s")
        check(not environment.mentions_of_this_checkout(), "no program has a path of this checkout or of a cache in it")
        restore = environment.pretend("torch", "2.0.0")
        said = environment.run("verify", "demo", code=1)
        check("-m pip install torch==" in said.stdout + said.stderr, "another torch is one sentence with the line that mends it")
        restore()
        said = subprocess.run([environment.bin / "t2m-tui", "doctor"], env=environment.variables, capture_output=True, text=True)
        check(said.returncode == 0, "doctor finds both engines usable")


class Environment:
    def __init__(self, folder, wheels):
        venv.create(folder, with_pip=True)
        self.folder, self.wheels, self.bin = folder, wheels, folder / "bin"
        self.packages = next((folder / "lib").glob("python3*/site-packages"))
        # Nothing of the shell it is called from: no engines, no environment, no library folders.
        hidden = ("T2M_", "VIRTUAL_ENV", "CONDA", "LD_LIBRARY_PATH", "DYLD_", "PYTHON")
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}

    def install(self, *names, dependencies):
        call([self.bin / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--find-links", self.wheels,
              *([] if dependencies else ["--no-deps", "--no-index"]), *names], env=self.variables)

    def link(self, site):
        """Packages of another environment, as they lie there."""
        for name in sorted(os.listdir(site)):
            if name.startswith(("torch", "mlx", "nvidia")) and not (self.packages / name).exists():
                (self.packages / name).symlink_to(site / name)
        # OpenBLAS is a package of its own that few have.
        self.install_openblas()

    def install_openblas(self):
        if sys.platform == "linux":
            call([self.bin / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", engines.WHEELS["openblas"].spec],
                 env=self.variables)

    def run(self, *arguments, code=0):
        said = subprocess.run([self.bin / "t2m-tui", *arguments], env=self.variables, capture_output=True, text=True, cwd=self.folder)
        check(said.returncode == code, f"t2m-tui {' '.join(arguments)} exits with {code}: {said.returncode}\n{said.stderr[-2000:]}", quiet=True)
        return said

    def pretend(self, name, version):
        """Another version of a distribution, by its metadata; returns what takes it back."""
        there = next(self.packages.glob(f"{name}-*.dist-info"))
        other = self.packages / f"{name}-{version}.dist-info"
        there.rename(other)
        return lambda: other.rename(there)

    def mentions_of_this_checkout(self):
        checkout = str(Path(__file__).resolve().parent.parent).encode()
        programs = [self.bin / name for name in ("t2m-tui", "t2m-torch", "t2m-mlx")] + list(self.packages.glob("t2m_mlx/lib/*"))
        return [path for path in programs if any(word in path.read_bytes() for word in (checkout, b".cache/t2m-tui/t2m-engines/", b".cache/t2m-tui/mlx-"))]


def call(command, env):
    if subprocess.run(list(map(str, command)), env=env).returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")


def check(holds, words, quiet=False):
    if not holds:
        sys.exit(f"failed: {words}")
    if not quiet:
        say(f"ok: {words}")


def say(text):
    print(f"wheels: {text}", flush=True)


if __name__ == "__main__":
    main()
