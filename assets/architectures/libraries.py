"""transformers and diffusers as rules.py takes them: their model classes, and a model and its flat configuration for some arguments."""

import copy
import gzip
import importlib
import importlib.metadata
import inspect
import json
import sys

import describe
import studies
import trees
from expressions import Unknown
from saved import Saved

DECODER = {"is_decoder": True, "add_cross_attention": True}
# Arguments without which a type of transformers cannot be built.
STARTS = {
    **{kind: {"prediction_length": 8} for kind in ("time_series_transformer", "informer", "autoformer")},
    "dots1": {"n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "encoder-decoder": {"encoder": {"model_type": "bert"}, "decoder": {"model_type": "bert", **DECODER}},
    "vision-encoder-decoder": {"encoder": {"model_type": "vit"}, "decoder": {"model_type": "gpt2", **DECODER}},
    "speech-encoder-decoder": {"encoder": {"model_type": "wav2vec2"}, "decoder": {"model_type": "bert", **DECODER}},
    "vision-text-dual-encoder": {"vision_config": {"model_type": "vit"}, "text_config": {"model_type": "bert"}},
}

# Classes that no Auto class lists.
MORE = {
    "clip_text_model": ["CLIPTextModelWithProjection"],
    "clip_vision_model": ["CLIPVisionModelWithProjection"],
    "clap_audio_model": ["ClapAudioModelWithProjection"],
    "clipseg": ["CLIPSegForImageSegmentation"],
    "longt5": ["LongT5EncoderModel"],
    "gpt2": ["GPT2DoubleHeadsModel"],
    "dpr": ["DPRContextEncoder", "DPRReader"],
    "time_series_transformer": ["TimeSeriesTransformerForPrediction"],
    "informer": ["InformerForPrediction"],
    "autoformer": ["AutoformerForPrediction"],
    "patchtst": ["PatchTSTForPrediction", "PatchTSTForPretraining"],
    "patchtsmixer": ["PatchTSMixerForPrediction", "PatchTSMixerForPretraining"],
    "conditional_detr": ["ConditionalDetrForSegmentation"],
    "luke": ["LukeForEntityClassification", "LukeForEntityPairClassification", "LukeForEntitySpanClassification"],
    "vilt": ["ViltForImageAndTextRetrieval", "ViltForImagesAndTextClassification", "ViltForTokenClassification", "ViltForMaskedLM"],
    "visual_bert": ["VisualBertForQuestionAnswering", "VisualBertForVisualReasoning", "VisualBertForMultipleChoice"],
    "xlnet": ["XLNetForQuestionAnswering"],
    "xlm": ["XLMForQuestionAnswering"],
    "flaubert": ["FlaubertForQuestionAnswering"],
    "beit": ["BeitForMaskedImageModeling"],
    "switch_transformers": ["SwitchTransformersEncoderModel"],
    "udop": ["UdopEncoderModel"],
    "blip-2": ["Blip2VisionModelWithProjection", "Blip2TextModelWithProjection"],
    "perceiver": ["PerceiverForOpticalFlow", "PerceiverForMultimodalAutoencoding"],
    "prophetnet": ["ProphetNetEncoder", "ProphetNetDecoder"],
    "decision_transformer": ["DecisionTransformerGPT2Model"],
    "openai-gpt": ["OpenAIGPTDoubleHeadsModel"],
    "speecht5": ["SpeechT5ForSpeechToSpeech", "SpeechT5HifiGan"],
    "git": ["GitVisionModel"],
    "mgp-str": ["MgpstrModel"],
    "bros": ["BrosSpadeEEForTokenClassification", "BrosSpadeELForTokenClassification"],
    "xlstm": ["xLSTMModel", "xLSTMForCausalLM"],
}


def activations_of(table, make):
    found = {}
    for name in table:
        try:
            module = make(name)
        except Exception:
            continue
        attributes = {key: value for key, value in describe.attributes(module).items() if key not in trees.NOISE}
        if not any(True for _ in module.parameters()) and not any(True for _ in module.children()):
            found[name] = (describe.name_of(type(module)), attributes)
    return found


class Library:
    # Seconds for builds with one key changed, and for expressions that are not found at once, of one class.
    patience, search = 25.0, 6.0

    def __init__(self):
        self.known, self.hints = {}, {}
        # Of each class the names in its files.
        self.saved = {}
        # A folder of what was found before, and the types that were looked for there.
        self.kept, self.looked = None, set()
        self.activation_classes = {cls for cls, _ in self.activations.values()}

    def version(self):
        return importlib.metadata.version(self.name)

    def base(self, kind):
        return None

    def start(self, kind):
        """Arguments without which the type cannot be built."""
        return {}

    def ordered(self, kinds):
        return list(kinds)

    def causal(self, kind):
        return None

    def backbone(self, kind):
        return None

    def place(self, kind):
        return self.kept and self.kept / f"{self.name}-{kind}.json.gz"

    def remembered(self, kind):
        """What was found of a type before; its rules are known from then on."""
        found = json.loads(gzip.decompress(self.place(kind).read_bytes()))
        for name, (rule, _) in (found or {"models": {}})["models"].items():
            self.known[kind, name] = rule
        return found

    def referred(self, kind, name, inside):
        kind = kind or inside.get("model_type")
        name = {trees.CAUSAL: self.causal, trees.BACKBONE: self.backbone}.get(name, lambda _: name)(kind) or self.base(kind)
        if self.kept and kind not in self.looked:
            self.looked.add(kind)
            if (kind, name) not in self.known and self.place(kind).exists():
                self.remembered(kind)
        if (kind, name) not in self.known:
            raise Unknown
        return self.known[kind, name], kind

    def observe(self, kind, name, raw):
        import torch
        from transformers import initialization

        env, build, parts = self.prepare(kind, name, raw)
        with torch.device("meta"), initialization.no_init_weights():
            model = build()
            self.look_at_names(kind, name, model)
        return (env, *trees.tree(model, parts(model)))

    def look_at_names(self, kind, name, model):
        """Where files have other names than the modules."""


class Transformers(Library):
    name = "transformers"

    def __init__(self):
        import transformers
        from transformers.activations import ACT2FN
        from transformers.models.auto import configuration_auto, modeling_auto

        transformers.logging.set_verbosity_error()
        self.transformers = transformers
        self.activations = activations_of(ACT2FN, lambda name: ACT2FN[name])
        self.mappings, self.bases = {}, {}
        order = sorted((key for key in dir(modeling_auto) if key.endswith("_NAMES") and key != "CONFIG_MAPPING_NAMES"), key=lambda key: (key != "MODEL_MAPPING_NAMES", "CAUSAL_LM" not in key, key))
        for key in order:
            for kind, names in getattr(modeling_auto, key).items():
                for name in names if isinstance(names, (list, tuple)) else [names]:
                    self.mappings.setdefault(kind, {})[name] = None
        for kind in self.mappings:
            name = modeling_auto.MODEL_MAPPING_NAMES.get(kind)
            name = name[0] if isinstance(name, (list, tuple)) else name
            self.bases[kind] = name
        self.causals = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        self.backbones = modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES
        self.config_names = configuration_auto.CONFIG_MAPPING_NAMES
        super().__init__()

    def look_at_names(self, kind, name, model):
        try:
            self.saved.setdefault((kind, name), Saved()).add(model)
        except Exception:
            # A conversion that cannot be taken back.
            pass

    def types(self):
        return {kind: [*names, *(name for name in MORE.get(kind, []) if name not in names)] for kind, names in self.mappings.items() if kind in self.config_names}

    def ordered(self, kinds):
        """Those that others are made of come first."""
        return sorted(kinds, key=lambda kind: bool(getattr(self.config_class(kind), "sub_configs", None)))

    def base(self, kind):
        return self.bases.get(kind)

    def causal(self, kind):
        return self.causals.get(kind)

    def backbone(self, kind):
        return self.backbones.get(kind)

    def start(self, kind):
        return STARTS.get(kind, {})

    def config_class(self, kind):
        return getattr(self.transformers, self.config_names[kind])

    def env(self, kind, raw):
        return studies.flat(self.config_class(kind)(**copy.deepcopy(raw)).to_dict())

    def annotations(self, kind):
        found = {}
        for cls in reversed(self.config_class(kind).__mro__):
            found |= {key: str(value) for key, value in getattr(cls, "__annotations__", {}).items()}
        return found

    def names(self, kind):
        return dict(getattr(self.config_class(kind), "attribute_map", {}))

    def parts_of(self, kind):
        subs = getattr(self.config_class(kind), "sub_configs", {}) or {}
        env = self.env(kind, self.start(kind))
        return {key: env[f"{key}.model_type"] for key in subs if env.get(f"{key}.model_type")}

    def sources(self, kind):
        config = self.config_class(kind)
        found = [inspect.getsource(sys.modules[config.__module__])]
        folder = config.__module__.rpartition(".")[0]
        for name in self.mappings[kind]:
            try:
                cls = getattr(self.transformers, name)
                found.append(inspect.getsource(sys.modules[cls.__module__]))
                break
            except Exception:
                continue
        return found

    def prepare(self, kind, name, raw):
        config = self.config_class(kind)(**copy.deepcopy(raw))
        # A default may be a tuple, which a config.json cannot hold.
        for key, value in vars(config).items():
            if isinstance(value, tuple):
                setattr(config, key, list(value))
        env = studies.flat(config.to_dict())
        cls = getattr(self.transformers, name)

        def parts(model):
            found = {}

            def visit(config, key, depth):
                found.setdefault(id(config), key)
                for name, value in vars(config).items():
                    if isinstance(value, self.transformers.PretrainedConfig) and depth < 4:
                        visit(value, f"{key}.{name}".lstrip("."), depth + 1)

            visit(model.config, "", 0)
            return found

        return env, lambda: cls(config), parts


class Diffusers(Library):
    name = "diffusers"
    # Each type is one class, and its blocks are of many kinds.
    patience, search = 40.0, 40.0

    def __init__(self):
        import diffusers
        import transformers
        from diffusers.models import activations, modeling_utils

        diffusers.logging.set_verbosity_error()
        transformers.logging.set_verbosity_error()
        self.diffusers, self.module = diffusers, modeling_utils.ModelMixin
        names = getattr(activations, "ACT2CLS", ["silu", "gelu", "relu", "mish"])
        self.activations = activations_of(names, activations.get_activation)
        super().__init__()

    def types(self):
        found = {}
        for name in dir(self.diffusers.models):
            cls = getattr(self.diffusers, name, None)
            if inspect.isclass(cls) and issubclass(cls, self.module) and cls is not self.module and "__init__" in vars(cls):
                found[name] = [name]
        return found

    def cls(self, kind):
        return getattr(self.diffusers, kind)

    def parameters(self, kind):
        return list(inspect.signature(self.cls(kind).__init__).parameters.values())[1:]

    def env(self, kind, raw):
        defaults = {p.name: p.default for p in self.parameters(kind) if p.default is not p.empty and p.kind != p.VAR_KEYWORD}
        env = studies.flat({key: list(value) if isinstance(value, tuple) else value for key, value in {**defaults, **raw}.items()})
        return env

    def annotations(self, kind):
        return {p.name: str(p.annotation) for p in self.parameters(kind)}

    def names(self, kind):
        return {}

    def parts_of(self, kind):
        return {}

    def sources(self, kind):
        return [inspect.getsource(sys.modules[self.cls(kind).__module__])]

    def prepare(self, kind, name, raw):
        cls = self.cls(kind)
        return self.env(kind, raw), lambda: cls(**copy.deepcopy(raw)), lambda model: {}


def every():
    return [Transformers, Diffusers]
