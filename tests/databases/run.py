"""Run the files that `make.py` made, and write docs/databases.md.

    python tests/databases/run.py T2M_TUI FOLDER > docs/databases.md

T2M_TUI is the program; T2M_TORCH and T2M_MLX name its engines as always. FOLDER/ops and FOLDER/modules are what `make.py` made. For
each entry it says whether all its nodes were run by both engines, which were refused and why, and where torch and MLX part.
FOLDER/*_results.json has it all.
"""

import collections
import json
import pathlib
import subprocess
import sys

BAD = ("drift", "broken", "failed", "nan")


def run(program, path):
    done = subprocess.run([program, "run", str(path), "--format", "json"], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        return None, done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
    return json.loads(done.stdout), None


def diverges(node):
    """What of a node is wrong, in words; None where nothing is."""
    alone = node.get("isolated")
    # A NaN that both make is no difference.
    same = node["verdict"] == "nan" and alone and alone["max_abs"] <= alone["tolerance"]
    if node["verdict"] in BAD and not same:
        return f"{node['op']}: {node['verdict']}" + (f", {node['reason']}" if "reason" in node else "") + gap(node.get("isolated"))
    together = node.get("accumulated")
    if together and together.get("verdict") in BAD:
        return f"{node['op']}: what came together is {together['verdict']}" + gap(together)
    return None


def gap(measured):
    return f", {measured['max_abs']:.1e} against {measured['tolerance']:.1e}" if measured else ""


def entry_of(node, names):
    head = node["module"].split(".", 1)[0]
    return names[int(head[1:])] if head[1:].isdigit() else None


def collect(program, folder, what):
    said = json.loads((folder / f"{what}.json").read_text())
    entries = {
        name: {"samples": 0, "nodes": 0, "whole": 0, "refused": [], "wrong": [], "not exported": said["refused"].get(name)}
        for name in said["entries"]
    }
    engines = None
    for file, names in said["files"].items():
        for name in names:
            entries[name]["samples"] += 1
        report, failure = run(program, folder / file)
        if report is None:
            for name in names:
                entries[name]["wrong"].append(f"{file}: {failure[0]}")
            continue
        incomplete = {node["module"].split(".", 1)[0] for node in report["nodes"] if node["verdict"] == "refused"}
        for at, name in enumerate(names):
            entries[name]["whole"] += f"s{at}" not in incomplete
        for node in report["nodes"]:
            name = entry_of(node, names)
            if name is None:
                continue
            entry = entries[name]
            entry["nodes"] += 1
            if node["verdict"] == "refused":
                entry["refused"].append(f"{node['op']}: {node['reason']}")
            elif (words := diverges(node)) is not None:
                entry["wrong"].append(words)
        engines = report["engines"]
        print(f"{file}: {report['summary']}", file=sys.stderr)
    return entries, engines


def state(entry):
    if entry["not exported"] and not entry["samples"]:
        return "not exported"
    if entry["wrong"]:
        return "wrong"
    if not entry["refused"]:
        return "measured"
    return "measured in part" if entry["whole"] else "refused"


def table(what, entries):
    counts = collections.Counter(state(entry) for entry in entries.values())
    exported = len(entries) - counts["not exported"]
    lines = [
        "| entries | exported | measured | measured in part | refused | wrong |",
        "|---|---|---|---|---|---|",
        f"| {len(entries)} | {exported} | {counts['measured']} | {counts['measured in part']} | {counts['refused']} | {counts['wrong']} |",
        "",
    ]
    parts = ["wrong", "measured in part", "refused", "not exported"]
    for title, key in [(part.capitalize(), part) for part in parts]:
        named = [(name, entry) for name, entry in entries.items() if state(entry) == key]
        reasons = collections.defaultdict(list)
        for name, entry in named:
            lists = {"not exported": [entry["not exported"]], "wrong": entry["wrong"]}
            reason = lists.get(key, entry["refused"])[0]
            reasons[reason].append(name.rsplit(".", 1)[0] if what == "modules" else name)
        if not reasons:
            continue
        lines += [f"{title}:", "", "| reason | entries |", "|---|---|"]
        for reason, names in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
            counted = collections.Counter(names)
            told = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counted.items())
            cell = reason.replace("|", "\\|")
            lines.append(f"| {cell} | {told} |")
        lines.append("")
    return "\n".join(lines)


HEAD = """# Torch's own databases

PyTorch tests itself with two databases that lie in its wheel: **OpInfo**, an entry an operator with inputs to try, and **ModuleInfo**,
the layers of `torch.nn` in every configuration with the arguments of their forwards. Nobody here wrote them.
`tests/databases/make.py` exports their float32 samples with torch.export, up to three an entry of OpInfo and every configuration of
ModuleInfo, in eval; `tests/databases/run.py` takes the files through `t2m-tui run`, node by node in both engines, and writes this page.
Measured with torch {torch}, {mlx}.

`measured`: every node of every sample was run by both engines and rounding explains what is between them, or both make the same NaN;
numbers that are drawn at random are given to both. `measured in part`: so are some of the samples, and others have a node that is
refused. `refused`: a node is not converted, and the row says why. `wrong`: the engines part.
`not exported`: torch.export itself refuses every sample, in its words.
"""


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    tables = []
    for what in ["ops", "modules"]:
        entries, engines = collect(program, folder / what, what)
        (folder / f"{what}_results.json").write_text(json.dumps(entries, indent=1) + "\n")
        tables.append(f"## {'OpInfo' if what == 'ops' else 'ModuleInfo'}\n\n{table(what, entries)}")
    mlx = engines["mlx"]
    named = f"mlx {mlx['version']} ({mlx['device']})"
    print(HEAD.format(torch=engines["torch"]["version"], mlx=named))
    print("\n".join(tables).rstrip())


if __name__ == "__main__":
    main()
