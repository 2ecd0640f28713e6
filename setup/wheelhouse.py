#!/usr/bin/env python3
"""Build the three wheels, for the Python environments of this machine's system, into target/wheels.

    python3 setup/wheelhouse.py [FOLDER]

Needs what `make build` needs (setup/engines.py is run first) and maturin. The engines' wheels have no library of torch or MLX and no
path of this machine: t2m-tui tells the loader where the environment has them (crates/engine/src/installed.rs). On Linux t2m-mlx's
wheel has the small library that sends MLX's BLAS calls on to OpenBLAS, which a package of its own brings.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import engines
from cache import Cache, outer_folder
from stop import Stop

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ROOT / "crates/mlx/python/t2m_mlx/lib"
# What makes a wheel's program free of this machine: no run path (build.rs of both crates leaves an empty one out).
ANYWHERE = {"T2M_RPATH_TORCH": "", "T2M_RPATH_MLX": ""}


def main(arguments):
    out = Path(arguments[0]).resolve() if arguments else ROOT / "target/wheels"
    maturin = shutil.which("maturin")
    if maturin is None:
        raise Stop("maturin was not found: `pip install maturin`, or `uv tool install maturin`.", 2)
    engines.main([], os.environ)
    if engines.LINUX:
        make_blas()
    # The programs share the crates they are made of; their wheels are built one after the other in one target folder.
    for manifest in ["Cargo.toml", "crates/torch/Cargo.toml", "crates/mlx/Cargo.toml"]:
        engines.run([maturin, "build", "--release", "--manifest-path", ROOT / manifest, "--out", out, "--target-dir", target()],
                    env={**os.environ, **ANYWHERE}, cwd=ROOT)
    for wheel in sorted(out.glob("*.whl")):
        engines.say(f"{wheel}, {wheel.stat().st_size / 1e6:.1f} MB")


def target():
    """A folder of its own: other run paths would have `make build` link anew each time."""
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "wheelhouse"


def make_blas():
    """The library of setup/blas, which finds OpenBLAS in the packages beside it."""
    cache = Cache(outer_folder(os.environ), engines.say)
    parts = {part.name.split("-")[0]: part for part in engines.parts_linux(cache, "openblas")}
    mlx = cache.find(parts["mlx"])
    LIBRARIES.mkdir(parents=True, exist_ok=True)
    engines.build_blas(LIBRARIES, mlx, "openblas", "$ORIGIN/../../scipy_openblas32/lib")


if __name__ == "__main__":
    sys.exit(engines.guarded(lambda: main(sys.argv[1:]), "target"))
