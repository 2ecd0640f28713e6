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
        seed("index", name, renamed.encode(), b'{"architectures": ["Net"], "hidden_size": 4}')
    elif path.suffix == ".py":
        text = path.read_text("utf-8", "replace")
        classes = [line.split()[1].split("(")[0].rstrip(":") for line in text.splitlines() if line.startswith("class ")]
        for cls in classes[:4]:
            seed("source", f"{name}-{cls}", text.encode(), cls.encode())
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
tensor = {"name": "weight", "dtype": "float32", "shape": [1, 2]}
seed("protocol", "load", frame({"request": "load", "id": 1, "generation": 0, "module": {"kind": "nn.Linear", "args": {}}, "tensors": [tensor]}, bytes(8)))
print({path.name: len(list(path.iterdir())) for path in sorted((ROOT / "corpus").iterdir())})
