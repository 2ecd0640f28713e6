#!/usr/bin/env python3
"""Bring the two native engines, libtorch and MLX, into a cache folder and tell Cargo where they are.

What it makes, under $T2M_CACHE (default ~/.cache/t2m-tui):

    libtorch-<version>/   include/ and lib/ out of the PyPI wheel, without CUDA
    tools-<n>/            cmake; on Linux ninja, libclang and bindgen as well
    mlx-<version>/        Linux: libmlx and its headers out of the PyPI wheel
    mlxc-<version>-<key>/ Linux: libmlxc.a and bindings.rs, what mlx-sys's build script makes on macOS

and, in the checkout, .cargo/config.toml (ignored by git) with the paths of these folders.

A folder appears under its name only when it is whole: it is made under a temporary name and renamed, so a broken
download or an interrupt leaves nothing that a later run would trust. A second run finds the folders and does nothing.
Only Python's standard library is used, nothing needs root.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

# Every pinned version is here. tch 0.26.0 expects libtorch 2.13.0; mlx-sys 0.7.0 is written against MLX 0.32.2.
TORCH = "2.13.0"
CUDART = "13.0.96"  # libtorch_cpu.so of the Linux wheel is linked against these two, GPU or not
CUPTI = "13.0.85"
MLX = "0.32.2"
MLX_SYS = "0.7.0"
CMAKE = "4.1.2"
NINJA = "1.13.0"
LIBCLANG = "18.1.1"
BINDGEN = "0.72.1"  # the version in mlx-sys 0.7.0's build-dependencies
TOOLS = "1"  # raise when a tool's version above changes

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("T2M_CACHE") or Path.home() / ".cache" / "t2m-tui").expanduser().resolve()
LINUX = sys.platform == "linux"

# The wheels are only unzipped, so which Python runs this does not matter: always the same files are taken.
TORCH_WHEEL = (
    ["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"]
    + (["--platform", "manylinux_2_28_x86_64"] if LINUX else ["--platform", "macosx_14_0_arm64", "--platform", "macosx_11_0_arm64"])
)


def main():
    started = time.monotonic()
    check_machine()
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        if not try_lock(lock):
            say("another set-up is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        sweep()
        libtorch = step(f"libtorch-{TORCH}", "libtorch (526 MB to download)" if LINUX else "libtorch", make_libtorch)
        tools = step(f"tools-{TOOLS}", "build tools", make_tools)
        if LINUX:
            mlx = step(f"mlx-{MLX}", "MLX (10 MB to download)", make_mlx)
            mlxc = step(f"mlxc-{MLX_SYS}-{shim_key()}", "mlx-c (about two minutes)", lambda out: make_mlxc(out, mlx, tools))
            write_config(config_linux(libtorch, mlx, mlxc))
        else:
            write_config(config_macos(libtorch, tools))
    say(f"engines ready in {CACHE} ({time.monotonic() - started:.1f} s)")


# ---- the machine -------------------------------------------------------------------------------------------------


def check_machine():
    machine = (sys.platform, platform.machine())
    if machine not in [("linux", "x86_64"), ("darwin", "arm64")]:
        die(f"this machine is {machine[0]} {machine[1]}; the engines are set up for Linux x86-64 and macOS on Apple silicon.\n"
            "`cargo build` without engines works anywhere: everything but `verify` is there.")
    if sys.version_info < (3, 9):
        die(f"Python {platform.python_version()} is too old: 3.9 or newer is needed.")
    needs = [("cargo", "install Rust from its own site with rustup, or `apt install rustup`"),
             ("c++", "apt install g++" if LINUX else "xcode-select --install"),
             ("cc", "apt install gcc" if LINUX else "xcode-select --install")]
    missing = [f"  {name}: {how}" for name, how in needs if shutil.which(name) is None]
    if subprocess.run([sys.executable, "-c", "import pip"], capture_output=True).returncode != 0:
        missing.append(f"  Python's pip: {'apt install python3-pip' if LINUX else 'install Python 3 from its own site or Homebrew'}")
    if not LINUX and subprocess.run(["xcrun", "-sdk", "macosx", "metal", "--version"], capture_output=True).returncode != 0:
        missing.append("  the Metal compiler: install Xcode, then `xcodebuild -downloadComponent MetalToolchain`")
    if missing:
        die("these tools are needed and were not found:\n" + "\n".join(missing))


def try_lock(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False


def sweep():
    """Remove what an interrupted run left behind. The lock is held, so nobody is using it."""
    for left in CACHE.glob("partial-*"):
        shutil.rmtree(left, ignore_errors=True)


# ---- steps -------------------------------------------------------------------------------------------------------


def step(name, title, make):
    """Make the folder `name` by `make(folder)` unless it is there, and return its path."""
    final = CACHE / name
    if final.is_dir():
        return final
    say(f"{title}: making {final}")
    started = time.monotonic()
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=CACHE))
    try:
        make(partial)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    say(f"{title}: done, {size(final)} in {time.monotonic() - started:.0f} s")
    return final


def make_libtorch(out):
    wheels = out / "wheels"
    unzip(download(wheels, f"torch=={TORCH}", *TORCH_WHEEL), out / "unzipped", lambda name: name.startswith("torch/include/")
          or (name.startswith("torch/lib/") and Path(name).name in {"libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libtorch_cpu.dylib",
                                                                    "libtorch.dylib", "libc10.dylib", "libomp.dylib"}))
    (out / "unzipped/torch/include").rename(out / "include")
    (out / "unzipped/torch/lib").rename(out / "lib")
    if LINUX:
        for spec, library in [(f"nvidia-cuda-runtime=={CUDART}", "libcudart.so.13"), (f"nvidia-cuda-cupti=={CUPTI}", "libcupti.so.13")]:
            unzip(download(wheels, spec), out / "unzipped", lambda name: Path(name).name == library)
            next((out / "unzipped").rglob(library)).rename(out / "lib" / library)
        # The wheel's libtorch.so needs libtorch_cuda.so; this linker script in its place keeps CUDA out.
        (out / "lib/libtorch.so").write_text("INPUT(-ltorch_cpu)\n")
    shutil.rmtree(out / "unzipped")
    shutil.rmtree(wheels)


def make_tools(out):
    packages = [f"cmake=={CMAKE}"] + ([f"ninja=={NINJA}", f"libclang=={LIBCLANG}"] if LINUX else [])
    run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--root-user-action=ignore", "--target", out / "site", *packages])
    if LINUX:
        say(f"compiling bindgen {BINDGEN}")
        run(["cargo", "install", "--quiet", "--locked", "--root", out, f"bindgen-cli@{BINDGEN}"],
            env={**os.environ, "CARGO_TARGET_DIR": str(out / "target")}, cwd=out)
        shutil.rmtree(out / "target")


def make_mlx(out):
    unzip(download(out / "wheels", f"mlx-cpu=={MLX}"), out, lambda name: name.startswith(("mlx/include/", "mlx/lib/", "mlx/share/", "mlx_cpu.libs/")))
    shutil.rmtree(out / "wheels")


def make_mlxc(out, mlx, tools):
    """Build the archive and the bindings that mlx-sys's own build script makes on macOS."""
    source = crate_source("mlx-sys", MLX_SYS) / "src/mlx-c"
    shims = ROOT / "setup/mlx"
    include = ["-I", source, "-I", mlx / "mlx/include"]
    env = {**os.environ, "PYTHONPATH": str(tools / "site")}
    cmake = [tools / "site/cmake/data/bin/cmake"]
    run([*cmake, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={find(tools / 'site', 'ninja')}", "-DMLX_C_USE_SYSTEM_MLX=ON", "-DMLX_C_BUILD_EXAMPLES=OFF",
         f"-DCMAKE_PREFIX_PATH={mlx}/mlx", "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_CXX_FLAGS=-include {shims}/format.hpp",
         "-S", source, "-B", out / "build"], env=env, quiet=True)
    run([*cmake, "--build", out / "build"], env=env, quiet=True)
    archive = next((out / "build").rglob("libmlxc.a"))
    run(["c++", "-std=c++20", "-O2", "-fPIC", *include, "-c", shims / "half.cpp", "-o", out / "half.o"])
    run(["cc", "-O2", "-fPIC", "-c", shims / "mach_time.c", "-o", out / "mach_time.o"])
    run(["ar", "r", archive, out / "half.o", out / "mach_time.o"], quiet=True)
    (out / "lib").mkdir()
    archive.rename(out / "lib/libmlxc.a")

    header = out / "bindings.h"
    lines = ["#define HAS_FLOAT16", "#define HAS_BFLOAT16", "typedef _Float16 float16_t;", "typedef unsigned short bfloat16_t;"]
    lines += [f"#include <mlx/c/{path.name}>" for path in sorted((source / "mlx/c").glob("*.h")) if path.name != "half.h"]
    header.write_text("\n".join(lines) + "\n")
    gcc_include = subprocess.run(["cc", "-print-file-name=include"], check=True, capture_output=True, text=True).stdout.strip()
    run([tools / "bin/bindgen", header, "--rust-target", "1.73", "--blocklist-function", "malloc", "--blocklist-function", "realloc",
         "-o", out / "bindings.rs", "--", f"-I{source}", "-I", gcc_include],
        env={**os.environ, "LIBCLANG_PATH": str(tools / "site/clang/native")})
    shutil.rmtree(out / "build")
    for left in [header, out / "half.o", out / "mach_time.o"]:
        left.unlink()


def shim_key():
    """Changes with our own C++ files, so that editing them builds the archive anew."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "setup/mlx").iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:8]


# ---- Cargo's configuration ---------------------------------------------------------------------------------------


def config_linux(libtorch, mlx, mlxc):
    return f"""
[env]
LIBTORCH = {toml(libtorch)}
T2M_RPATH_TORCH = {toml(libtorch / "lib")}
T2M_RPATH_MLX = {toml(mlx / "mlx/lib")}

# mlx-sys's build script is for macOS: this stands in for it (a build-script override).
[target.x86_64-unknown-linux-gnu.mlx]
rustc-link-search = [{toml("native=" + str(mlxc / "lib"))}, {toml("native=" + str(mlx / "mlx/lib"))}]
rustc-link-lib = ["static=mlxc", "dylib=mlx", "dylib=stdc++"]
rustc-env = {{ OUT_DIR = {toml(mlxc)} }}
"""


def config_macos(libtorch, tools):
    return f"""
[env]
LIBTORCH = {toml(libtorch)}
CMAKE = {toml(tools / "site/cmake/data/bin/cmake")}
T2M_RPATH_TORCH = {toml(libtorch / "lib")}
"""


def write_config(text):
    """Written only when it differs, so that Cargo does not build anew."""
    path = ROOT / ".cargo/config.toml"
    text = "# Written by setup/engines.py; not kept in git.\n" + text
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def toml(value):
    return json.dumps(str(value))  # a TOML basic string is written as a JSON one


# ---- small helpers -----------------------------------------------------------------------------------------------


def download(folder, spec, *options):
    """Fetch one wheel with pip (which checks its hash against the index) and return its path."""
    say(f"downloading {spec}")
    folder.mkdir(exist_ok=True)
    before = set(folder.iterdir())
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    run([sys.executable, "-m", "pip", "download", *quiet, "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", *options, "-d", folder, spec])
    wheel = (set(folder.iterdir()) - before).pop()
    say(f"downloaded {wheel.name}, {size(wheel)}")
    return wheel


def unzip(wheel, folder, wanted):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if wanted(name) and not name.endswith("/"):
                archive.extract(name, folder)


def crate_source(name, version):
    """Where Cargo keeps a crate's sources. The lock file pins it; this fetches it if it is not there."""
    manifest = ["--manifest-path", ROOT / "Cargo.toml", "--locked"]
    run(["cargo", "fetch", *manifest], quiet=True)
    metadata = subprocess.run(["cargo", "metadata", "--format-version", "1", "--all-features", *manifest], check=True, capture_output=True, text=True)
    for package in json.loads(metadata.stdout)["packages"]:
        if package["name"] == name and package["version"] == version:
            return Path(package["manifest_path"]).parent
    die(f"{name} {version} is not in Cargo.lock: run from an unchanged checkout")


def find(folder, name):
    return next(path for path in folder.rglob(name) if path.is_file() and path.parent.name in ("bin", "data"))


def run(command, quiet=False, **options):
    command = [str(part) for part in command]
    result = subprocess.run(command, stdout=subprocess.PIPE if quiet else sys.stderr, stderr=subprocess.STDOUT if quiet else None, text=True, **options)
    if result.returncode != 0:
        die(f"this command failed with exit code {result.returncode}:\n  {' '.join(command)}\n{(result.stdout or '')[-4000:]}\n"
            f"Nothing half-made was kept in {CACHE}; run it again once the cause is mended.")


def size(path):
    total = path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return f"{total / 1e6:.0f} MB" if total >= 1e6 else f"{total / 1e3:.0f} kB"


def say(text):
    print(f"setup: {text}", file=sys.stderr, flush=True)


def die(text):
    print(f"setup: {text}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        die("interrupted; nothing half-made is kept")
