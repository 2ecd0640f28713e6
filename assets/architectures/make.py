#!/usr/bin/env python3
"""Builds published architectures on the meta device and writes what they are to architectures.bin.

    python assets/architectures/make.py [--only LIBRARY ...] [--jobs N] [--trees FOLDER]

Needs torch and what requirements.txt beside it pins (`pip install --no-deps -r requirements.txt` is enough); no weights and no
network. A library that is not installed, or in another version, is an error, so that the asset never shrinks unnoticed. With
--trees each tree is kept as JSON, and one that is there is not built again. published.py lists those of whose models only
some are published.

The file, numbers little-endian: `T2MARCH1`, then the lengths of the index and of the sketches (u32 each), the index (JSON,
deflate), the sketches (SKETCH u32 for each tree), and the blocks (JSON, deflate), each read alone when it is wanted.

index   {"sketch": SKETCH, "libraries": [[name, version], …], "blocks": [[offset, bytes], …],
         "trees": [[library, [name, …], block, node, tensors], …]}
block   {"classes": [class, …], "attributes": [{name: value}, …], "texts": [name, …],
         "nodes": [[class, attributes, [[text, kind, dtype, shape], …], [[text, node], …]], …]}

A node is a module with its tensors and children; modules that are alike are one node. kind is 0 for a parameter and 1 for
a buffer. A sketch is the SKETCH smallest hashes of a tree's tensors: FNV-1a, 32 bits, of the last three parts of the name, a
space, and the shape joined by `x`; where there are fewer, the last one is repeated.
"""

import argparse
import gzip
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import struct
import sys
import traceback
import zlib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import describe  # noqa: E402
import published  # noqa: E402

# What some libraries ask a hub for would only be waited for.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
MAGIC = b"T2MARCH1"
SKETCH = 24
SECONDS = 300
# Where a library keeps its weights, and how it prepares images: nothing of the model.
NOT_THE_MODEL = {"default_cfg", "pretrained_cfg", "config", "generation_config"}
# Blocks are read whole: models of one file of a library share one, up to so many trees.
MOST_IN_A_BLOCK = 24

SMP_ENCODERS = [
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "se_resnext50_32x4d", "vgg16", "vgg16_bn",
    "vgg19_bn", "densenet121", "mobilenet_v2", "efficientnet-b0", "efficientnet-b1", "efficientnet-b2", "efficientnet-b3",
    "efficientnet-b4", "efficientnet-b5", "efficientnet-b7", "mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b5", "xception",
]
SMP_MODELS = ["Unet", "UnetPlusPlus", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "Linknet", "MAnet", "PAN", "UPerNet", "Segformer"]


def torchvision_names():
    from torchvision import models

    return [name for name in models.list_models() if not name.startswith("quantized_")]


def build_torchvision(name):
    from torchvision import models

    options = {"weights": None}
    if models.get_model_builder(name).__module__.split(".")[2] in ("detection", "segmentation"):
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "aux_logits": True}
    return models.get_model(name, **options)


def timm_names():
    import timm

    return timm.list_models()


def build_timm(name):
    import timm

    return timm.create_model(name)


def smp_names():
    return [f"{model}({encoder})" for model in SMP_MODELS for encoder in SMP_ENCODERS]


def build_smp(name):
    import segmentation_models_pytorch as smp

    model, encoder = name[:-1].split("(")
    return getattr(smp, model)(encoder, encoder_weights=None)


def open_clip_names():
    import open_clip

    return open_clip.list_models()


def build_open_clip(name):
    import open_clip

    return open_clip.create_model(name, pretrained=None, pretrained_hf=False, device="meta")


def efficientnet_names():
    return [f"efficientnet-b{number}" for number in range(9)] + ["efficientnet-l2"]


def build_efficientnet(name):
    from efficientnet_pytorch import EfficientNet

    return EfficientNet.from_name(name)


def facenet_names():
    return ["PNet", "RNet", "ONet", "InceptionResnetV1"]


def build_facenet(name):
    import facenet_pytorch.models.mtcnn as mtcnn
    from facenet_pytorch import InceptionResnetV1

    if name == "InceptionResnetV1":
        return InceptionResnetV1(pretrained=None, classify=True, num_classes=8631)
    return getattr(mtcnn, name)(pretrained=False)


# Library, package, its models' names, and how one is built.
LIBRARIES = [
    ("torchvision", "torchvision", torchvision_names, build_torchvision),
    ("timm", "timm", timm_names, build_timm),
    ("segmentation_models_pytorch", "segmentation_models_pytorch", smp_names, build_smp),
    ("open_clip", "open_clip_torch", open_clip_names, build_open_clip),
    ("efficientnet_pytorch", "efficientnet_pytorch", efficientnet_names, build_efficientnet),
    ("facenet_pytorch", "facenet_pytorch", facenet_names, build_facenet),
    *published.entries(),
]


def pinned():
    """Versions by package, as requirements.txt has them."""
    lines = [line.partition("#")[0].strip() for line in (HERE / "requirements.txt").read_text().splitlines()]
    return dict(line.split("==") for line in lines if line)


def version(package):
    found, wanted = importlib.metadata.version(package), pinned()[package]
    if found != wanted:
        sys.exit(f"{package} is {found} here, and requirements.txt wants {wanted}")
    return found


def build(job):
    """The tree of one model as JSON text, or why there is none."""
    import signal
    import warnings

    warnings.filterwarnings("ignore")
    library, name, keep = job
    kept = keep and Path(keep) / f"{library}-{hashlib.sha256(name.encode()).hexdigest()[:24]}.json.gz"
    if kept and kept.exists():
        return library, name, gzip.decompress(kept.read_bytes()).decode(), None
    import torch

    torch.set_num_threads(1)
    builder = next(build for label, _, _, build in LIBRARIES if label == library)

    def late(*_):
        raise TimeoutError(f"not built after {SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        try:
            with torch.device("meta"):
                model = builder(name)
        except (NotImplementedError, RuntimeError, TypeError, ValueError):
            with published.WithoutNumbers():
                model = builder(name)
        text = json.dumps(tree(describe.modules(model.eval())), separators=(",", ":"))
    except Exception as error:  # What a library cannot build is listed, and the others go on.
        return library, name, None, traceback.format_exception_only(error)[-1].strip()
    finally:
        signal.alarm(0)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(gzip.compress(text.encode(), 6))
    return library, name, text, None


def tree(modules):
    """Nested nodes from the list of modules."""
    nodes = {}
    for module in modules:
        node = {"class": module["class"], "attributes": module["attributes"], "tensors": module["tensors"], "children": []}
        nodes[module["path"]] = node
        parent, _, name = module["path"].rpartition(".")
        if module["path"]:
            nodes[parent]["children"].append([name, node])
    return nodes[""]


def tensors(node, path=""):
    for name, kind, dtype, shape in node["tensors"]:
        yield f"{path}{name}", shape
    for name, child in node["children"]:
        yield from tensors(child, f"{path}{name}.")


def fnv(text):
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def item(name, shape):
    return fnv(".".join(name.split(".")[-3:]) + " " + "x".join(map(str, shape or [])))


def sketch(node):
    hashes = sorted({item(name, shape) for name, shape in tensors(node)})[:SKETCH]
    return hashes + hashes[-1:] * (SKETCH - len(hashes))


class Block:
    """Trees with everything that is alike stored once."""

    def __init__(self):
        self.classes, self.attributes, self.texts, self.nodes = {}, {}, {}, {}

    @staticmethod
    def place(table, value):
        return table.setdefault(value, len(table))

    def add(self, node):
        children = [[self.place(self.texts, name), self.add(child)] for name, child in node["children"]]
        own = [[self.place(self.texts, name), int(kind == "buffer"), dtype, shape] for name, kind, dtype, shape in node["tensors"]]
        key = json.dumps(
            [
                self.place(self.classes, node["class"]),
                self.place(self.attributes, json.dumps(node["attributes"], separators=(",", ":"))),
                own,
                children,
            ],
            separators=(",", ":"),
        )
        return self.place(self.nodes, key)

    def text(self):
        tables = [json.dumps(list(table), separators=(",", ":")) for table in (self.classes, self.texts)]
        return '{"classes":%s,"attributes":[%s],"texts":%s,"nodes":[%s]}' % (
            tables[0], ",".join(self.attributes), tables[1], ",".join(self.nodes),
        )


def deflate(text):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    return packer.compress(text.encode()) + packer.flush()


def without_noise(node):
    """A kept tree may be older than the list of what is left out."""
    node["attributes"] = {name: value for name, value in node["attributes"].items() if name not in NOT_THE_MODEL}
    for _, child in node["children"]:
        without_noise(child)
    return node


def write(trees, out):
    """`trees`: library, name and tree of each model."""
    labels = sorted({library for library, *_ in trees}, key=[label for label, *_ in LIBRARIES].index)
    versions = {label: version(package) for label, package, *_ in LIBRARIES if label in labels}
    # Models that are alike in everything are one tree with several names.
    distinct = {}
    for library, name, node in trees:
        text = json.dumps(node, separators=(",", ":"), sort_keys=True)
        key = (library, node["class"].rpartition(".")[0], hashlib.sha256(text.encode()).digest())
        distinct.setdefault(key, [[], node])[0].append(name)
    families = {}
    for (library, family, _), (names, node) in distinct.items():
        families.setdefault((library, family), []).append((names, node))
    blocks, rows, sketches = [], [], []
    for (library, _), members in families.items():
        for start in range(0, len(members), MOST_IN_A_BLOCK):
            block = Block()
            for names, node in members[start : start + MOST_IN_A_BLOCK]:
                root = block.add(node)
                rows.append([labels.index(library), names, len(blocks), root, sum(1 for _ in tensors(node))])
                sketches.append(struct.pack(f"<{SKETCH}I", *sketch(node)))
            blocks.append(deflate(block.text()))
    places, offset = [], 0
    for block in blocks:
        places.append([offset, len(block)])
        offset += len(block)
    index = {
        "sketch": SKETCH,
        "libraries": [[library, versions[library]] for library in labels],
        "blocks": places,
        "trees": rows,
    }
    packed = deflate(json.dumps(index, separators=(",", ":")))
    with open(out, "wb") as file:
        file.write(MAGIC + struct.pack("<II", len(packed), len(sketches) * SKETCH * 4) + packed)
        file.writelines(sketches)
        file.writelines(blocks)
    print(f"{len(trees)} models, {len(rows)} trees, {len(blocks)} blocks, index {len(packed)}, all {os.path.getsize(out)} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="libraries to build")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--trees", help="folder for the trees")
    parser.add_argument("--out", default=HERE / "architectures.bin")
    arguments = parser.parse_args()
    jobs = []
    for label, _, names, _ in LIBRARIES:
        if not arguments.only or label in arguments.only:
            jobs += [(label, name, arguments.trees) for name in names()]
    trees, failures = [], []
    with multiprocessing.get_context("spawn").Pool(arguments.jobs, maxtasksperchild=100) as pool:
        for library, name, text, error in pool.imap(build, jobs, chunksize=4):
            if error:
                failures.append(f"{library} {name}: {error}")
                print("not built:", failures[-1], file=sys.stderr, flush=True)
            else:
                trees.append((library, name, without_noise(json.loads(text))))
    write(trees, arguments.out)
    print(f"{len(failures)} not built")


if __name__ == "__main__":
    main()
