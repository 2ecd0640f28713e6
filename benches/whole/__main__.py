"""Whole-process figures on two cores, each beside what a user does instead, in the same rounds.

    python3 benches/whole --program target/release/t2m-tui [--python EXE] [--rounds 5] [--only inspect,tree,convert,verify]
                          [--first] [--write docs/performance.md]

Python's standard library makes the checkpoints. The rows beside torch, safetensors and MLX need an interpreter that has them
(--python), those of verify also torchvision and both engine programs; what is missing is said, and the rest measured. Without
--write the tables are printed; with it they take the place of those between the marks of that file.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import files
import measure
from measure import median, ratio, rounds, run, seconds

COUNTS = [1_000, 10_000, 100_000, 1_000_000]
# Tensors beyond which Python's torch is not asked: a million take it some minutes a round.
MOST_OF_TORCH = 100_000
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
FOLDER = TARGET / "whole"
BEGIN, END = "<!-- measured: `make bench` writes what stands between these marks -->", "<!-- measured: end -->"

LIST_TORCH = """
import sys, torch
for name, tensor in torch.load(sys.argv[1], mmap=True, weights_only=True).items():
    print(name, tuple(tensor.shape), tensor.dtype)
"""
LIST_SAFETENSORS = """
import sys
from safetensors import safe_open
with safe_open(sys.argv[1], framework="pt") as file:
    for name in file.keys():
        tensor = file.get_slice(name)
        print(name, tensor.get_shape(), tensor.get_dtype())
"""
LIST_HEADER = """
import json, struct, sys
with open(sys.argv[1], "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
for name, row in header.items():
    print(name, row["shape"], row["dtype"])
"""
CONVERT = """
import sys, torch, mlx.core as mx
weights = torch.load(sys.argv[1], mmap=True, weights_only=True)
moved = {name: mx.array((tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor).numpy()) for name, tensor in weights.items()}
mx.save_safetensors(sys.argv[2], moved)
"""
BUILD = """
import sys, torch, torchvision
torch.manual_seed(0)
torch.save(torchvision.models.resnet50().eval(), sys.argv[1])
"""


class Bench:
    def __init__(self, options):
        self.program = str(Path(options.program).resolve())
        self.python, self.rounds, self.first = options.python, options.rounds, options.first
        state = (FOLDER / "state").resolve()
        self.environment = {**os.environ, "XDG_STATE_HOME": str(state), "XDG_CACHE_HOME": str(state), "TERM": "xterm-256color"}
        self.has = {module: self.imports(module) for module in ["torch", "safetensors", "mlx.core", "torchvision"]}

    def imports(self, module):
        """Whether the Python that was named has a module."""
        if not self.python:
            return False
        return subprocess.run([self.python, "-c", f"import {module}"], capture_output=True).returncode == 0

    def made(self, name, make):
        path = FOLDER / name
        if not path.exists():
            print(f"making {path}", file=sys.stderr)
            part = path.with_name(path.name + ".part")
            # In a process of its own: what this one takes at its peak counts as taken by every program that it starts.
            child = os.fork()
            if child == 0:
                try:
                    make(part)
                    part.rename(path)
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            if not path.exists():
                sys.exit(f"{path} could not be made")
        return str(path)

    def many(self, count, kind):
        write = {"pt": files.torch, "safetensors": files.safetensors}[kind]
        return self.made(f"{count}.{kind}", lambda path: write(path, lambda: files.many(count)))

    def own(self, *arguments, watch=False):
        return lambda: run([self.program, *arguments], environment=self.environment, watch=watch)

    def script(self, code, *arguments, python=None):
        return lambda: run([python or self.python, "-c", code, *arguments])

    def python_beside(self, kind, count, path):
        """What lists the same file in Python, by name."""
        ways = {}
        if kind == "pt" and self.has["torch"] and count <= MOST_OF_TORCH:
            ways["`torch.load(mmap=True)` and print"] = self.script(LIST_TORCH, path)
        if kind == "safetensors":
            if self.has["safetensors"] and self.has["torch"]:
                ways["`safe_open` and print"] = self.script(LIST_SAFETENSORS, path)
            ways["`json.loads` of the header and print"] = self.script(LIST_HEADER, path, python=sys.executable)
        return ways

    def inspect(self):
        lines = ["### `inspect`", "", "| tensors | file | `inspect` | peak | `--format json` | peak | beside it |", "|" + "---|" * 7]
        for kind in ["pt", "safetensors"]:
            for count in COUNTS:
                path = self.many(count, kind)
                beside = self.python_beside(kind, count, path)
                ways = {"text": self.own("inspect", path), "json": self.own("inspect", "--format", "json", path), **beside}
                found = rounds(self.rounds, ways)
                text, json = found.get("text"), found.get("json")
                if not text or not json:
                    continue
                told = [
                    f"{name} {seconds(median(found[name]))}, {median(found[name], 'peak'):.0f} MiB: {ratio(text, found[name]):.1f} times the text's"
                    for name in beside
                    if name in found
                ]
                lines.append(
                    f"| {count:,} | .{kind} | {seconds(median(text))} | {median(text, 'peak'):.0f} MiB "
                    f"| {seconds(median(json))} | {median(json, 'peak'):.0f} MiB | {'; '.join(told) or 'not measured'} |"
                )
        return lines

    def tree(self):
        lines = ["### First tree on the screen", "", "| tensors | .pt | .safetensors |", "|" + "---|" * 3]
        for count in COUNTS:
            ways = {}
            for kind in ["pt", "safetensors"]:
                path = self.many(count, kind)
                command = [self.program, "--session", "none", path]
                # The name of a module: what is drawn while the file is opened has none.
                ways[kind] = lambda command=command: measure.first_sight(command, "stages", self.environment, self.first)
            found = rounds(self.rounds, ways)
            cells = [seconds(median(found[kind])) if kind in found else "not drawn" for kind in ways]
            lines.append(f"| {count:,} | {' | '.join(cells)} |")
        return lines

    def convert(self):
        path = self.made("vit_b_16.pt", lambda path: files.torch(path, files.vision_transformer))
        out, copied = str(FOLDER / "out.safetensors"), str(FOLDER / "copied")

        def flushed():
            begun = time.monotonic()
            copy = run(["cp", path, copied])
            with open(copied, "rb") as file:
                os.fsync(file.fileno())
            return measure.Run(time.monotonic() - begun, copy.busy, copy.peak)

        ways = {"cp": lambda: run(["cp", path, copied]), "flushed": flushed, "convert": self.own("convert", "--force", path, "-o", out)}
        if self.has["torch"] and self.has["mlx.core"]:
            ways["python"] = self.script(CONVERT, path, str(FOLDER / "python.safetensors"))
        found = rounds(self.rounds, ways)
        size = os.path.getsize(path) / (1 << 20)
        lines = [f"### `convert`, a ViT-B/16 of {size:.0f} MiB", "", "| | wall | processor | peak | `convert` is |", "|" + "---|" * 5]
        names = {"convert": "`convert`", "flushed": "`cp`, then fsync", "cp": "`cp`, left in memory", "python": "`torch.load`, permute, `mx.save_safetensors`"}
        for way, name in names.items():
            if way not in found:
                continue
            runs = found[way]
            beside = f"{ratio(found['convert'], runs):.2f} of it" if way != "convert" and "convert" in found else ""
            lines.append(f"| {name} | {seconds(median(runs))} | {seconds(median(runs, 'busy'))} | {median(runs, 'peak'):.0f} MiB | {beside} |")
        for name in [out, copied, str(FOLDER / "python.safetensors")]:
            Path(name).unlink(missing_ok=True)
        return lines

    def verify(self):
        lines = ["### `verify`, a ResNet-50", ""]
        if not self.has["torchvision"]:
            return lines + ["Not measured: the Python that was named has no torchvision."]
        path = self.made("resnet50.pt", lambda path: run([self.python, "-c", BUILD, str(path)]))
        ways = {"verify": self.own("verify", "--trials", "3", "--format", "jsonl", path, watch=True)}
        by_hand = Path(__file__).parent.parent / "by_hand.py"
        if by_hand.exists() and self.has["mlx.core"]:
            # It ends with 1 where a layer is beyond what it takes for rounding.
            ways["by hand"] = lambda: run([self.python, str(by_hand), path], well=(0, 1), watch=True)
        found = rounds(self.rounds, ways)
        if "verify" not in found:
            return lines + ["Not measured: the engine programs were not found, or failed."]
        lines += ["| | first number | last | processor | `verify` is sooner |", "|" + "---|" * 5]
        for name, words in {"verify": "`verify --trials 3`", "by hand": "a Python script with torch and mlx (`benches/by_hand.py`)"}.items():
            if name not in found:
                continue
            first, last, busy = (seconds(median(found[name], of)) for of in ["first", "wall", "busy"])
            times = [f"{ratio(found['verify'], found[name], of):.1f} times" for of in ["first", "wall"]]
            beside = f"{times[0]} to the first, {times[1]} to the last" if name != "verify" else ""
            lines.append(f"| {words} | {first} | {last} | {busy} | {beside} |")
        return lines


def machine(cores, first):
    """What it was measured on."""
    model = platform.processor() or platform.machine()
    try:
        names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
        model = names[0] if names else model
    except OSError:
        pass
    first = ", before which the bench went" if first else ""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"{platform.system()} {platform.machine()}, {model}, {cores} cores of {os.cpu_count()}, load {load:.1f} when it began{first}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(TARGET / "release" / "t2m-tui"))
    parser.add_argument("--python", help="an interpreter with torch, safetensors, mlx, torchvision")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first", action="store_true", help="go before the machine's other work (root)")
    parser.add_argument("--only", default="inspect,tree,convert,verify")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if not shutil.which(options.program):
        parser.error(f"{options.program}: there is no such program; cargo build --release")
    FOLDER.mkdir(parents=True, exist_ok=True)
    if options.first:
        # A session of its own has a share of its own, which ends with it.
        child = os.fork()
        if child:
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        os.setsid()
        measure.go_first()
    about = machine(measure.pin(), options.first)
    bench = Bench(options)
    missing = [module for module, found in bench.has.items() if not found]
    lines = [f"{about}. Medians of {options.rounds} rounds; a ratio is the median of the rounds' ratios. What takes over {measure.ONCE} s is run once."]
    if missing:
        lines.append(f"Without {', '.join(missing)}: rows that need them are left out.")
    for part in options.only.split(","):
        lines += ["", *getattr(bench, part)()]
    text = "\n".join(lines)
    print(text)
    if options.write:
        before, rest = options.write.read_text().split(BEGIN, 1)
        after = rest.split(END, 1)[1]
        options.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
