#!/usr/bin/env python3
"""Measures what the program knows of real checkpoints, and what it runs of them.

    python assets/architectures/real.py PROGRAM LIST [--python EXE] [--only NAME ...] [--no-verify] [--missing N]

LIST has a line for each checkpoint, with tabs between: a name, the file or folder, and, if there are, a folder for --source
and an expression for --model (which EXE builds). Lines that begin with # are skipped. Each checkpoint is opened bare, with
--source, and with --model; the engines are found as the program finds them.

Columns: layers and parameters listed as convertible (`coverage`), `weights`: parameters whose move is known, `measured`: of
the modules with tensors those that ran in both engines, and `assumed`: those that ran with each value that the file leaves
open. Behind the table stands what is missing, by kind: the reason without what it quotes.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

WAYS = ("bare", "source", "model")


def rows(path):
    for line in Path(path).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield (line.split("\t") + ["", "", ""])[:4]


def call(program, *arguments, seconds=900):
    """The JSON of a subcommand, or why there is none. `verify` says by its exit code how the layers did; its JSON is there."""
    try:
        done = subprocess.run([program, *arguments, "--format", "json"], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None, f"no answer after {seconds} s"
    try:
        return json.loads(done.stdout), None
    except ValueError:
        return None, (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]


def kind(reason):
    """A reason as a kind: what is quoted stays where it is a hyper-parameter, numbers go."""
    return re.sub(r"\d+(\.\d+)*", "N", reason)[:110]


def measure(program, path, options, verify):
    """Figures of one checkpoint and what it lacks."""
    report, error = call(program, "inspect", path, *options)
    if error:
        return None, error
    coverage = report["summary"]["coverage"]
    owners = [module for module in report["modules"] if module["tensors"]]
    figures = {"layers": coverage["layers"], "parameters": coverage["parameters"], "weights": coverage["weights"]}
    architecture = report["checkpoint"].get("architecture")
    figures["architecture"] = architecture and f"{architecture['name']} ({architecture['match']})"
    lacking = Counter()
    if verify and owners:
        answer, error = call(program, "verify", path, *options)
        if error:
            return None, error
        ran, assumed, reasons = set(), set(), {}
        for layer in answer["layers"]:
            if layer.get("assumed"):
                assumed.add(layer["path"])
            elif layer["trials"]:
                ran.add(layer["path"])
            else:
                reasons[layer["path"]] = layer.get("reason", layer["verdict"])
        figures["measured"] = sum(module["path"] in ran for module in owners) / len(owners)
        figures["assumed"] = sum(module["path"] in assumed for module in owners) / len(owners)
        for module in owners:
            if module["path"] not in ran | assumed:
                name = module["class"].rpartition(".")[2] or "no class"
                lacking[f"{name}: {kind(reasons.get(module['path'], module['reason']))}"] += 1
    figures["modules"] = len(owners)
    return figures, lacking


def percent(value):
    return "–" if value is None else f"{value:.0%}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("list")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--no-verify", action="store_true")
    parser.add_argument("--missing", type=int, default=20)
    arguments = parser.parse_args()
    columns = ("layers", "parameters", "weights", "measured", "assumed")
    found = {way: [] for way in WAYS}
    lacking = {way: Counter() for way in WAYS}
    print("| checkpoint | way | " + " | ".join(columns) + " | modules | fits |\n|" + "---|" * (len(columns) + 4))
    for name, path, source, model in rows(arguments.list):
        if arguments.only and name not in arguments.only:
            continue
        options = {"bare": [], "source": source and ["--source", source]}
        options["model"] = model and ["--python", arguments.python, "--model", model] + (["--source", source] if source else [])
        for way in arguments.ways:
            if options[way] == "":
                continue
            figures, missing = measure(arguments.program, path, options[way], not arguments.no_verify)
            if figures is None:
                print(f"| {name} | {way} | {missing} |", flush=True)
                continue
            cells = " | ".join(percent(figures.get(column)) for column in columns)
            print(f"| {name} | {way} | {cells} | {figures['modules']} | {figures['architecture'] or '–'} |", flush=True)
            found[way].append(figures)
            lacking[way] += missing
    for way in arguments.ways:
        means = []
        for column in columns:
            values = [figures[column] for figures in found[way] if figures.get(column) is not None]
            means.append(percent(sum(values) / len(values) if values else None))
        both = [figures["measured"] + figures["assumed"] for figures in found[way] if "measured" in figures]
        together = percent(sum(both) / len(both) if both else None)
        print(f"| mean of {len(found[way])} | {way} | {' | '.join(means)} | measured or assumed {together} | |")
    for way in arguments.ways:
        for what, count in lacking[way].most_common(arguments.missing):
            print(f"{way}: {count:5} {what}")


if __name__ == "__main__":
    main()
