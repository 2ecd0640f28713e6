"""Fill fuzz/corpus with seeds out of the fixtures: whole files, and the records that the targets take apart.

    python3 fuzz/seeds.py
"""

import json
import pathlib
import struct
import zipfile

ROOT = pathlib.Path(__file__).parent
FIXTURES = ROOT.parent / "tests" / "fixtures"
SEPARATOR = b"\n~~~~\n"


def seed(target, name, *parts):
    folder = ROOT / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name.replace("/", "_")).write_bytes(SEPARATOR.join(parts))


def frame(header, payload=b""):
    header = json.dumps(header).encode()
    return struct.pack("<IQ", len(header), len(payload)) + header + payload


def archive(path, name):
    seed("archive", name, path.read_bytes())
    with zipfile.ZipFile(path) as opened:
        records = {entry.split("/", 1)[-1]: opened.read(entry) for entry in opened.namelist()}
        flat = {entry: opened.read(entry) for entry in opened.namelist() if "/" not in entry}
    for record, data in records.items():
        if record.endswith(".pkl"):
            seed("pickle", f"{name}-{record}", data)
    code = [record for record in records if record.endswith(".py") and record.startswith("code/")]
    for record in code:
        debug = records.get(record + ".debug_pkl", b"")
        seed("torchscript", f"{name}-{record}", records["data.pkl"], records[record], debug, records["constants.pkl"])
    if "models/model.json" in records:
        weights = records["data/weights/model_weights_config.json"]
        seed("exported", name, records["models/model.json"], weights, records["data/constants/model_constants_config.json"])
    if "serialized_exported_program.json" in flat:
        with zipfile.ZipFile(__import__("io").BytesIO(flat["serialized_state_dict.pt"])) as inner:
            pickle = next(inner.read(entry) for entry in inner.namelist() if entry.endswith("data.pkl"))
        seed("exported", name, flat["serialized_exported_program.json"], b"", b"", pickle)


for path in sorted(FIXTURES.rglob("*")):
    name = str(path.relative_to(FIXTURES))
    if path.suffix in (".pt", ".pt2", ".ckpt", ".bin") and zipfile.is_zipfile(path):
        archive(path, name)
    elif path.suffix == ".pth":
        seed("legacy", name, path.read_bytes())
    elif path.suffix == ".safetensors":
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        seed("safetensors", name, data[8 : 8 + length], data[8 + length :])
    elif path.name.endswith(".index.json"):
        renamed = path.read_text()
        for at, letter in ((1, "a"), (2, "b")):
            for stem in ("model", "pytorch_model"):
                renamed = renamed.replace(f"{stem}-0000{at}-of-00002.safetensors", f"{letter}.bin").replace(f"{stem}-0000{at}-of-00002.bin", f"{letter}.bin")
        config = b'{"architectures": ["Net"], "hidden_size": 4}'
        seed("index", name, renamed.encode(), config)
        # The same under links: hard and symbolic ones, and links to links.
        linked = renamed.replace("a.bin", "l0.bin").replace("b.bin", "l5.bin")
        seed("index", f"{name}-links", linked.encode(), config, bytes(range(8)))
        twice = json.loads(renamed)
        twice["weight_map"] = {tensor: f"l{at}.bin" for at, tensor in enumerate(twice["weight_map"])}
        seed("index", f"{name}-each", json.dumps(twice).encode(), config, bytes(len(twice["weight_map"])))
    elif path.suffix == ".py":
        text = path.read_text("utf-8", "replace")
        classes = [line.split()[1].split("(")[0].rstrip(":") for line in text.splitlines() if line.startswith("class ")]
        for cls in classes[:4]:
            seed("source", f"{name}-{cls}", text.encode(), cls.encode())
# Long chains, deep nesting, names that stand for names: what makes the work grow where it is done again for each link.
for name, expression in {
    "calls": "x" + ".a()" * 300,
    "views": "x" + ".view(1)" * 300,
    "copies": "x" + ".copy()" * 300,
    "names": "x" + ".a" * 600,
    "devices": "1 if x" + ".device" * 300 + " else 2",
    "subscripts": "x" + "[0]" * 400,
    "split": "x" + ".split(1)[0]" * 200,
    "nested": "x[" * 300 + "0" + "]" * 300,
    "parentheses": "(" * 500 + "x" + ")" * 500,
    "lambdas": "lambda: " * 200 + "x",
    "comprehensions": "[" * 100 + "x" + " for a in b]" * 100,
    "conditions": "x if x.any() else " * 100 + "x",
    "sums": "x" + " + x" * 300,
}.items():
    text = f"import torch.nn as nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return {expression}\n"
    seed("source", f"deep-{name}", text.encode(), b"Net")
for name, lines in {
    "doubled": ["a0 = [1, 2]"] + [f"a{i + 1} = [a{i}, a{i}]" for i in range(40)],
    "renamed": ["self.conv1 = nn.Linear(1, 1)", "a0 = self.conv1"] + [f"a{i + 1} = a{i}" for i in range(100)],
    "containers": ["self.fc = nn.Sequential(" + "OrderedDict(" * 60 + ")" * 61],
    "comprehended": ["self.fc = nn.ModuleList([nn.Sequential(*[nn.ReLU() for _ in range(9)]) for _ in range(9)])"],
    "registered": ["self.layers = nn.ModuleList()"] + ["self.layers.append(nn.Linear(2, 2))"] * 40,
    "conditional": ["a = 3"] + ["if a == 3: self.fc = nn.Linear(a, a)"] * 20,
}.items():
    body = "\n        ".join(lines)
    text = f"import torch.nn as nn\nclass Net(nn.Module):\n    def __init__(self, config=None):\n        {body}\n"
    seed("source", f"built-{name}", text.encode(), b"Net")
classes = "class C0:\n    def forward(self, x): return x.item()\n" + "".join(f"class C{i}(C{i - 1}): pass\n" for i in range(1, 80))
seed("source", "inherited", classes.encode(), b"C79")
def row(source, shape, from_shapes, fold="one", layout="keep", **more):
    return {"from": source, "rule": "x", "shape": shape, "from_shapes": from_shapes, "dtype": "float32", "fold": fold, "layout": layout, "known": "plan", **more}


# The tensors of the MLX file in fuzz_targets/map.rs, made of torch's in every way that there is.
maps = {
    "copied": {"a": row(["a"], [2, 3], [[2, 3]]), "b": row(["b"], [6], [[6]]), "c": row(["c"], [2, 1, 2, 3], [[2, 1, 2, 3]], known="copied", reason="no idea")},
    "laid_out": {"a": row(["n"], [2, 3], [[2, 3]], {"offset": 1.0}), "b": row(["b"], [6], [[2, 3]], layout="flatten"), "c": row(["c"], [2, 1, 2, 3], [[2, 3, 1, 2]], layout={"axes": {"axes": [0, 2, 3, 1], "groups": 1}})},
    "parts": {"a": row(["in"], [2, 3], [[4, 3]], {"part": {"index": 1, "of": 2}}), "b": row(["p", "q"], [6], [[6], [6]], "sum"), "c": row(["c"], [2, 1, 2, 3], [[2, 1, 2, 3]], layout={"axes": {"axes": [1, 0, 2, 3], "groups": 2}})},
    "folds": {"a": row(["g", "v"], [2, 3], [[2, 1], [2, 3]], {"weight_norm": {"dim": 0}}), "b": row(["i", "h"], [6], [[6], [6]], "gru_bias"), "c": row([], [2, 1, 2, 3], [], {"zeros": [2, 1, 2, 3]})},
    "standardised": {"a": row(["w", "k"], [2, 3], [[2, 3], [2, 1]], {"standardised": {"eps": 1e-6, "scale": 0.5}}), "b": row(["b"], [6], [[6]]), "c": row(["c"], [2, 1, 2, 3], [[2, 1, 2, 3]])},
}
for name, rows in maps.items():
    seed("map", name, json.dumps(rows).encode())
ASSETS = ROOT.parent / "assets"
for path in sorted((ASSETS / "themes").glob("*.toml")):
    seed("theme", path.name, path.read_bytes())
for name in ("layers.toml", "zoo.toml"):
    for number, row in enumerate((ASSETS / "registry" / name).read_text().split("[[layer]]")[1::9]):
        seed("registry", f"{name}-{number}", b"[[layer]]" + row.encode())
tensor = {"name": "weight", "dtype": "float32", "shape": [1, 2]}
seed("protocol", "load", frame({"request": "load", "id": 1, "generation": 0, "module": {"kind": "nn.Linear", "args": {}}, "tensors": [tensor]}, bytes(8)))
# Steps of tests/common/conversation.rs: a greeting; a load and its answer; a run, and its answer, another's, a late one, none.
LOAD, RUN = bytes([0, 0, 0, 100, 3]), bytes([0, 0, 8, 100])
for name, steps in {"answer": [3], "wrong": [1, 0, 0, 4, 4, 0, 20, 3], "late": [5, 200, 3, 5, 20, 3], "settled": [6, 20, 3], "closed": [7, 0]}.items():
    seed("client", name, bytes([3]) + LOAD + RUN + bytes(steps))
print({path.name: len(list(path.iterdir())) for path in sorted((ROOT / "corpus").iterdir())})
