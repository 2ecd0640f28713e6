"""The folder that holds the engines: which one it is, that it is ours, and what in it is whole."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional

from stop import Stop

# Our folder inside the one that T2M_CACHE names, and the file in it that says that it is ours.
FOLDER = "t2m-engines"
MARK = "made-by-t2m-tui"
MARK_TEXT = "setup/engines.py of t2m-tui made this folder. It may replace and remove what is in here.\n"
# Written last into each part: the sizes of its files.
STAMP = "ready.json"
PARTIAL = "partial-"

# These separate paths in a linker's or CMake's arguments, and no quoting helps.
UNUSABLE = ":,;$\"'\\\n"


class Part(NamedTuple):
    """One folder of the cache."""

    name: str
    title: str
    space: int  # bytes that making it takes, at its peak
    # Files that must be in it, and how long they are in a part that the set-up made before it wrote stamps (None: any).
    holds: Dict[str, Optional[int]]
    make: Callable[[Path], None]


def outer_folder(environ):
    """The folder that T2M_CACHE names, or ~/.cache/t2m-tui."""
    named = environ.get("T2M_CACHE")
    if named:
        path = os.path.expanduser(named)
        if path.startswith("~"):
            raise Stop(f"T2M_CACHE is {named}, and there is no such user. Write the folder's path out.", 2)
        said = f"T2M_CACHE ({named})"
    else:
        # An empty HOME would make this "/.cache".
        home = os.path.expanduser("~") if environ.get("HOME") != "" else ""
        if not os.path.isabs(home):
            raise Stop("there is no home folder (HOME is not set, or is no absolute path). Set HOME, or set T2M_CACHE to a folder for the engines.", 2)
        path = os.path.join(home, ".cache", "t2m-tui")
        said = f"the cache folder {path}"
    path = os.path.abspath(path)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise Stop(f"{ascii(said)} is not UTF-8, which Cargo's settings have to be. Set T2M_CACHE to another folder.", 2) from None
    bad = sorted(set(path) & set(UNUSABLE))
    if bad:
        raise Stop(f"{said} has {' '.join(map(repr, bad))} in its path, which linkers take for something else. Set T2M_CACHE to another folder.", 2)
    return Path(path)


class Cache:
    """`outer` is the user's folder and only looked into; all that is written or removed is in `folder`."""

    def __init__(self, outer, say):
        self.outer = outer
        self.folder = outer / FOLDER
        self.say = say

    def find(self, part):
        """Where the part is, whole. One that an earlier set-up left in the outer folder is used there."""
        if is_ready(self.folder / part.name):
            return self.folder / part.name
        old = self.outer / part.name
        if holds_all(old, part.holds):
            return old
        return None

    def open(self):
        """Make our folder, or see that it is ours."""
        for folder in (self.outer, self.folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise Stop(f"{error.filename} cannot be the cache: it is, or is in, something that is not a folder. Set T2M_CACHE to a folder.", 2) from None
            except OSError as error:
                raise Stop(f"{folder} cannot be made: {error.strerror}. Set T2M_CACHE to a folder that you can write to.", 2) from None
        mark = self.folder / MARK
        names = os.listdir(self.folder)
        # Looked for after the others: another set-up may be beginning, and makes the mark first.
        if mark.is_file():
            return
        if names:
            raise Stop(f"{self.folder} is not empty and has no file {MARK}: it may be somebody's, and is left as it is.\n"
                       "Set T2M_CACHE to another folder, or move that one away.", 2)
        try:
            # Another set-up may be doing the same.
            with contextlib.suppress(FileExistsError), open(mark, "x") as file:
                file.write(MARK_TEXT)
        except OSError as error:
            raise Stop(f"{self.folder} cannot be written to: {error.strerror}. Set T2M_CACHE to a folder that you can write to.", 2) from None

    @contextlib.contextmanager
    def locked(self):
        """Hold the lock; wait where another set-up has it. What an interrupted one left is removed."""
        try:
            file = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise Stop(f"{self.folder}/lock cannot be opened: {error.strerror}. Set T2M_CACHE to a folder that you can write to.", 2) from None
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say("another set-up is running; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            self.sweep()
            yield
        finally:
            os.close(file)

    def sweep(self):
        for entry in list(os.scandir(self.folder)):
            if entry.name.startswith(PARTIAL) and entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)

    def make(self, part):
        """Make the part beside its place and rename it there when it is whole. The lock is held."""
        free = shutil.disk_usage(self.folder).free
        if free < part.space:
            raise Stop(f"{part.title} takes {megabytes(part.space)} on the disk while it is made; the disk of {self.folder} has {megabytes(free)} free.\n"
                       "Make room there, or set T2M_CACHE to a folder on another disk.")
        partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self.folder))
        try:
            new, final = partial / "new", self.folder / part.name
            new.mkdir()
            part.make(new)
            missing = [name for name in part.holds if not is_filled(new / name)]
            if missing:
                raise Stop(f"{part.title} came out without {', '.join(missing)} and is not kept; run it again from an unchanged checkout.")
            write_stamp(new, part.name)
            if os.path.lexists(final):
                final.rename(partial / "old")
            new.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return final


def is_ready(folder):
    """Whether everything is there that was when the stamp was written."""
    try:
        stamp = json.loads((folder / STAMP).read_text())
        sizes = stamp["files"]
        return stamp["part"] == folder.name and bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def write_stamp(folder, name):
    files = {str(file.relative_to(folder)): file.stat().st_size for file in sorted(folder.rglob("*")) if file.is_file()}
    (folder / STAMP).write_text(json.dumps({"part": name, "files": files}, indent=0) + "\n")


def holds_all(folder, holds):
    """Whether these files are there, as long as they have to be."""
    def fits(name, size):
        try:
            return (folder / name).stat().st_size == size if size is not None else is_filled(folder / name)
        except OSError:
            return False
    return bool(holds) and all(fits(name, size) for name, size in holds.items())


def is_filled(file):
    return file.is_file() and file.stat().st_size > 0


def megabytes(count):
    """A size in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
