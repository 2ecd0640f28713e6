#!/usr/bin/env python3
"""Lists which models have an implementation in MLX, as packages say of themselves, and writes ports.json.

    pip download --no-deps -d WHEELS mlx-lm mlx-vlm mlx-audio mlx-embeddings mlx-whisper mlx-image mflux diffusionkit demucs-mlx parakeet-mlx
    python assets/ports/make.py WHEELS

Nothing is imported: a wheel's Python files are parsed. A package is listed with the version of its wheel; one that is missing
is an error, so that the list never shrinks unnoticed. What is written:

packages      package → version; their order is the order in which ports are named
model_types   `model_type` of a config.json → ["package module", …]
classes       a class of config.json's `architectures`, or `_class_name` of diffusers → the same; wins over the model_type
models        `library.model` of the published architectures, or `library.prefix*` → the same
"""

import argparse
import ast
import json
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
ORDER = [
    "mlx-lm", "mlx-vlm", "mlx-audio", "mlx-embeddings", "mlx-whisper", "mlx-image", "mflux", "diffusionkit", "demucs-mlx",
    "parakeet-mlx", "mlx-examples",
]
# The repository ml-explore/mlx-examples is no package and has no versions.
EXAMPLES = "no version"

# What no table in the packages says. The modules' existence is checked in the wheels; those of mlx-examples are its folders.
MODEL_TYPES = {
    "bert": ["mlx-examples bert.model"],
    "clip": ["mlx-examples clip.model"],
    "dac": ["mlx-audio mlx_audio.codec.models.descript"],
    "depth_pro": ["mflux mflux.models.depth_pro"],
    "encodec": ["mlx-examples encodec.encodec"],
    "esm": ["mlx-examples esm.esm.model"],
    "llava": ["mlx-examples llava.llava"],
    "musicgen": ["mlx-examples musicgen.musicgen"],
    "parakeet_ctc": ["parakeet-mlx parakeet_mlx.ctc"],
    "parakeet_tdt": ["parakeet-mlx parakeet_mlx.parakeet"],
    "sam": ["mlx-examples segment_anything.segment_anything.sam"],
    "t5": ["mlx-examples t5.t5"],
    "wav2vec2": ["mlx-audio mlx_audio.stt.models.wav2vec"],
    "whisper": ["mlx-whisper mlx_whisper.whisper"],
}
CLASSES = {
    "BriaFiboPipeline": ["mflux mflux.models.fibo"],
    "BriaFiboTransformer2DModel": ["mflux mflux.models.fibo.model.fibo_transformer"],
    "Flux2Pipeline": ["mflux mflux.models.flux2"],
    "Flux2KleinPipeline": ["mflux mflux.models.flux2"],
    "Flux2Transformer2DModel": ["mflux mflux.models.flux2.model.flux2_transformer"],
    "FluxPipeline": ["mflux mflux.models.flux", "diffusionkit diffusionkit.mlx.mmdit", "mlx-examples flux.flux"],
    "FluxTransformer2DModel": [
        "mflux mflux.models.flux.model.flux_transformer", "diffusionkit diffusionkit.mlx.mmdit", "mlx-examples flux.flux.model",
    ],
    "FluxKontextPipeline": ["mflux mflux.models.flux"],
    "QwenImagePipeline": ["mflux mflux.models.qwen"],
    "QwenImageEditPipeline": ["mflux mflux.models.qwen"],
    "QwenImageTransformer2DModel": ["mflux mflux.models.qwen.model.qwen_transformer"],
    "SD3Transformer2DModel": ["diffusionkit diffusionkit.mlx.mmdit"],
    "StableDiffusion3Pipeline": ["diffusionkit diffusionkit.mlx.mmdit"],
    "StableDiffusionPipeline": ["mlx-examples stable_diffusion.stable_diffusion"],
    "StableDiffusionXLPipeline": ["mlx-examples stable_diffusion.stable_diffusion"],
    "UNet2DConditionModel": ["mlx-examples stable_diffusion.stable_diffusion.unet"],
    "AutoencoderKL": ["mlx-examples stable_diffusion.stable_diffusion.vae"],
    "ZImagePipeline": ["mflux mflux.models.z_image"],
    "ZImageTransformer2DModel": ["mflux mflux.models.z_image.model.z_image_transformer"],
}
MODELS = {
    "clip.ViT*": ["mlx-examples clip.model"],
    "dac.*": ["mlx-audio mlx_audio.codec.models.descript"],
    "deepfilternet.*": ["mlx-audio mlx_audio.sts.models.deepfilternet"],
    "demucs.demucs*": ["demucs-mlx demucs_mlx.mlx_demucs"],
    "demucs.hdemucs*": ["demucs-mlx demucs_mlx.mlx_hdemucs"],
    "demucs.htdemucs*": ["demucs-mlx demucs_mlx.mlx_htdemucs"],
    "encodec.*": ["mlx-audio mlx_audio.codec.models.encodec", "mlx-examples encodec.encodec"],
    "segment_anything.*": ["mlx-examples segment_anything.segment_anything.sam"],
    "silero_vad.*": ["mlx-audio mlx_audio.vad.models.silero_vad"],
    "snac.*": ["mlx-audio mlx_audio.codec.models.snac"],
    "vocos.*": ["mlx-audio mlx_audio.codec.models.vocos"],
    "whisper.*": ["mlx-audio mlx_audio.stt.models.whisper", "mlx-whisper mlx_whisper.whisper", "mlx-examples whisper.mlx_whisper.whisper"],
}
# mlx-image names torchvision's models as timm does.
TORCHVISION = {
    "vit_b_16": "vit_base_patch16_224", "vit_b_32": "vit_base_patch32_224", "vit_l_16": "vit_large_patch16_224",
    "vit_h_14": "vit_huge_patch14_224", "swin_t": "swin_tiny_patch4_window7_224", "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224", "swin_v2_t": "swin_v2_tiny_patch4_window8_256",
    "swin_v2_s": "swin_v2_small_patch4_window8_256", "swin_v2_b": "swin_v2_base_patch4_window8_256",
}
# Of these families timm's models have torchvision's layers, which mlx-image has.
SHARED_WITH_TIMM = ("resnet", "wide_resnet")


class Wheel:
    """The Python files of a wheel, by their modules."""

    def __init__(self, path):
        self.name, self.version = path.name.split("-")[:2]
        self.name = self.name.replace("_", "-")
        with zipfile.ZipFile(path) as archive:
            texts = {name: archive.read(name).decode(errors="replace") for name in archive.namelist() if name.endswith(".py")}
        self.modules = {}
        for name, text in texts.items():
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            try:
                self.modules[module] = ast.parse(text)
            except SyntaxError:
                continue
        self.folders = {".".join(module.split(".")[:end]) for module in self.modules for end in range(1, module.count(".") + 2)}

    def table(self, module, name):
        """A dict of constants that a module defines."""
        for node in self.modules[module].body:
            if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
                return ast.literal_eval(node.value)
        raise KeyError(f"{module} has no {name}")

    def offers(self, module, name):
        """Whether a module defines a class of this name, or takes it from another of its files."""
        for node in self.modules[module].body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return True
            if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
                return True
        return False

    def below(self, package):
        """Modules one level below a package, by name."""
        for module in sorted(self.modules):
            parent, _, name = module.rpartition(".")
            if parent == package:
                yield name, module


def put(table, key, package, module):
    entry = f"{package} {module}"
    if entry not in table.setdefault(key, []):
        table[key].append(entry)


def models_below(wheel, package, class_name="Model"):
    return {name: module for name, module in wheel.below(package) if wheel.offers(module, class_name)}


def remapped(found, remapping):
    """The same modules under further names."""
    return found | {name: found[target] for name, target in remapping.items() if target in found}


def language_models(wheel, types, classes):
    found = models_below(wheel, "mlx_lm.models")
    for name, module in remapped(found, wheel.table("mlx_lm.utils", "MODEL_REMAPPING")).items():
        put(types, name, wheel.name, module)
    for (_, architecture), target in wheel.table("mlx_lm.utils", "MODEL_ARCHITECTURE_REMAPPING").items():
        put(classes, architecture, wheel.name, found[target])
    return set(found)


def vision_models(wheel, types):
    found = models_below(wheel, "mlx_vlm.models")
    for name, module in remapped(found, wheel.table("mlx_vlm.utils", "MODEL_REMAPPING")).items():
        put(types, name, wheel.name, module)


def audio_models(wheel, types, text_models):
    for kind in ("stt", "tts", "sts", "lid", "vad", "music"):
        found = models_below(wheel, f"mlx_audio.{kind}.models")
        # A speech model on the base of a language model is none of that language model.
        found = {name: module for name, module in found.items() if name not in text_models}
        for name, module in remapped(found, wheel.table(f"mlx_audio.{kind}.utils", "MODEL_REMAPPING")).items():
            if name not in text_models:
                put(types, name, wheel.name, module)
    for name in ("encodec", "mimi", "snac", "vocos"):
        put(types, name, wheel.name, f"mlx_audio.codec.models.{name}")


def embeddings(wheel, types):
    found = models_below(wheel, "mlx_embeddings.models")
    for name, module in remapped(found, wheel.table("mlx_embeddings.utils", "MODEL_REMAPPING")).items():
        # Its loader turns a `-` of the model's type into `_`.
        for spelling in (name, name.replace("_", "-")):
            put(types, spelling, wheel.name, module)


def image_models(wheel, models):
    entries = {}
    for family, module in wheel.below("mlxim.model"):
        for node in wheel.modules[module].body:
            if isinstance(node, ast.Assign) and node.targets[0].id.endswith("_ENTRYPOINT") and isinstance(node.value, ast.Dict):
                entries |= {key.value: f"{module}.{family}" for key in node.value.keys if isinstance(key, ast.Constant)}
    entries = {name: module if module in wheel.modules else module.rpartition(".")[0] for name, module in entries.items()}
    own = {name: module for name, module in entries.items() if not name.startswith(("vit_", "swin_"))}
    torchvision = {name: entries[target] for name, target in TORCHVISION.items() if target in entries}
    for name, module in sorted((own | torchvision).items()):
        put(models, f"torchvision.{name}", wheel.name, module)
        if name.startswith(SHARED_WITH_TIMM):
            put(models, f"timm.{name}", wheel.name, module)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path)
    parser.add_argument("--out", type=Path, default=HERE / "ports.json")
    arguments = parser.parse_args()
    read = {}
    for path in sorted(arguments.wheels.glob("*.whl")):
        if path.name.split("-")[0].replace("_", "-") in ORDER:
            wheel = Wheel(path)
            read[wheel.name] = wheel
    missing = [name for name in ORDER if name not in read and name != "mlx-examples"]
    if missing:
        parser.error(f"no wheel of {', '.join(missing)}")
    types, classes, models = {}, {}, {}
    text_models = language_models(read["mlx-lm"], types, classes)
    vision_models(read["mlx-vlm"], types)
    audio_models(read["mlx-audio"], types, text_models)
    embeddings(read["mlx-embeddings"], types)
    image_models(read["mlx-image"], models)
    for table, known in ((types, MODEL_TYPES), (classes, CLASSES), (models, MODELS)):
        for key, entries in known.items():
            for entry in entries:
                package, module = entry.split(" ")
                if package in read and module not in read[package].folders:
                    parser.error(f"{package} {read[package].version} has no {module}")
                put(table, key, package, module)
    for table in (types, classes, models):
        for entries in table.values():
            entries.sort(key=lambda entry: ORDER.index(entry.split(" ")[0]))
    versions = {name: read[name].version if name in read else EXAMPLES for name in ORDER}
    tables = (("model_types", types), ("classes", classes), ("models", models))
    with open(arguments.out, "w") as file:
        file.write('{\n"packages": ' + json.dumps(versions))
        for title, table in tables:
            lines = [f"{json.dumps(key)}: {json.dumps(entries)}" for key, entries in sorted(table.items())]
            file.write(f',\n"{title}": {{\n' + ",\n".join(lines) + "\n}")
        file.write("\n}\n")
    print(*(f"{len(table)} {title}" for title, table in tables), sep=", ")


if __name__ == "__main__":
    main()
