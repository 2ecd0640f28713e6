#!/usr/bin/env python3
"""Check, on any machine, what can be checked of the engines for macOS without a Mac.

    python3 setup/check_macos.py [FOLDER]

Fetches the wheels of libtorch and MLX for macOS on arm64 by their hashes (into FOLDER, 155 MB) and finds in them what Cargo is told to
link: each library is there under the name by which the loader will ask for it, for arm64, and what it asks for itself is in its wheel
or the system's; MLX's kernels for Metal lie beside it; its headers are those that Linux's mlx-c was built against, and, where that is
here, libmlx.dylib has the functions that libmlxc.a calls.
"""

import os
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import engines
import wheels
from cache import Cache, outer_folder
from stop import Stop
from wheels import fetch

ARM64 = 0x0100000C
SYSTEM = ("/usr/lib/", "/System/Library/")


class Library:
    """The load commands of a Mach-O library of 64 bits: its name, what it needs, where it looks, the names that it defines."""

    def __init__(self, data):
        magic, cpu, _, kind, commands, *_ = struct.unpack_from("<7I", data)
        if magic != 0xFEEDFACF or kind != 6:
            raise Stop("not a library of 64 bits")
        self.cpu, self.name, self.needs, self.paths, self.defines = cpu, None, [], [], set()
        at = 32
        for _ in range(commands):
            command, size = struct.unpack_from("<2I", data, at)
            text = lambda: data[at + struct.unpack_from("<I", data, at + 8)[0] : at + size].split(b"\0")[0].decode()  # noqa: B023, E731
            if command == 0xD:
                self.name = text()
            elif command & 0xFFFF in (0xC, 0x18, 0x1F):  # loaded, perhaps weakly, or exported again
                self.needs.append(text())
            elif command == 0x8000001C:
                self.paths.append(text())
            elif command == 2:
                self.defines = self.symbols(data, *struct.unpack_from("<4I", data, at + 8))
            at += size

    @staticmethod
    def symbols(data, at, count, strings, size):
        names = data[strings : strings + size]
        found = set()
        for row in range(count):
            name, kind, section = struct.unpack_from("<IBB", data, at + 16 * row)
            if kind & 1 and section:  # external, and defined here
                found.add(names[name : names.index(b"\0", name)].decode())
        return found


def libraries(wheel, folder):
    """The libraries of a wheel's folder, by file name."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(folder) and name.endswith(".dylib")]
        return {Path(name).name: Library(archive.read(name)) for name in names}


def check(holds, words):
    if not holds:
        raise Stop(f"check failed: {words}")
    engines.say(f"ok: {words}")


def check_libraries(found, wanted):
    for name in wanted:
        check(name in found, f"{name} is in the wheel")
        library = found[name]
        check(library.cpu == ARM64, f"{name} is for arm64")
        check(library.name == f"@rpath/{name}", f"{name} is asked for as @rpath/{name}, which the run path of the program leads to")
        for need in library.needs:
            ours = Path(need).name in found and need.startswith(("@rpath/", "@loader_path/"))
            check(ours or need.startswith(SYSTEM), f"{name} needs {need}, which is {'in the wheel' if ours else 'of the system'}")


def main(arguments):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(arguments[0] if arguments else scratch)
        folder.mkdir(exist_ok=True)
        run = lambda command, env: engines.call(command, env=env)[0]  # noqa: E731
        torch, mlx = (fetch(wheels.MACOS[name], folder, run) for name in ("torch", "mlx"))
        check_libraries(libraries(torch, "torch/lib/"), ["libtorch_cpu.dylib", "libtorch.dylib", "libc10.dylib"])
        found = libraries(mlx, "mlx/lib/")
        linked = [link.split("=")[1] for link in engines.MACOS_LINKS if link.startswith("dylib=")]
        check("mlx" in linked, "Cargo is told to link libmlx.dylib")
        check_libraries(found, ["libmlx.dylib"])
        with zipfile.ZipFile(mlx) as archive:
            check("mlx/lib/mlx.metallib" in archive.namelist(), "mlx.metallib lies beside libmlx.dylib")
            headers = {name: archive.read(name) for name in archive.namelist() if re.fullmatch(r"mlx/include/mlx/.*\.h", name)}
        check_mlxc(found["libmlx.dylib"], headers)


def check_mlxc(library, headers):
    """What mlx-c was compiled against here is what it will be compiled against there."""
    if not engines.LINUX:
        return
    cache = Cache(outer_folder(os.environ), engines.say)
    parts = {part.name.split("-")[0]: cache.find(part) for part in engines.parts_linux(cache, "openblas")[:4]}
    if not parts["mlx"] or not parts["mlxc"]:
        engines.say("mlx-c is not built here: its headers and functions were not compared")
        return
    differing = [name for name, text in headers.items() if (parts["mlx"] / name).read_bytes() != text]
    check(not differing, f"all {len(headers)} headers of MLX are those that mlx-c is built against here {differing or ''}".rstrip())
    said = subprocess.run(["nm", "--undefined-only", "--portability", parts["mlxc"] / "lib/libmlxc.a"], capture_output=True, text=True, check=True).stdout
    called = {line.split()[0] for line in said.splitlines() if line.startswith("_ZN3mlx4core")}
    # Names with a type of the C++ library in them are others there (std::__1), so they are not compared; uint64_t is another type there.
    plain = {name for name in called if not re.search("St|Sa|Ss|So|cxx11", name)}
    missing = sorted(name for name in plain if not {f"_{name}", f"_{re.sub('m$', 'y', name)}"} & library.defines)
    check(len(plain) > 20 and not missing,
          f"libmlx.dylib has the {len(plain)} functions, of {len(called)} that mlx-c calls, whose names are the same everywhere {missing or ''}".rstrip())


if __name__ == "__main__":
    sys.exit(engines.guarded(lambda: main(sys.argv[1:]), "the folder"))
