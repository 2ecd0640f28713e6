"""Tests of the set-up, without a network: `python3 -B -m unittest discover -s setup` (part of `make check`)."""

import contextlib
import errno
import io
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zipfile
from pathlib import Path
from unittest import mock

import cache
import engines
import formula
import release_notes
import wheels
from cache import Cache, Part
from stop import Stop
from wheels import Wheel

SETUP = Path(__file__).resolve().parent
EVERY = (wheels.LINUX_X86_64, wheels.LINUX_ARM64, wheels.MACOS)
SUPPORTED = wheels.here(sys.platform, platform.machine()) is not None

# Stands in for pip: it does what FAKE_PIP says.
FAKE_PIP = """
import os, pathlib, shutil, sys, time
what, _, path = os.environ["FAKE_PIP"].partition(":")
if what == "bring":
    shutil.copy(path, sys.argv[sys.argv.index("-d") + 1])
elif what == "hang":
    pathlib.Path(path).write_text(str(os.getpid()))
    time.sleep(600)
else:
    print("ERROR: Could not find a version", file=sys.stderr)
    sys.exit(1)
"""

# The folder for temporary files may be on a small disk.
ROOMY = "import collections, shutil; shutil.disk_usage = lambda _: collections.namedtuple('Usage', 'free')(10**12)"


def tree(folder):
    """Every path below, with what a file holds."""
    def content(path):
        return os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return {str(path.relative_to(folder)): content(path) for path in sorted(folder.rglob("*"))}


def fill(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.outer = self.folder / "outer"
        self.said = []

    def cache(self):
        return Cache(self.outer, self.said.append)

    def opened(self):
        opened = self.cache()
        opened.open()
        return opened

    def stop(self, work, *words, code=None):
        """`work` ends with a sentence that has these words in it."""
        with self.assertRaises(Stop) as caught:
            work()
        for word in words:
            self.assertIn(word, str(caught.exception))
        if code is not None:
            self.assertEqual(caught.exception.code, code)

    def ending(self, work):
        """The exit code and the sentence that a run of `work` ends with."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            code = engines.guarded(work, "/cache")
        return code, said.getvalue()


def part(make, name="part-1", holds=None, space=0):
    return Part(name, "the part", space, {"lib/a.so": 3} if holds is None else holds, make)


def good(out):
    fill(out, {"lib/a.so": "abc", "include/a.h": "x"})


class WhichFolder(Case):
    def test_the_variable_or_the_home_folder_says_where(self):
        home = {"HOME": str(self.folder)}
        self.assertEqual(cache.outer_folder({**home, "T2M_CACHE": str(self.outer)}), self.outer)
        with mock.patch.dict(os.environ, home):
            self.assertEqual(cache.outer_folder(home), self.folder / ".cache/t2m-tui")
            self.assertEqual(cache.outer_folder({**home, "T2M_CACHE": ""}), self.folder / ".cache/t2m-tui")
            self.assertEqual(cache.outer_folder({**home, "T2M_CACHE": "~/x"}), self.folder / "x")

    def test_without_a_home_folder_it_says_what_to_set(self):
        for environ in [{"HOME": ""}, {"HOME": "relative"}, {}]:
            with mock.patch.dict(os.environ, environ, clear=True), mock.patch("os.path.expanduser", lambda _: environ.get("HOME", "~")):
                self.stop(lambda environ=environ: cache.outer_folder(environ), "there is no home folder", "set T2M_CACHE", code=2)

    def test_paths_that_a_linker_or_cargo_would_misread_are_refused(self):
        for bad in [":", ",", ";", "$", "'", '"', "\\", "\n"]:
            self.stop(lambda bad=bad: cache.outer_folder({"T2M_CACHE": f"/some/a{bad}b"}), repr(bad), "Set T2M_CACHE", code=2)
        self.stop(lambda: cache.outer_folder({"T2M_CACHE": "/some/\udcff"}), "not UTF-8", code=2)
        self.stop(lambda: cache.outer_folder({"T2M_CACHE": "~nobody-of-that-name/x"}), "no such user", code=2)
        self.assertEqual(cache.outer_folder({"T2M_CACHE": "/some/a b/ü"}), Path("/some/a b/ü"))


class OurFolder(Case):
    def test_nothing_outside_of_it_is_touched(self):
        fill(self.outer, {"partial-x/thesis.txt": "years of work", "lock": "mine", "t2m.txt": "mine", "libtorch-2.13.0/README": "mine"})
        before = tree(self.outer)
        opened = self.opened()
        with opened.locked():
            opened.make(part(good))
        after = tree(self.outer)
        self.assertEqual(before, {name: content for name, content in after.items() if not name.startswith(cache.FOLDER)})
        self.assertEqual(opened.find(part(good)), self.outer / cache.FOLDER / "part-1")

    def test_a_folder_that_we_did_not_make_is_left_alone(self):
        ours = self.outer / cache.FOLDER
        for files in [{"partial-x/a": "mine"}, {"lock": "mine"}, {f"{cache.MARK}/a": "a folder is no mark"}]:
            shutil.rmtree(ours, ignore_errors=True)
            fill(ours, files)
            before = tree(self.outer)
            self.stop(self.cache().open, str(ours), "left as it is", "Set T2M_CACHE", code=2)
            self.assertEqual(tree(self.outer), before)

    def test_an_empty_one_becomes_ours_and_ours_is_found_again(self):
        (self.outer / cache.FOLDER).mkdir(parents=True)
        self.opened()
        fill(self.outer / cache.FOLDER, {"partial-1/a": "half"})
        opened = self.opened()
        with opened.locked():
            pass
        self.assertEqual(sorted(tree(opened.folder)), ["lock", cache.MARK])

    def test_sweeping_follows_no_link_and_takes_folders_alone(self):
        precious = self.folder / "precious"
        fill(precious, {"a": "mine"})
        opened = self.opened()
        (opened.folder / "partial-link").symlink_to(precious)
        fill(opened.folder, {"partial-file": "", "partial-1/half": ""})
        (opened.folder / "partial-1/link").symlink_to(precious)
        with opened.locked():
            pass
        self.assertEqual(tree(precious), {"a": b"mine"})
        self.assertEqual(sorted(os.listdir(opened.folder)), ["lock", cache.MARK, "partial-file", "partial-link"])

    def test_the_lock_is_no_link_and_is_not_emptied(self):
        opened = self.opened()
        fill(self.folder, {"mine": "text"})
        (opened.folder / "lock").symlink_to(self.folder / "mine")
        self.stop(lambda: opened.locked().__enter__(), "cannot be opened")
        (opened.folder / "lock").unlink()
        fill(opened.folder, {"lock": "text"})
        with opened.locked():
            pass
        self.assertEqual([(self.folder / "mine").read_text(), (opened.folder / "lock").read_text()], ["text", "text"])

    def test_a_file_in_its_place_or_above_is_said(self):
        fill(self.folder, {"outer": "a file"})
        self.stop(self.cache().open, str(self.outer), "not a folder", code=2)
        self.stop(Cache(self.outer / "below", print).open, "not a folder", code=2)
        self.outer.unlink()
        fill(self.outer, {cache.FOLDER: "a file"})
        self.stop(self.cache().open, "not a folder", code=2)
        self.assertEqual(tree(self.outer), {cache.FOLDER: b"a file"})
        (self.folder / "dangling").symlink_to("/nowhere/at/all")
        self.stop(Cache(self.folder / "dangling", print).open, "not a folder", code=2)

    def test_a_place_that_cannot_be_written_is_said(self):
        refused = PermissionError(errno.EACCES, "Permission denied")
        with mock.patch.object(Path, "mkdir", side_effect=refused):
            self.stop(self.cache().open, "cannot be made: Permission denied", "Set T2M_CACHE", code=2)
        (self.outer / cache.FOLDER).mkdir(parents=True)
        with mock.patch("builtins.open", side_effect=refused):
            self.stop(self.cache().open, "cannot be written to: Permission denied", code=2)
        opened = self.opened()
        with mock.patch("os.open", side_effect=refused):
            self.stop(lambda: opened.locked().__enter__(), "lock cannot be opened: Permission denied", code=2)


class WhatIsReady(Case):
    def make(self):
        opened = self.opened()
        with opened.locked():
            return opened, opened.make(part(good))

    def test_a_part_is_ready_when_all_of_it_is_there(self):
        opened, place = self.make()
        self.assertEqual(opened.find(part(good)), place)
        for damage in [lambda: (place / cache.STAMP).unlink(), lambda: (place / "include/a.h").unlink(), lambda: (place / "lib/a.so").write_text("ab"),
                       lambda: (place / cache.STAMP).write_text(""), lambda: (place / cache.STAMP).write_text("[]"),
                       lambda: (place / cache.STAMP).write_text('{"part": "part-1", "files": {}}'), lambda: (place / cache.STAMP).write_text('{"part": "part-1", "files": 3}'),
                       lambda: (place / cache.STAMP).write_text((place / cache.STAMP).read_text().replace("part-1", "part-2"))]:
            shutil.rmtree(place)
            opened, place = self.make()
            self.assertIsNotNone(opened.find(part(good)))
            damage()
            self.assertIsNone(opened.find(part(good)))

    def test_folders_of_the_right_names_are_not(self):
        opened = self.opened()
        for folder in (opened.folder, self.outer):
            (folder / "part-1/lib").mkdir(parents=True)
        self.assertIsNone(opened.find(part(good)))
        fill(self.outer, {"part-1/lib/a.so": ""})
        self.assertIsNone(opened.find(part(good, holds={"lib/a.so": None})))

    def test_what_is_not_ready_is_made_anew_in_its_place(self):
        opened = self.opened()
        fill(opened.folder, {"part-1/lib/junk": "junk"})
        with opened.locked():
            place = opened.make(part(good))
            self.assertEqual(sorted(tree(place)), ["include", "include/a.h", "lib", "lib/a.so", cache.STAMP])
            shutil.rmtree(place)
            precious = self.folder / "precious"
            fill(precious, {"a": "mine"})
            place.symlink_to(precious)
            opened.make(part(good))
        self.assertEqual(tree(precious), {"a": b"mine"})
        self.assertEqual(sorted(os.listdir(opened.folder)), ["lock", cache.MARK, "part-1"])

    def test_an_earlier_set_ups_part_is_used_where_it_is(self):
        fill(self.outer, {"part-1/lib/a.so": "abc"})
        self.assertEqual(self.cache().find(part(good)), self.outer / "part-1")
        fill(self.outer, {"part-1/lib/a.so": "abcd"})
        self.assertIsNone(self.cache().find(part(good)))

    def test_what_fails_or_is_interrupted_leaves_nothing(self):
        def half(error):
            def make(out):
                fill(out, {"lib/a.so": "abc"})
                if error:
                    raise error
            return make
        opened = self.opened()
        with opened.locked():
            for error in [Stop("no"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")]:
                with self.assertRaises(type(error)):
                    opened.make(part(half(error)))
            self.stop(lambda: opened.make(part(half(None), holds={"lib/a.so": 3, "lib/b.so": None})), "without lib/b.so")
            self.stop(lambda: opened.make(part(good, space=10**18)), "takes 1000000000.0 GB on the disk", "Make room there", code=1)
        self.assertEqual(sorted(os.listdir(opened.folder)), ["lock", cache.MARK])

    def test_two_at_once_make_a_part_once(self):
        made, waiting = [], threading.Event()

        def slow(out):
            made.append(out)
            self.assertTrue(waiting.wait(60))  # until the other one said that it waits
            good(out)

        def say(text):
            self.said.append(text)
            waiting.set()

        def run():
            own = Cache(self.outer, say)
            own.open()
            with own.locked():
                if own.find(part(slow)) is None:
                    own.make(part(slow))
        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(made), self.said), (1, ["another set-up is running; waiting for it"]))


class FakePip(Case):
    """A `pip` of ours in front of the real one, and a wheel for it to bring."""

    def setUp(self):
        super().setUp()
        self.wheel_path = self.folder / "index/engine_x-1.2-py3-none-any.whl"
        self.wheel_path.parent.mkdir()
        with zipfile.ZipFile(self.wheel_path, "w") as archive:
            archive.writestr("engine/lib/a.so", "abc")
            archive.writestr("engine/tests/a.py", "")
        self.wheel = Wheel(self.wheel_path.name, wheels.sha256(self.wheel_path))
        fill(self.folder, {"fake/pip/__init__.py": "", "fake/pip/__main__.py": FAKE_PIP, "fake/sitecustomize.py": ROOMY})

    def fetch(self, wheel, fake):
        def run(command, env):
            return subprocess.run([str(word) for word in command], env=env, capture_output=True).returncode
        with mock.patch.dict(os.environ, {"PYTHONPATH": str(self.folder / "fake"), "FAKE_PIP": fake}):
            return wheels.fetch(wheel, self.folder / "downloads", run)

    def test_the_pinned_file_is_fetched_and_unzipped(self):
        path = self.fetch(self.wheel, f"bring:{self.wheel_path}")
        wheels.unzip(path, self.folder / "unzipped", lambda name: name.startswith("engine/lib/"))
        self.assertEqual(tree(self.folder / "unzipped"), {"engine": None, "engine/lib": None, "engine/lib/a.so": b"abc"})

    def test_another_file_is_refused_with_both_hashes(self):
        with zipfile.ZipFile(self.wheel_path, "a") as archive:
            archive.writestr("engine/lib/evil.so", "")
        other = wheels.sha256(self.wheel_path)
        self.assertNotEqual(other, self.wheel.sha256)
        self.stop(lambda: self.fetch(self.wheel, f"bring:{self.wheel_path}"), f"expected SHA-256 {self.wheel.sha256}", f"found    SHA-256 {other}", code=1)

    def test_a_file_of_another_name_is_refused(self):
        other = Wheel("engine_x-1.3-py3-none-any.whl", self.wheel.sha256)
        self.stop(lambda: self.fetch(other, f"bring:{self.wheel_path}"), "asked for engine_x-1.3", f"brought {self.wheel.file}", "pip config list")

    def test_no_network_and_no_pip_are_said(self):
        self.stop(lambda: self.fetch(self.wheel, "fail"), "pip could not fetch engine-x==1.2", "Is there a network", code=1)
        fill(self.folder, {"fake/pip/__init__.py": "raise ImportError('none')"})
        self.stop(lambda: self.fetch(self.wheel, "fail"), "pip is needed", code=2)


class Pins(Case):
    def test_every_wheel_is_pinned_and_pip_is_asked_for_that_file(self):
        for pins in EVERY:
            for wheel in pins.values():
                self.assertRegex(wheel.sha256, "^[0-9a-f]{64}$")
                tags = wheel.file[:-4].split("-")[-1].split(".")
                options = wheel.options
                self.assertEqual([options[at + 1] for at, word in enumerate(options) if word == "--platform"], tags)
        self.assertEqual(wheels.LINUX_X86_64["cudart"].spec, "nvidia-cuda-runtime==13.0.96")
        self.assertEqual(wheels.LINUX_X86_64["torch"].options[:6], ["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"])
        self.assertEqual(wheels.LINUX_X86_64["libclang"].options[2:6], ["--implementation", "py", "--abi", "none"])

    def test_what_the_wheels_of_the_engines_ask_for_is_what_they_are_built_against(self):
        def text(path):
            return (SETUP.parent / path).read_text()

        built = {}
        for pins in EVERY:
            for name in {"torch", "mlx", "openblas"} & set(pins):
                project, version = pins[name].spec.split("==")
                built.setdefault(project, set()).add(version)
        self.assertEqual(sorted(built), ["mlx-cpu", "mlx-metal", "scipy-openblas32", "torch"])
        asked = {**dict(re.findall(r'"([\w-]+)==([\d.]+)', text("crates/torch/pyproject.toml"))), **dict(re.findall(r'"([\w-]+)==([\d.]+)', text("crates/mlx/pyproject.toml")))}
        # On macOS the wheel of mlx asks for the one of mlx-metal of the same version.
        asked["mlx-metal"] = asked.pop("mlx")
        self.assertEqual({name: {version} for name, version in asked.items()}, built)
        # What t2m-tui looks for before it starts an engine that pip installed.
        looked = dict(re.findall(r'\("([\w-]+)", "([\d.]+)"\)', text("crates/engine/src/installed.rs").split("pub struct")[0]))
        # MLX with CUDA is the same MLX.
        self.assertEqual({looked.pop("mlx-cuda-13")}, built["mlx-cpu"])
        self.assertEqual({name: {version} for name, version in looked.items()}, built)
        version = re.search(r'^version = "(.*)"', text("Cargo.toml"), re.M).group(1)
        self.assertIn(f'engines = ["t2m-torch=={version}", "t2m-mlx=={version}"]', text("pyproject.toml"))

    def test_cargo_is_told_to_link_what_the_parts_have(self):
        folders = [Path("/cache") / name for name in ("libtorch", "tools", "mlx", "mlxc", "blas")]
        linux = engines.config_linux(*folders)
        self.assertIn(f"[target.{platform.machine()}-unknown-linux-gnu.mlx]", linux)
        self.assertIn('"native=/cache/blas/lib"', linux)
        macos = engines.config_macos(*folders[:4])
        self.assertIn("[target.aarch64-apple-darwin.mlx]", macos)
        self.assertIn('rustc-link-search = ["native=/cache/mlxc/lib", "native=/cache/mlx/mlx/lib"]', macos)
        self.assertIn('T2M_RPATH_MLX = "/cache/mlx/mlx/lib"', macos)
        for own in engines.config_macos(*folders[:2]), macos:
            self.assertEqual("CMAKE" in own, ".mlx]" not in own, "mlx-rs builds MLX where none is linked")

    def test_mlx_with_cuda_is_found_before_the_one_that_is_linked(self):
        folders = [Path("/cache") / name for name in ("libtorch", "tools", "mlx", "mlxc", "blas")]
        self.assertIn('T2M_RPATH_MLX = "/cache/blas/lib:/cache/mlx/mlx/lib"', engines.config_linux(*folders))
        self.assertIn('T2M_RPATH_MLX = "/cache/blas/lib:/env/mlx/lib:/cache/mlx/mlx/lib"', engines.config_linux(*folders, cuda=Path("/env/mlx/lib")))

    @unittest.skipUnless(sys.platform == "linux", "CUDA is for Linux")
    def test_an_environment_without_mlx_with_cuda_is_told_what_to_install(self):
        version = engines.version("mlx")
        with tempfile.TemporaryDirectory() as folder:
            self.assertIsNone(engines.cuda_library(None))
            self.assertIsNone(engines.cuda_library(""))
            with self.assertRaisesRegex(Stop, f"has no mlx-cuda-13: .*pip install mlx-cuda-13=={version}"):
                engines.cuda_library(folder)
            packages = Path(folder, "lib/python3.12/site-packages")
            (packages / "mlx_cuda_13-0.1.0.dist-info").mkdir(parents=True)
            with self.assertRaisesRegex(Stop, "which has mlx-cuda-13 0.1.0; this is built against"):
                engines.cuda_library(folder)
            (packages / "mlx_cuda_13-0.1.0.dist-info").rename(packages / f"mlx_cuda_13-{version}.dist-info")
            with self.assertRaisesRegex(Stop, "has no libmlx.so"):
                engines.cuda_library(folder)
            (packages / "mlx/lib").mkdir(parents=True)
            (packages / "mlx/lib/libmlx.so").touch()
            self.assertEqual(engines.cuda_library(folder), packages / "mlx/lib")

    def test_no_two_files_share_a_hash(self):
        hashes = [wheel.sha256 for pins in EVERY for wheel in pins.values()]
        self.assertEqual(len(hashes), len(set(hashes)))


class Notes(Case):
    def test_they_are_the_section_of_the_version(self):
        text = "# Changelog\n\n## Unreleased\n\n## [1.0.0] - 2026-01-01\n\n### Added\n\n- a\n\n## 0.9.0\n- b\n"
        told = {version: release_notes.notes(text, version) for version in ("1.0.0", "0.9.0", "Unreleased", "0.8.0")}
        self.assertEqual(told, {"1.0.0": "### Added\n\n- a", "0.9.0": "- b", "Unreleased": None, "0.8.0": None})
        self.assertIn("###", release_notes.notes(release_notes.CHANGELOG.read_text(), "Unreleased"))


class Formula(Case):
    """What `brew style` and `brew audit` ask of a formula, as far as it can be seen without Homebrew."""

    def setUp(self):
        super().setUp()
        self.text = formula.formula("https://example.org/t2m-tui", "https://example.org/t2m-tui/v1.0.0.tar.gz", "0" * 64)

    def test_its_parts_stand_in_the_order_that_is_asked_for(self):
        parts = re.findall(r"^  (desc|homepage|url|sha256|license|depends_on|def install|def caveats|test do)\b", self.text, re.M)
        self.assertEqual(parts, ["desc", "homepage", "url", "sha256", "license", "depends_on", "def install", "def caveats", "test do"])

    def test_its_description_and_lines_are_as_asked_for(self):
        desc = re.search('desc "(.*)"', self.text).group(1)
        self.assertLessEqual(len("t2m-tui: " + desc), 80)
        self.assertNotRegex(desc, r"(?i)^(a|an|the|t2m-tui)\b|\.$|\bcommand ?line\b")
        self.assertNotIn("\t", self.text)
        self.assertFalse([line for line in self.text.splitlines() if line != line.rstrip() or len(line) > 118])
        self.assertIn("assert_", self.text.split("test do")[1], "its test asserts something")

    def test_ruby_reads_it(self):
        ruby = shutil.which("ruby")
        if ruby is None:
            self.skipTest("no ruby here")
        subprocess.run([ruby, "-c", "-"], input=self.text, text=True, check=True, capture_output=True)

    def test_what_could_not_stand_in_it_is_refused(self):
        for arguments in [("http://a", "https://a/b.tar.gz", "0" * 64), ("https://a", 'https://a"/b.tar.gz', "0" * 64), ("https://a", "https://a/b.tar.gz", "0")]:
            self.assertRaises(ValueError, formula.formula, *arguments)


class Endings(Case):
    def test_each_is_a_sentence_and_an_exit_code(self):
        def raising(error):
            def work():
                raise error
            return work
        for error, code, words in [
            (Stop("no", 2), 2, "setup: no"),
            (KeyboardInterrupt(), 1, "setup: interrupted. Nothing half-made is kept; run it again"),
            (OSError(errno.ENOSPC, "No space left on device", "/cache/x"), 1, "setup: the disk of /cache is full"),
            (PermissionError(errno.EACCES, "Permission denied", "/cache/x"), 1, "setup: /cache/x: Permission denied. Mend that, or set T2M_CACHE"),
        ]:
            found, said = self.ending(raising(error))
            self.assertEqual(found, code)
            self.assertIn(words, said)
            self.assertNotIn("Traceback", said)
        self.assertEqual(self.ending(lambda: None), (0, ""))

    def test_a_command_that_fails_is_quoted_with_what_it_said(self):
        self.stop(lambda: engines.run(["sh", "-c", "echo no such option; exit 3"], quiet=True), "exit code 3", "echo no such option", "\nno such option\n")
        self.stop(lambda: engines.run(["no-such-command-at-all"]), "no-such-command-at-all is needed and was not found", code=2)

    def test_cargos_settings_of_others_stay_and_ours_are_written_when_they_differ(self):
        path = self.folder / ".cargo/config.toml"
        engines.write_config(self.folder, "a = 1\n")
        written = path.stat()
        engines.write_config(self.folder, "a = 1\n")
        self.assertEqual((path.stat().st_ino, path.stat().st_mtime_ns), (written.st_ino, written.st_mtime_ns))
        engines.write_config(self.folder, "a = 2\n")
        self.assertTrue(path.read_text().endswith("a = 2\n"))
        path.write_text("[build]\njobs = 1\n")
        self.stop(lambda: engines.write_config(self.folder, "a = 1\n"), "is not ours", code=2)
        self.assertEqual(tree(path.parent), {"config.toml": b"[build]\njobs = 1\n"})


@unittest.skipUnless(SUPPORTED, "the engines are not set up on this machine")
class TheScript(FakePip):
    """The whole program, in a checkout of its own, with a pip of ours and stand-ins for the compilers."""

    def setUp(self):
        super().setUp()
        self.checkout = self.folder / "checkout"
        shutil.copytree(SETUP, self.checkout / "setup", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("cargo", "cc", "c++", "xcrun"):
            fill(self.folder, {f"bin/{name}": "#!/bin/sh\nexit 0\n"})
            (self.folder / "bin" / name).chmod(0o755)

    def start(self, fake="fail", **environ):
        environ = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(self.folder), "PYTHONPATH": str(self.folder / "fake"), "FAKE_PIP": fake,
                   "T2M_CACHE": str(self.outer), **environ}
        environ = {name: value for name, value in environ.items() if value is not None}
        # A shell's background jobs ignore SIGINT, and so would what they start.
        return subprocess.Popen([sys.executable, "-B", self.checkout / "setup/engines.py"], env=environ, stderr=subprocess.PIPE, text=True,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def run_script(self, **environ):
        process = self.start(**environ)
        _, said = process.communicate(timeout=120)
        self.assertNotIn("Traceback", said)
        return process.returncode, said

    def ready(self, blas="openblas"):
        """A cache in which every part is there, of small files."""
        with mock.patch.object(engines, "ROOT", self.checkout):
            opened = self.opened()
            parts = engines.parts_linux(opened, blas) if engines.LINUX else engines.parts_macos(opened)
            with opened.locked():
                for each in parts:
                    opened.make(each._replace(space=0, make=lambda out, each=each: fill(out, dict.fromkeys(each.holds, "x"))))

    def test_unusable_places_end_with_a_sentence(self):
        fill(self.folder, {"file": "mine", "theirs/t2m-engines/mine": "mine"})
        for environ, words in [({"T2M_CACHE": str(self.folder / "file")}, "not a folder"),
                               ({"T2M_CACHE": str(self.folder / "theirs")}, "left as it is"),
                               ({"T2M_CACHE": None, "HOME": ""}, "no home folder"),
                               ({"T2M_CACHE": "/dev/null/x"}, "not a folder"),
                               ({"T2M_SETUP_BLAS": "mkl"}, "it is openblas or reference")]:
            code, said = self.run_script(**environ)
            self.assertEqual(code, 2, said)
            self.assertIn(words, said)
        self.assertEqual([(self.folder / "file").read_text(), tree(self.folder / "theirs/t2m-engines")], ["mine", {"mine": b"mine"}])
        self.assertFalse((self.checkout / ".cargo").exists())

    def test_no_network_ends_with_a_sentence_and_nothing_half_made(self):
        code, said = self.run_script()
        self.assertEqual(code, 1)
        self.assertIn("pip could not fetch torch==", said)
        self.assertEqual(sorted(os.listdir(self.outer / cache.FOLDER)), ["lock", cache.MARK])

    def test_a_ready_cache_needs_neither_pip_nor_a_place_to_write(self):
        self.ready()
        before = tree(self.outer)
        fill(self.folder, {"fake/pip/__init__.py": "raise ImportError('none')"})
        (self.outer / cache.FOLDER / "lock").unlink()
        code, said = self.run_script()
        self.assertEqual(code, 0, said)
        self.assertEqual(tree(self.outer), {name: content for name, content in before.items() if not name.endswith("/lock")})
        config = (self.checkout / ".cargo/config.toml").read_text()
        self.assertIn(f'LIBTORCH = "{self.outer}/t2m-engines/libtorch-', config)

    @unittest.skipUnless(engines.LINUX, "macOS has Accelerate")
    def test_the_set_up_can_leave_openblas_out(self):
        self.ready()
        self.ready("reference")
        configs = []
        for blas in ("openblas", "reference"):
            self.assertEqual(self.run_script(T2M_SETUP_BLAS=blas)[0], 0)
            configs.append(re.findall(r"t2m-engines/blas-(\w+)", (self.checkout / ".cargo/config.toml").read_text()))
        self.assertEqual([config[0] for config in configs], ["0", "reference"])

    def test_an_interrupt_ends_everything_that_was_started(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            begun = self.folder / "begun"
            begun.unlink(missing_ok=True)
            process = self.start(fake=f"hang:{begun}")
            while not (begun.is_file() and begun.read_text()):
                self.assertIsNone(process.poll())
                time.sleep(0.01)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 1)
            self.assertIn("setup: interrupted. Nothing half-made is kept", said)
            self.assertNotIn("Traceback", said)
            self.assertEqual(sorted(os.listdir(self.outer / cache.FOLDER)), ["lock", cache.MARK])
            self.assertTrue(gone(int(begun.read_text())))


def gone(process, seconds=20):
    """Whether a process that was killed is gone: it stays until its new parent has taken note of its end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


if __name__ == "__main__":
    unittest.main()
