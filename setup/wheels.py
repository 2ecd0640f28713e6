"""The wheels of the engines: which files, by their SHA-256, and how pip fetches them."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from typing import NamedTuple

from stop import Stop


class Wheel(NamedTuple):
    """One file of a package index. Its name says project, version and tags, from which the options for pip follow."""

    file: str
    sha256: str

    @property
    def spec(self):
        """`mlx-cpu==0.32.2`"""
        project, version = self.file.split("-")[:2]
        return f"{project.replace('_', '-')}=={version}"

    @property
    def options(self):
        """What makes pip take this file, whichever Python and system it runs on."""
        python, abi, platforms = self.file[: -len(".whl")].split("-")[-3:]
        implementation, version = re.match(r"(?:py2\.)?(cp|py)(\d+)$", python).groups()
        version = f"{version[0]}.{version[1:]}" if version[1:] else "3.12"  # pip wants one with a minor number
        options = ["--python-version", version, "--implementation", implementation, "--abi", abi]
        return options + [part for platform in platforms.split(".") for part in ("--platform", platform)]


# To raise a version: `pip download` the new file, `sha256sum` it, and change both here. tch 0.26.0 expects libtorch 2.13.0,
# mlx-sys 0.7.0 is written against MLX 0.32.2. libtorch_cpu.so for Linux is linked against cudart and cupti, GPU or not.
LINUX_X86_64 = {
    "torch": Wheel("torch-2.13.0-cp312-cp312-manylinux_2_28_x86_64.whl",
                   "796633c4cdf0fe2cdced72d8f88f22e73dbcfce83132763162f6d4bff13b820b"),
    "cudart": Wheel("nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
                    "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"),
    "cupti": Wheel("nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
                   "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8"),
    "mlx": Wheel("mlx_cpu-0.32.2-py3-none-manylinux_2_35_x86_64.whl",
                 "fc5d31b90fc4f457b2f9614ed45651a567d22a6a11a03d114a90a4e10bdd8878"),
    "openblas": Wheel("scipy_openblas32-0.3.34.481.3-py3-none-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
                      "0595f94cd58c1f8a0d90c975621f4587337a003916b1979e834ebdf2cb5d9504"),
    "cmake": Wheel("cmake-4.1.2-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
                   "7587a2b2ce48df1fd68a68657b6c5a711b467c346812e46dfb9cd996cd6e2352"),
    "ninja": Wheel("ninja-1.13.0-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
                   "fb46acf6b93b8dd0322adc3a4945452a4e774b75b91293bafcc7b7f8e6517dfa"),
    "libclang": Wheel("libclang-18.1.1-py2.py3-none-manylinux2010_x86_64.whl",
                      "c533091d8a3bbf7460a00cb6c1a71da93bffe148f172c7d03b1c31fbf8aa2a0b"),
}
LINUX_ARM64 = {
    "torch": Wheel("torch-2.13.0-cp312-cp312-manylinux_2_28_aarch64.whl",
                   "572df8be8ffb4599c88cbd6a0726f1f854f4da65d2e3c09f0e2c2283333cd6d4"),
    "cudart": Wheel("nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64.whl",
                    "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55"),
    "cupti": Wheel("nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_aarch64.whl",
                   "796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151"),
    "mlx": Wheel("mlx_cpu-0.32.2-py3-none-manylinux_2_35_aarch64.whl",
                 "d0f94625588b51a878786dd51cec5617894ce586cf3c94645ce1b64e24c27c0b"),
    "openblas": Wheel("scipy_openblas32-0.3.34.481.3-py3-none-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
                      "e085dddbc5b9aa130f83def515d31c440e69f387a90c7e63b154a5575b4466bc"),
    "cmake": Wheel("cmake-4.1.2-py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64.whl",
                   "b608042882f79ad2b92ce44bc1f1266882b7784f8feab313ae0b6c735379bd4c"),
    "ninja": Wheel("ninja-1.13.0-py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64.whl",
                   "3d00c692fb717fd511abeb44b8c5d00340c36938c12d6538ba989fe764e79630"),
    "libclang": Wheel("libclang-18.1.1-py2.py3-none-manylinux2014_aarch64.whl",
                      "54dda940a4a0491a9d1532bf071ea3ef26e6dbaf03b5000ed94dd7174e8f9592"),
}
MACOS = {
    "torch": Wheel("torch-2.13.0-cp312-cp312-macosx_14_0_arm64.whl",
                   "2fe228aba290d14b9f31b049be550dbd469c3fd3013d7a19705b30454da97027"),
    "mlx": Wheel("mlx_metal-0.32.2-py3-none-macosx_14_0_arm64.whl",
                 "3825fff379dbc107dd3413e564a06caeaa24819910ec49c0439e454c06a1b9b8"),
    "cmake": Wheel("cmake-4.1.2-py3-none-macosx_10_10_universal2.whl",
                   "415396a7320856c64bd27ca00950b2bbb161604bff60ae5ebf256e2ca08b81ab"),
}


def here(system, machine):
    """The files for a machine; None where the engines are not set up."""
    return {("linux", "x86_64"): LINUX_X86_64, ("linux", "aarch64"): LINUX_ARM64, ("darwin", "arm64"): MACOS}.get((system, machine))


def fetch(wheel, folder, run):
    """Fetch one wheel with pip into `folder` and return its path. A file of another hash is refused.

    `run(command, env)` runs a command and returns its exit code."""
    check_pip()
    folder.mkdir(exist_ok=True)
    scratch = folder / "scratch"  # pip's own temporary files: /tmp may be too small for a wheel
    scratch.mkdir()
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    code = run([sys.executable, "-m", "pip", "download", *quiet, "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary=:all:",
                *wheel.options, "-d", folder, wheel.spec], {**os.environ, "TMPDIR": str(scratch)})
    shutil.rmtree(scratch, ignore_errors=True)
    if code != 0:
        raise Stop(f"pip could not fetch {wheel.spec} (exit code {code}; its own words are above).\n"
                   "Is there a network, and room on the disk? For a proxy or an index of your own use pip's settings, which are heeded.\n"
                   "Nothing half-made is kept; run it again once that is mended.")
    path = folder / wheel.file
    if not path.is_file():
        came = ", ".join(sorted(file.name for file in folder.glob("*.whl"))) or "nothing"
        raise Stop(f"pip was asked for {wheel.file} and brought {came}, which is not used.\n"
                   "Look at pip's settings (`pip config list`): the index that they name has other files.")
    found = sha256(path)
    if found != wheel.sha256:
        raise Stop(f"{wheel.file} is not the file that is pinned in setup/wheels.py, and is not used:\n"
                   f"  expected SHA-256 {wheel.sha256}\n"
                   f"  found    SHA-256 {found}\n"
                   "An index, a mirror or pip's cache gave another file. Look at `pip config list`, try `pip cache purge`, and run it again.")
    return path


def check_pip():
    """There is a pip."""
    if subprocess.run([sys.executable, "-c", "import pip"], capture_output=True).returncode != 0:
        how = "apt install python3-pip" if sys.platform == "linux" else "install Python 3 from its own site or Homebrew"
        raise Stop(f"Python's pip is needed to fetch the engines, and {sys.executable} has none: {how}", 2)


def sha256(path):
    """The file's hash, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def unzip(wheel, folder, wanted):
    """Extract the files whose name is `wanted`."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if wanted(name) and not name.endswith("/"):
                archive.extract(name, folder)
