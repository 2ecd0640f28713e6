"""Export each model, run it in both engines, delete it: `python table.py T2M-TUI RESULTS.jsonl [LIBRARY/NAME …]`, then
`python table.py --write RESULTS.jsonl DOCS/models.md`.

A model that RESULTS.jsonl has is not run again, so that a sweep goes on where it was stopped.
"""

import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import torch

import export
import zoo

# Seconds that a run may take.
DEADLINE = 900
# Where exported models lie while they run, and where whole reports are kept, if they are.
SCRATCH = os.environ.get("T2M_SCRATCH")
REPORTS = os.environ.get("T2M_REPORTS")


def main():
    if sys.argv[1] == "--write":
        write(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
        return
    program, results, *models = sys.argv[1:]
    torch.set_num_threads(1)
    results = pathlib.Path(results)
    done = {row["model"] for row in read(results)}
    models = [model for model in models or zoo.names() if model not in done]
    zoo.load(models)
    for model in models:
        row = measure(program, model)
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(line(row), flush=True)


def read(results):
    """The last row of each model."""
    rows = {}
    if results.exists():
        for text in results.read_text().splitlines():
            row = json.loads(text)
            rows[row["model"]] = row
    return list(rows.values())


def measure(program, model):
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        path = export.file(folder, model)
        row = export.apart(model, path)
        if "error" in row:
            return row
        row["bytes"] = path.stat().st_size
        begun = time.perf_counter()
        try:
            ran = subprocess.run([program, "run", path, "--format", "json"], capture_output=True, text=True, timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            return {**row, "failure": f"not done after {DEADLINE} s"}
        row["seconds"] = time.perf_counter() - begun
        row["exit"] = ran.returncode
        try:
            report = json.loads(ran.stdout)
        except ValueError:
            return {**row, "failure": ran.stderr.strip()[-2000:]}
        if REPORTS:
            with gzip.open(pathlib.Path(REPORTS) / f"{model.replace('/', '.')}.json.gz", "wt") as file:
                file.write(ran.stdout)
    return {**row, **sums(report)}


def sums(report):
    """Of a run's report what the table says."""
    nodes = report["nodes"]
    bad = []
    for node in nodes:
        together = node.get("accumulated")
        if node["verdict"] in ("exact", "ok", "given", "inf") and not (together and excess(together) > 1):
            continue
        bad.append({name: node.get(name) for name in ("index", "op", "module", "file", "line", "verdict", "reason", "isolated", "accumulated")})
    worst = lambda view: max((excess(node[view]) for node in nodes if view in node), default=0.0)  # noqa: E731
    return {
        "nodes": report["summary"]["nodes"],
        "summary": report["summary"],
        "first_divergence": report["first_divergence"],
        "bad": bad[:40],
        "relative": {view: max((relative(node[view]) for node in nodes if view in node), default=0.0) for view in ("isolated", "accumulated")},
        "isolated": worst("isolated"),
        "accumulated": worst("accumulated"),
        "outputs": report["outputs"],
        "ms_torch": sum(node["ms_torch"] for node in nodes),
        "ms_mlx": sum(node["ms_mlx"] for node in nodes),
    }


def excess(measured):
    """An error in units of its tolerance; JSON has null for what is infinite. Where none may differ the node's verdict says it:
    places of equal values in another order are `ok`, and told."""
    if measured["max_abs"] is None:
        return float("inf")
    return measured["max_abs"] / measured["tolerance"] if measured["tolerance"] else 0.0


def relative(measured):
    """An error relative to the scale of its value."""
    return (measured["max_abs"] or 0.0) / measured["scale"] if measured["scale"] else 0.0


def line(row):
    if "error" in row or "failure" in row:
        return f"{row['model']}: {row.get('error') or row.get('failure')}"
    return f"{row['model']}: exit {row['exit']}, {row['nodes']} nodes in {row['seconds']:.1f} s, isolated {row['isolated']:.2f}, accumulated {row['accumulated']:.2f}, {len(row['bad'])} bad"


HEAD = """# Whole models

Each model of `tests/models/zoo.py` is exported with `torch.export`, with random weights, and run node by node in libtorch and MLX
(`t2m-tui run`). torchvision's and timm's are whole, on small images; transformers' have two layers and narrow ones. Written by
`tests/models/table.py`.

- isolated, accumulated: the largest error of a node relative to its own scale, and in brackets as a share of its tolerance:
  both engines on torch's values, and MLX on its own from the first node on ([verdicts.md](verdicts.md)).
- engines: milliseconds that MLX and libtorch computed in float32, all nodes together; torch alone: one forward in Python.
- run: seconds of the whole run, start of the engines, three runs of libtorch and two of MLX, and comparisons; by a build without
  optimisation, on two cores that had other work.

In four of them a node is further off than the rule for sums allows, and no more than MLX's own algorithm is on the same numbers, which is
computed once more ([verdicts.md](verdicts.md)): `rdnet_tiny`, `convformer_s18`, `cait_xxs24_224` and `iformer_t`.

"""


def write(results, path):
    rows = read(results)
    ran = [row for row in rows if "exit" in row and "failure" not in row]
    fine = [row for row in ran if row["exit"] == 0]
    nodes = sum(row["nodes"] for row in ran)
    text = [HEAD, f"{len(fine)} of {len(rows)} models run without a complaint; {nodes} nodes were run.\n"]
    for library in ("torchvision", "timm", "transformers"):
        of = sorted((row for row in fine if row["model"].startswith(library + "/")), key=lambda row: row["model"])
        text.append(f"\n## {library}: {len(of)}\n\n| model | nodes | isolated | accumulated | engines, ms | torch alone, ms | run, s |\n|---|---:|---|---|---:|---:|---:|\n")
        for row in of:
            name = row["model"].split("/")[1]
            errors = [f"{error(row['relative'][at])} ({row[at]:.2f})" for at in ("isolated", "accumulated")]
            times = f"{row['ms_mlx'] + row['ms_torch']:.0f} | {row['torch_alone']:.0f} | {row['seconds']:.1f}"
            text.append(f"| {name} | {row['nodes']} | {errors[0]} | {errors[1]} | {times} |\n")
    others = [row for row in rows if row not in fine]
    if others:
        text.append("\n## With a complaint\n\n")
        for row in others:
            text.append(f"- `{row['model']}`: {complaint(row)}\n")
    ran = {row["model"] for row in rows}
    missing = [model for model in zoo.names() if model not in ran]
    if missing:
        text.append(f"\n## Not run\n\n{', '.join(missing)}\n")
    path.write_text("".join(text))


def error(number):
    return f"{number:.1e}" if number else "0"


def complaint(row):
    """What is wrong, by op and line."""
    if "error" in row or "failure" in row:
        return (row.get("error") or row["failure"]).splitlines()[0][:200]
    said = []
    for node in row["bad"]:
        place = f" at {pathlib.PurePath(node['file']).name}:{node['line']}" if node.get("file") else ""
        said.append(f"{node['op']}{place} {node['verdict']}" + (f" ({node['reason']})" if node.get("reason") else ""))
    more = f"; {len(said) - 3} more" if len(said) > 3 else ""
    return "; ".join(said[:3]) + more if said else f"exit {row['exit']}"


if __name__ == "__main__":
    main()
