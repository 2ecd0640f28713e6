#!/usr/bin/env python3
"""Bring the two native engines, libtorch and MLX, into a cache folder and tell Cargo where they are.

What it makes, under $T2M_CACHE/t2m-engines (default ~/.cache/t2m-tui/t2m-engines):

    libtorch-<version>/   include/ and lib/ out of the PyPI wheel, without CUDA
    tools-<n>/            cmake and bindgen; on Linux ninja and libclang as well
    mlx-<version>/        libmlx and its headers out of the PyPI wheel; on macOS with its kernels for Metal
    mlxc-<version>-<key>/ libmlxc.a and bindings.rs, what mlx-sys's build script makes with an MLX that it builds
    blas-<version>-<key>/ Linux: an OpenBLAS, and the library that puts it under MLX

and, in the checkout, .cargo/config.toml (ignored by git) with the paths of these folders.

Nothing else is written or removed: a folder of that name that this script did not make (it leaves a mark in its own) is
refused. Wheels are known by their SHA-256 (wheels.py). A part appears under its name only when it is whole: it is made under
a temporary name, stamped and renamed, so a broken download or an interrupt leaves nothing that a later run would trust. A
second run finds the parts and does nothing. Only Python's standard library is used, nothing needs root.

T2M_SETUP_BLAS=reference leaves OpenBLAS out: MLX then computes with the reference BLAS of its wheel.
T2M_SETUP_CUDA=FOLDER, on Linux, has MLX compute on an NVIDIA GPU: FOLDER is a Python environment into which
`pip install mlx-cuda-13==<version of MLX>` was run. Its library is used where it is; the program is built as without.
T2M_SETUP_MLX=source, on macOS, has mlx-rs build MLX as its authors ship it, which needs Xcode and its Metal toolchain.

Exit codes: 0 ready, 1 it failed or was interrupted, 2 the machine, the folder or a setting is not usable. A sentence says which.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import wheels
from cache import Cache, Part, megabytes, outer_folder
from stop import Stop, of_os
from wheels import fetch, unzip

MLX_SYS = "0.7.0"
BINDGEN = "0.72.1"  # the version in mlx-sys 0.7.0's build-dependencies
TOOLS = "1"  # raise when the version of a tool changes

ROOT = Path(__file__).resolve().parent.parent
LINUX = sys.platform == "linux"
MACHINE = (sys.platform, platform.machine())
WHEELS = wheels.here(*MACHINE) or wheels.LINUX_X86_64
# The libraries of torch that t2m-torch needs, and those that these need.
LIBTORCH = {"libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libarm_compute.so", "libarm_compute_graph.so", "libgfortran.so.5",
            "libnvpl_blas_core.so.0", "libnvpl_blas_lp64_gomp.so.0", "libnvpl_lapack_core.so.0", "libnvpl_lapack_lp64_gomp.so.0",
            "libtorch_cpu.dylib", "libtorch.dylib", "libc10.dylib", "libomp.dylib"}
CONFIG_TITLE = "# Written by setup/engines.py; not kept in git.\n"


def main(arguments, environ):
    """Set everything up that is not there yet."""
    if arguments:
        raise Stop("it takes no arguments; the environment variables T2M_CACHE, T2M_SETUP_BLAS, T2M_SETUP_CUDA and T2M_SETUP_MLX say what differs.\n\n"
                   + __doc__.strip(), 2)
    started = time.monotonic()
    blas = environ.get("T2M_SETUP_BLAS") or "openblas"
    if blas not in ("openblas", "reference"):
        raise Stop(f"T2M_SETUP_BLAS is {blas!r}; it is openblas or reference.", 2)
    source = environ.get("T2M_SETUP_MLX") or "wheel"
    if source not in ("wheel", "source"):
        raise Stop(f"T2M_SETUP_MLX is {source!r}; it is wheel or source.", 2)
    check_machine(source)
    cache = Cache(outer_folder(environ), say)
    parts = parts_linux(cache, blas) if LINUX else parts_macos(cache, source)
    if any(cache.find(part) is None for part in parts):
        cache.open()
        with cache.locked():
            for part in parts:
                if cache.find(part) is None:
                    make(cache, part)
    places = [cache.find(part) for part in parts]
    cuda = cuda_library(environ.get("T2M_SETUP_CUDA"))
    write_config(ROOT, config_linux(*places, cuda=cuda) if LINUX else config_macos(*places))
    old = [place for place in places if place.parent == cache.outer]
    more = f"; of an earlier set-up these are used where they are: {', '.join(place.name for place in old)}" if old else ""
    say(f"engines ready in {cache.folder}{more} ({time.monotonic() - started:.1f} s)")


# ---- the machine -------------------------------------------------------------------------------------------------


def check_machine(mlx):
    machine = (sys.platform, platform.machine())
    if wheels.here(*machine) is None:
        raise Stop(f"this machine is {machine[0]} {machine[1]}; the engines are set up for Linux on x86-64 and arm64 and macOS on Apple silicon.\n"
                   "`cargo build` without engines works anywhere: everything but `verify` is there.", 2)
    if sys.version_info < (3, 9):
        raise Stop(f"Python {platform.python_version()} is too old: 3.9 or newer is needed.", 2)
    needs = [("cargo", "install Rust from its own site with rustup, or `apt install rustup`"),
             ("c++", "apt install g++" if LINUX else "xcode-select --install"),
             ("cc", "apt install gcc" if LINUX else "xcode-select --install")]
    missing = [f"  {name}: {how}" for name, how in needs if shutil.which(name) is None]
    if not LINUX and mlx == "source" and subprocess.run(["xcrun", "-sdk", "macosx", "metal", "--version"], capture_output=True).returncode != 0:
        missing.append("  the Metal compiler: install Xcode, then `xcodebuild -downloadComponent MetalToolchain`")
    if missing:
        raise Stop("these tools are needed and were not found:\n" + "\n".join(missing), 2)


def cuda_library(environment):
    """The folder of libmlx.so in an environment that has MLX with CUDA; None where none is named."""
    if not environment:
        return None
    if not LINUX:
        raise Stop("T2M_SETUP_CUDA is for Linux: on macOS MLX computes on the GPU with Metal.", 2)
    wanted, pip = version("mlx"), Path(environment) / "bin/python -m pip install"
    found = sorted(Path(environment).glob("lib*/python3*/site-packages/mlx_cuda_13-*.dist-info"))
    if not found:
        raise Stop(f"T2M_SETUP_CUDA is {environment}, which has no mlx-cuda-13: {pip} mlx-cuda-13=={wanted}", 2)
    has = found[0].name.removesuffix(".dist-info").split("-")[1]
    if has != wanted:
        raise Stop(f"T2M_SETUP_CUDA is {environment}, which has mlx-cuda-13 {has}; this is built against {wanted}: {pip} mlx-cuda-13=={wanted}", 2)
    library = (found[0].parent / "mlx/lib").absolute()
    if not (library / "libmlx.so").is_file() or ":" in str(library):
        raise Stop(f"T2M_SETUP_CUDA: {library} has no libmlx.so, or a colon in its name.", 2)
    return library


# ---- parts -------------------------------------------------------------------------------------------------------

# What is in each part on each machine, with its size: a part that has these is whole.
LIBRARIES = {
    ("linux", "x86_64"): {
        "torch": {"lib/libtorch_cpu.so": 438418417, "lib/libc10.so": 1623185, "lib/libgomp.so.1": 254009, "lib/libcudart.so.13": 704288,
                  "lib/libcupti.so.13": 4152208},
        "tools": {"site/cmake/data/bin/cmake": 20776896, "site/clang/native/libclang.so": 63703544, "site/bin/ninja": 372384},
        "mlx": {"mlx/lib/libmlx.so": 20486609, "mlx_cpu.libs/libblas-bd8a282c.so.3.10.0": 683425,
                "mlx_cpu.libs/libgfortran-f7379c93.so.5.0.0": 3129761, "mlx_cpu.libs/liblapack-86b2c207.so.3.10.0": 7646705,
                "mlx_cpu.libs/libquadmath-a962d038.so.0.0.0": 294833},
    },
    ("linux", "aarch64"): {
        "torch": {"lib/libtorch_cpu.so": 267181049, "lib/libc10.so": 1930761, "lib/libgomp.so.1": 344073, "lib/libcudart.so.13": 707752,
                  "lib/libcupti.so.13": 3850656, "lib/libarm_compute.so": 17850537, "lib/libnvpl_blas_lp64_gomp.so.0": 469313,
                  "lib/libnvpl_lapack_lp64_gomp.so.0": 5936761},
        "tools": {"site/cmake/data/bin/cmake": 19043032, "site/clang/native/libclang.so": 60393984, "site/bin/ninja": None},
        "mlx": {"mlx/lib/libmlx.so": 18942193, "mlx_cpu.libs/libblas-87cf96dc.so.3.10.0": 466273,
                "mlx_cpu.libs/libgfortran-fecb827f.so.5.0.0": 1620721, "mlx_cpu.libs/liblapack-a87cd5b5.so.3.10.0": 5852593},
    },
    ("darwin", "arm64"): {
        "torch": {"lib/libtorch_cpu.dylib": 337911904, "lib/libtorch.dylib": 16752, "lib/libc10.dylib": 1102704, "lib/libomp.dylib": 856096},
        "tools": {"site/cmake/data/bin/cmake": 23936464},
        "mlx": {"mlx/lib/libmlx.dylib": 21874304, "mlx/lib/libjaccl.dylib": 1555616, "mlx/lib/mlx.metallib": 135865440},
    },
}.get(MACHINE, {"torch": {}, "tools": {}, "mlx": {}})


def parts_linux(cache, blas):
    """In the order in which they are made. A later one finds an earlier one in the cache."""
    libtorch = Part(f"libtorch-{version('torch')}", "libtorch (430 to 530 MB to download)", 1_200_000_000,
                    {"lib/libtorch.so": 19, "include/torch/headeronly/version.h": None, **LIBRARIES["torch"]}, make_libtorch)
    tools = Part(f"tools-{TOOLS}", "build tools", 900_000_000, {"bin/bindgen": None, **LIBRARIES["tools"]}, make_tools)
    mlx = Part(f"mlx-{version('mlx')}", "MLX (10 MB to download)", 100_000_000, {"mlx/include/mlx/mlx.h": None, **LIBRARIES["mlx"]}, make_mlx)
    mlxc = Part(f"mlxc-{MLX_SYS}-{key('mlx')}", "mlx-c (about two minutes)", 100_000_000,
                {"lib/libmlxc.a": None, "bindings.rs": None}, lambda out: make_mlxc(out, cache.find(mlx), cache.find(tools)))
    with_openblas = blas == "openblas"
    libraries = ["lib/libt2m_blas.so"] + (["lib/libscipy_openblas.so"] if with_openblas else [])
    blas = Part(f"blas-{version('openblas') if with_openblas else 'reference'}-{key('blas', version('mlx'))}",
                "OpenBLAS (8 MB to download)" if with_openblas else "MLX's own BLAS", 50_000_000, dict.fromkeys(libraries),
                lambda out: make_blas(out, cache.find(mlx), with_openblas))
    return [libtorch, tools, mlx, mlxc, blas]


def parts_macos(cache, source):
    libtorch = Part(f"libtorch-{version('torch')}", "libtorch (111 MB to download)", 700_000_000,
                    {"include/torch/headeronly/version.h": None, **LIBRARIES["torch"]}, make_libtorch)
    if source == "source":
        # mlx-rs builds the rest.
        return [libtorch, Part(f"cmake-{TOOLS}", "cmake", 300_000_000, LIBRARIES["tools"], lambda out: make_tools(out, bindgen=False))]
    tools = Part(f"tools-{TOOLS}", "build tools", 600_000_000, {"bin/bindgen": None, **LIBRARIES["tools"]}, make_tools)
    mlx = Part(f"mlx-{version('mlx')}", "MLX (43 MB to download)", 300_000_000, {"mlx/include/mlx/mlx.h": None, **LIBRARIES["mlx"]}, make_mlx)
    mlxc = Part(f"mlxc-{MLX_SYS}-{key('mlx')}", "mlx-c (about two minutes)", 100_000_000,
                {"lib/libmlxc.a": None, "bindings.rs": None}, lambda out: make_mlxc(out, cache.find(mlx), cache.find(tools)))
    return [libtorch, tools, mlx, mlxc]


def version(name):
    return WHEELS[name].file.split("-")[1]


def key(folder, made_with=""):
    """Changes with our own C and C++ files in setup/<folder>, and with what they are built against: the part is then made anew."""
    digest = hashlib.sha256(made_with.encode())
    for path in sorted((ROOT / "setup" / folder).iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def make(cache, part):
    say(f"{part.title}: making {cache.folder / part.name}")
    started = time.monotonic()
    place = cache.make(part)
    say(f"{part.title}: done, {size(place)} in {time.monotonic() - started:.0f} s")


def make_libtorch(out):
    downloads = out / "wheels"
    unzip(download("torch", downloads), out / "unzipped", lambda name: name.startswith("torch/include/")
          or (name.startswith("torch/lib/") and Path(name).name in LIBTORCH))
    (out / "unzipped/torch/include").rename(out / "include")
    (out / "unzipped/torch/lib").rename(out / "lib")
    if LINUX:
        for wheel, library in [("cudart", "libcudart.so.13"), ("cupti", "libcupti.so.13")]:
            unzip(download(wheel, downloads), out / "unzipped", lambda name: Path(name).name == library)
            next((out / "unzipped").rglob(library)).rename(out / "lib" / library)
        # The wheel's libtorch.so needs libtorch_cuda.so; this linker script in its place keeps CUDA out.
        (out / "lib/libtorch.so").write_text("INPUT(-ltorch_cpu)\n")
    shutil.rmtree(out / "unzipped")
    shutil.rmtree(downloads)


def make_tools(out, bindgen=True):
    downloads = out / "wheels"
    packages = [download(name, downloads) for name in ("cmake", "ninja", "libclang") if name in WHEELS]
    run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-warn-script-location",
         "--root-user-action=ignore", "--target", out / "site", *packages])
    shutil.rmtree(downloads)
    if bindgen:
        say(f"compiling bindgen {BINDGEN}")
        run(["cargo", "install", "--quiet", "--locked", "--root", out, f"bindgen-cli@{BINDGEN}"],
            env={**os.environ, "CARGO_TARGET_DIR": str(out / "target")}, cwd=out)
        shutil.rmtree(out / "target")


def make_mlx(out):
    downloads = out / "wheels"
    unzip(download("mlx", downloads), out, lambda name: name.startswith(("mlx/include/", "mlx/lib/", "mlx/share/", "mlx_cpu.libs/")))
    shutil.rmtree(downloads)


def make_mlxc(out, mlx, tools):
    """Build the archive and the bindings that mlx-sys's own build script makes, against the MLX of the wheel."""
    source = crate_source("mlx-sys", MLX_SYS) / "src/mlx-c"
    shims = ROOT / "setup/mlx"
    env = {**os.environ, "PYTHONPATH": str(tools / "site")}
    cmake = [tools / "site/cmake/data/bin/cmake"]
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={find(tools / 'site', 'ninja')}"] if LINUX else []
    run([*cmake, *generator, "-DMLX_C_USE_SYSTEM_MLX=ON", "-DMLX_C_BUILD_EXAMPLES=OFF",
         f"-DCMAKE_PREFIX_PATH={mlx}/mlx", "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_CXX_FLAGS=-include \"{shims}/format.hpp\"",
         "-S", source, "-B", out / "build"], env=env, quiet=True)
    run([*cmake, "--build", out / "build"], env=env, quiet=True)
    archive = next((out / "build").rglob("libmlxc.a"))
    add_shims(archive, out / "build", ["-I", source, "-I", mlx / "mlx/include"])
    (out / "lib").mkdir()
    archive.rename(out / "lib/libmlxc.a")

    header = out / "build/bindings.h"
    header.write_text(bindings_header(source))
    run([tools / "bin/bindgen", header, "--rust-target", "1.73", "--blocklist-function", "malloc", "--blocklist-function", "realloc",
         "-o", out / "bindings.rs", "--", f"-I{source}", *clang_arguments()], env={**os.environ, **clang_library(tools)})
    shutil.rmtree(out / "build")


def add_shims(archive, folder, include):
    """What mlx-rs links and mlx-c or the system lacks: half precision on x86-64, a clock on Linux."""
    shims, objects = ROOT / "setup/mlx", []
    if MACHINE == ("linux", "x86_64"):
        objects.append(folder / "half.o")
        run(["c++", "-std=c++20", "-O2", "-fPIC", *include, "-c", shims / "half.cpp", "-o", objects[-1]])
    if LINUX:
        objects.append(folder / "mach_time.o")
        run(["cc", "-O2", "-fPIC", "-c", shims / "mach_time.c", "-o", objects[-1]])
        run(["ar", "r", archive, *objects], quiet=True)


def bindings_header(source):
    """All headers of mlx-c. On Linux half.h gives way to types of the same size: the tools' libclang has none of ARM's headers."""
    headers = [path.name for path in sorted((source / "mlx/c").glob("*.h")) if not (LINUX and path.name == "half.h")]
    half = ["#define MLX_HALF_H", "#define HAS_FLOAT16", "#define HAS_BFLOAT16", "typedef _Float16 float16_t;", "typedef unsigned short bfloat16_t;"]
    return "\n".join((half if LINUX else []) + [f"#include <mlx/c/{name}>" for name in headers]) + "\n"


def clang_arguments():
    """Where libclang finds the C library's headers: GCC's on Linux, the SDK's on macOS."""
    if LINUX:
        return ["-I", output(["cc", "-print-file-name=include"]).strip()]
    return ["-isysroot", output(["xcrun", "--show-sdk-path"]).strip()]


def clang_library(tools):
    """The libclang for bindgen: the tools' on Linux; on macOS bindgen finds that of Xcode or its command-line tools by itself."""
    return {"LIBCLANG_PATH": str(tools / "site/clang/native")} if LINUX else {}


def make_blas(out, mlx, with_openblas):
    """Build the library that forwards MLX's calls, with every name that libmlx.so takes from the wheel's BLAS and LAPACK."""
    (out / "lib").mkdir()
    if with_openblas:
        downloads = out / "wheels"
        try:
            wheel = download("openblas", downloads)
        except Stop as stop:
            raise Stop(f"{stop}\nOr do without OpenBLAS, slower: T2M_SETUP_BLAS=reference", stop.code) from None
        unzip(wheel, out / "unzipped", lambda name: Path(name).name == "libscipy_openblas.so")
        next((out / "unzipped").rglob("libscipy_openblas.so")).rename(out / "lib/libscipy_openblas.so")
        shutil.rmtree(out / "unzipped")
        shutil.rmtree(downloads)
    build_blas(out / "lib", mlx, "openblas" if with_openblas else "reference", "$ORIGIN")


def build_blas(folder, mlx, default, openblas):
    """libt2m_blas.so in `folder`; `openblas` is where it looks for OpenBLAS."""
    given = [symbols(path, "--defined-only") for name in ("libblas", "liblapack") for path in (mlx / "mlx_cpu.libs").glob(f"{name}-*")]
    names = symbols(mlx / "mlx/lib/libmlx.so", "--undefined-only") & set().union(*given)
    (folder / "names.h").write_text("".join(f"FORWARD({name})\n" for name in sorted(names)))
    run(["cc", "-O2", "-fPIC", "-shared", f"-DDEFAULT_BLAS=\"{default}\"", "-I", folder, ROOT / "setup/blas/blas.c", "-o", folder / "libt2m_blas.so",
         "-Wl,-soname,libt2m_blas.so", f"-Wl,-rpath,{openblas}", "-ldl"])
    (folder / "names.h").unlink()


def symbols(library, which):
    """The names in a library's table, without their versions."""
    return {line.split()[0].split("@")[0] for line in output(["nm", "--dynamic", "--portability", which, library]).splitlines()}


# ---- Cargo's configuration ---------------------------------------------------------------------------------------


def config_linux(libtorch, _tools, mlx, mlxc, blas, cuda=None):
    """`cuda` is the folder of an MLX with CUDA, whose library of the same name is found before the one that is linked."""
    run_path = [f"{blas}/lib", *([cuda] if cuda else []), f"{mlx}/mlx/lib"]
    return f"""
[env]
LIBTORCH = {toml(libtorch)}
T2M_RPATH_TORCH = {toml(libtorch / "lib")}
T2M_RPATH_MLX = {toml(":".join(map(str, run_path)))}
{mlx_override(f"{platform.machine()}-unknown-linux-gnu", mlxc, [mlxc / "lib", blas / "lib", mlx / "mlx/lib"],
              ["static=mlxc", "dylib=t2m_blas", "dylib=mlx", "dylib=stdc++"])}"""


def config_macos(libtorch, tools, mlx=None, mlxc=None):
    """With an MLX of its wheel that is linked; without one mlx-rs builds it, by the tools' cmake."""
    if mlx is None:
        return f"""
[env]
LIBTORCH = {toml(libtorch)}
CMAKE = {toml(tools / "site/cmake/data/bin/cmake")}
T2M_RPATH_TORCH = {toml(libtorch / "lib")}
"""
    return f"""
[env]
LIBTORCH = {toml(libtorch)}
T2M_RPATH_TORCH = {toml(libtorch / "lib")}
T2M_RPATH_MLX = {toml(mlx / "mlx/lib")}
{mlx_override("aarch64-apple-darwin", mlxc, [mlxc / "lib", mlx / "mlx/lib"], MACOS_LINKS)}"""


# libmlx.dylib is asked for by its name in the wheel; it finds mlx.metallib beside itself.
MACOS_LINKS = ["static=mlxc", "dylib=mlx", "dylib=c++", "dylib=objc", "framework=Foundation", "framework=Metal", "framework=Accelerate"]


def mlx_override(target, mlxc, folders, libraries):
    """A build-script override: what mlx-sys's build script would say, had it built against the MLX of the wheel."""
    return f"""
# mlx-sys's build script builds an MLX of its own, with Metal: this stands in for it (a build-script override).
[target.{target}.mlx]
rustc-link-search = [{", ".join(toml(f"native={folder}") for folder in folders)}]
rustc-link-lib = [{", ".join(map(toml, libraries))}]
rustc-env = {{ OUT_DIR = {toml(mlxc)} }}
"""


def write_config(root, text):
    """Written only when it differs, so that Cargo does not build anew. One that is not ours stays."""
    path = root / ".cargo/config.toml"
    text = CONFIG_TITLE + text
    if os.path.lexists(path):
        there = path.read_text(errors="replace") if path.is_file() else ""
        if there == text:
            return
        if not there.startswith(CONFIG_TITLE):
            raise Stop(f"{path} is in the way and is not ours, so it stays as it is.\n"
                       "Move its settings to a .cargo/config.toml in a folder above the checkout (Cargo reads both), remove it, and run this again.", 2)
    path.parent.mkdir(exist_ok=True)
    new = path.with_name(f"config.toml.{os.getpid()}")
    try:
        new.write_text(text)
        new.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()


def toml(value):
    return json.dumps(str(value), ensure_ascii=False)  # a TOML basic string is written as a JSON one


# ---- small helpers -----------------------------------------------------------------------------------------------


def download(name, folder):
    """Fetch one of [`WHEELS`]."""
    wheel = WHEELS[name]
    say(f"downloading {wheel.spec}")
    path = fetch(wheel, folder, lambda command, env: call(command, env=env)[0])
    say(f"downloaded {path.name}, {size(path)}")
    return path


def crate_source(name, version):
    """Where Cargo keeps a crate's sources. The lock file pins it; this fetches it if it is not there."""
    manifest = ["--manifest-path", ROOT / "Cargo.toml", "--locked"]
    run(["cargo", "fetch", *manifest], quiet=True)
    for package in json.loads(output(["cargo", "metadata", "--format-version", "1", "--all-features", *manifest]))["packages"]:
        if package["name"] == name and package["version"] == version:
            return Path(package["manifest_path"]).parent
    raise Stop(f"{name} {version} is not in Cargo.lock: run from an unchanged checkout.")


def find(folder, name):
    return next(path for path in folder.rglob(name) if path.is_file() and path.parent.name in ("bin", "data"))


def run(command, quiet=False, **options):
    """Run a command that has to succeed. What it prints is shown, or kept for the message where it is `quiet`."""
    code, said = call(command, stdout=subprocess.PIPE if quiet else sys.stderr, stderr=subprocess.STDOUT if quiet else None, **options)
    check(command, code, said)


def output(command):
    """What a command prints. It has to succeed."""
    code, said = call(command, stdout=subprocess.PIPE)
    check(command, code, "")
    return said


def check(command, code, said):
    if code != 0:
        said = f"{(said or '').strip()[-4000:]}\n" if said else ""
        raise Stop(f"this command failed with exit code {code}:\n  {' '.join(map(str, command))}\n{said}"
                   "Nothing half-made is kept. What it said tells why (no network, no room on the disk, a tool too old); mend that and run it again.")


def call(command, stdout=sys.stderr, **options):
    """Run a command in a process group of its own, so that all of it ends with us. Returns its exit code and what it said."""
    command = [str(part) for part in command]
    if shutil.which(command[0]) is None:
        raise Stop(f"{command[0]} is needed and was not found: install it and run this again.", 2)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, text=True, errors="replace", start_new_session=True, **options) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, said


def size(path):
    return megabytes(path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink()))


def say(text):
    print(f"setup: {text}", file=sys.stderr, flush=True)


def interrupted(*_):
    raise KeyboardInterrupt


def guarded(work, space):
    """Run `work` and return the exit code. However it ends, it ends with a sentence."""
    try:
        work()
        return 0
    except Stop as stop:
        ending = stop
    except KeyboardInterrupt:
        ending = Stop("interrupted. Nothing half-made is kept; run it again to go on.")
    except OSError as error:
        ending = of_os(error, space)
    with contextlib.suppress(OSError):  # nobody may be reading
        say(ending)
    return ending.code


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    sys.exit(guarded(lambda: main(sys.argv[1:], os.environ), os.environ.get("T2M_CACHE") or "the cache"))
