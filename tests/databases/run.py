"""Run the files that `make.py` made, and write the table.

    python tests/databases/run.py T2M_TUI FOLDER [ops|modules]

T2M_TUI is the program; T2M_TORCH and T2M_MLX name its engines as always. For each entry it says whether all its nodes were run by
both engines, which were refused and why, and where torch and MLX part. FOLDER/*_results.json has it all; the table goes to stdout
as Markdown, for docs/databases.md.
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
        name: {"samples": 0, "nodes": 0, "refused": [], "wrong": [], "not exported": said["refused"].get(name)}
        for name in said["entries"]
    }
    for file, names in said["files"].items():
        for name in names:
            entries[name]["samples"] += 1
        report, failure = run(program, folder / file)
        if report is None:
            for name in names:
                entries[name]["wrong"].append(f"{file}: {failure[0]}")
            continue
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
        print(f"{file}: {report['summary']}", file=sys.stderr)
    return entries


def state(entry):
    if entry["not exported"] and not entry["samples"]:
        return "not exported"
    if entry["wrong"]:
        return "wrong"
    return "refused" if entry["refused"] else "measured"


def table(what, entries):
    counts = collections.Counter(state(entry) for entry in entries.values())
    exported = len(entries) - counts["not exported"]
    lines = [
        "| entries | exported | measured | refused | wrong |",
        "|---|---|---|---|---|",
        f"| {len(entries)} | {exported} | {counts['measured']} | {counts['refused']} | {counts['wrong']} |",
        "",
    ]
    for title, key in [("Wrong", "wrong"), ("Refused", "refused"), ("Not exported", "not exported")]:
        named = [(name, entry) for name, entry in entries.items() if state(entry) == key]
        reasons = collections.defaultdict(list)
        for name, entry in named:
            reason = entry["not exported"] if key == "not exported" else entry[key][0]
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


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    for what in sys.argv[3:] or ["ops", "modules"]:
        entries = collect(program, folder, what)
        (folder / f"{what}_results.json").write_text(json.dumps(entries, indent=1) + "\n")
        print(f"## {'OpInfo' if what == 'ops' else 'ModuleInfo'}\n")
        print(table(what, entries))


if __name__ == "__main__":
    main()
