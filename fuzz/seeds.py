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
tensor = {"name": "weight", "dtype": "float32", "shape": [1, 2]}
seed("protocol", "load", frame({"request": "load", "id": 1, "generation": 0, "module": {"kind": "nn.Linear", "args": {}}, "tensors": [tensor]}, bytes(8)))
print({path.name: len(list(path.iterdir())) for path in sorted((ROOT / "corpus").iterdir())})
