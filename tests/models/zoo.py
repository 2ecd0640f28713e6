"""The models of the sweep: which, and how each is built with random weights. Nothing is downloaded.

`torchvision` and `timm` models are whole, on small images; `transformers` models have two layers and narrow ones.
"""

import importlib
import inspect
import warnings

import torch

warnings.filterwarnings("ignore")

# Names, and the sizes of an image where the model takes smaller ones than it was trained on.
TORCHVISION = {
    "alexnet": 64, "convnext_tiny": 64, "deeplabv3_resnet50": 64, "densenet121": 64, "efficientnet_b0": 64,
    "efficientnet_v2_s": 64, "fcn_resnet50": 64, "googlenet": 64, "inception_v3": 96, "lraspp_mobilenet_v3_large": 64,
    "maxvit_t": 224, "mnasnet1_0": 64, "mobilenet_v2": 64, "mobilenet_v3_large": 64, "mobilenet_v3_small": 64,
    "mc3_18": 48, "r2plus1d_18": 48, "r3d_18": 48, "raft_small": 128, "regnet_x_400mf": 64, "regnet_y_400mf": 64,
    "resnet18": 64, "resnet50": 64, "resnext50_32x4d": 64, "shufflenet_v2_x1_0": 64, "squeezenet1_1": 64, "swin_t": 64,
    "swin_v2_t": 64, "vit_b_16": 224,
}  # fmt: skip

# A size only where the model is made for smaller images than its default ones.
TIMM = {
    "halonet_h1": None, "botnet26t_256": None, "lambda_resnet26rpt_256": None, "repvgg_b0": 64,
    "mobileone_s0": 64, "gernet_s": 64, "cait_xxs24_224": None, "coat_lite_tiny": None, "coat_tiny": None, "convit_tiny": None,
    "convmixer_768_32": 64, "convnext_nano": 64, "convnextv2_nano": 64, "cpubone_nano": 64, "crossvit_tiny_240": None,
    "cs3darknet_s": 64, "cspnext_tiny": 64, "davit_tiny": 64, "deit_tiny_patch16_224": None,
    "deit_tiny_distilled_patch16_224": None, "deit3_small_patch16_224": None, "dla34": 64, "dpn48b": 64,
    "edgenext_xx_small": 64, "efficientformer_l1": None, "efficientformerv2_s0": None, "tinynet_e": 64,     "mnasnet_small": 64, "efficientvim_m1": 64, "efficientvit_b0": 64, "efficientvit_m0": None,
    "eva02_tiny_patch14_224": None, "vit_tiny_patch16_dinov3_qkvb": None, "fasternet_t0": 64, "fastvit_t8": 64,
    "focalnet_tiny_srf": 64, "gcvit_xxtiny": None, "ghostnet_050": 64, "ghostnetv2_100": 64, "ghostnetv3_050": 64,
    "hardcorenas_a": 64, "hgnetv2_b0": 64, "hiera_tiny_224": None, "sam2_hiera_tiny": 64, "hrnet_w18_small": 64,
    "iformer_t": None, "inception_next_atto": 64, "inception_v3": 96, "inception_v4": 96,
    "lcnetv2_small": 64, "levit_128": None, "lowformer_b0": 64, "mambaout_femto": 64, "maxvit_tiny_rw_224": None,
    "coatnet_nano_rw_224": None, "poolformer_s12": 64, "convformer_s18": 64, "mixer_s32_224": None,
    "gmlp_ti16_224": None, "resmlp_12_224": None, "mobilenetv3_small_050": 64, "mobilenetv4_conv_small": 64,
    "mobilevit_xxs": 64, "mobilevitv2_050": 64, "mvitv2_tiny": None, "nest_tiny": None, "nextvit_small": 64,
    "nf_resnet50": 64, "nfnet_f0": 64, "pit_ti_224": None, "pvt_v2_b0": 64, "rdnet_tiny": 64, "regnetx_002": 64,
    "regnety_002": 64, "repghostnet_050": 64, "repvit_m0_9": 64, "res2net50_14w_8s": 64, "resnest14d": 64,     "ecaresnext26t_32x4d": 64, "resnetv2_18": 64, "rexnet_100": 64, "selecsls42": 64, "legacy_seresnet18": 64,
    "skresnet18": 64, "starnet_s050": 64, "swin_tiny_patch4_window7_224": None,
    "swinv2_cr_tiny_224": None, "tiny_vit_5m_224": None, "tnt_s_patch16_224": None, "tresnet_m": 64, "twins_svt_small": None,
    "visformer_tiny": None, "vit_tiny_patch16_224": None, "vit_relpos_small_patch16_224": None,     "ese_vovnet19b_slim": 64, "xception41": 96, "legacy_xception": 96, "xcit_tiny_12_p16_224": None,
}  # fmt: skip

# By their model type.
TRANSFORMERS = """
llama mistral qwen2 qwen3 gemma2 gemma3_text phi phi3 gpt2 gpt_neox gptj gpt_bigcode opt bloom falcon stablelm olmo
olmo2 olmo3 cohere glm codegen ctrl xglm nemotron mpt apertus diffllama ministral openai-gpt vaultgemma mixtral
qwen2_moe qwen3_moe olmoe granitemoe gpt_oss phimoe flex_olmo glm4_moe bert albert roberta distilbert electra deberta
deberta-v2 mpnet mobilebert squeezebert convbert nystromformer fnet roformer rembert esm layoutlm ibert canine xmod
splinter flaubert xlm xlnet modernbert eurobert t5 umt5 bart pegasus blenderbot m2m_100 bigbird_pegasus whisper vit
beit dinov2 dinov2_with_registers dinov3_vit resnet regnet mobilenet_v1 mobilenet_v2 mobilevit poolformer pvt pvt_v2
segformer cvt focalnet bit glpn hiera swiftformer yolos siglip_vision_model clip_vision_model clip_text_model textnet
hgnet_v2 imagegpt timesformer videomae wav2vec2 hubert wavlm sew data2vec-audio wav2vec2-bert clip chinese_clip mamba
falcon_mamba deit
""".split()

# Frames of those that take a video.
FRAMES = {"mc3_18": 4, "r2plus1d_18": 4, "r3d_18": 4}


def names():
    """All of them, as `library/name`."""
    for library, those in (("torchvision", TORCHVISION), ("timm", TIMM), ("transformers", TRANSFORMERS)):
        for name in those:
            yield f"{library}/{name}"


def load(models):
    """Import the libraries that these models are of."""
    for library in {model.split("/", 1)[0] for model in models}:
        importlib.import_module(library)


def build(model):
    """A model by its name: the module, and what its forward is given."""
    library, name = model.split("/", 1)
    torch.manual_seed(0)
    module, args, kwargs = {"torchvision": torchvision_model, "timm": timm_model, "transformers": transformers_model}[library](name)
    return shaken(module.eval()), args, kwargs


def shaken(module):
    """What a fresh layer has of zeros and ones hides mistakes: biases, scales and statistics get numbers of their own."""
    with torch.no_grad():
        for tensor in module.parameters():
            if tensor.is_floating_point() and tensor.numel() > 1:
                if (tensor == 0).all():
                    tensor.normal_(0, 0.02)
                elif (tensor == 1).all():
                    tensor.normal_(1, 0.05)
        for norm in module.modules():
            if isinstance(getattr(norm, "running_var", None), torch.Tensor):
                norm.running_var.uniform_(0.8, 1.2)
                norm.running_mean.normal_(0, 0.05)
    return module


def torchvision_model(name):
    import torchvision

    size = TORCHVISION[name]
    options = {"weights": None}
    if name in ("googlenet", "inception_v3"):
        options.update(aux_logits=False, init_weights=False)
    if name in ("deeplabv3_resnet50", "fcn_resnet50", "lraspp_mobilenet_v3_large"):
        options["weights_backbone"] = None
    module = torchvision.models.get_model(name, **options)
    if name == "raft_small":
        return module, (torch.randn(1, 3, size, size), torch.randn(1, 3, size, size)), {"num_flow_updates": 2}
    frames = (FRAMES[name],) if name in FRAMES else ()
    return module, (torch.randn(1, 3, *frames, size, size),), {}


def timm_model(name):
    import timm

    module = timm.create_model(name)
    size = TIMM[name]
    shape = module.default_cfg["input_size"] if size is None else (3, size, size)
    return module, (torch.randn(1, *shape),), {}


# What a configuration calls its sizes, and what they are here. Whatever is not among them stays as the library has it.
SMALL = {
    "layers": (2, "num_hidden_layers num_layers n_layer n_layers encoder_layers decoder_layers num_encoder_layers "
               "num_decoder_layers encoder_num_hidden_layers"),
    "width": (32, "hidden_size d_model n_embd dim embed_dim embedding_size word_embed_proj_dim hidden_dim emb_dim "
              "projection_dim text_embed_dim encoder_hidden_size out_hidden_size"),
    "wide": (64, "intermediate_size ffn_dim d_ff n_inner encoder_ffn_dim decoder_ffn_dim ff_dim mlp_dim moe_intermediate_size "
             "shared_expert_intermediate_size inner_dim filter_size"),
    "heads": (4, "num_attention_heads num_heads n_head n_heads encoder_attention_heads decoder_attention_heads"),
    "few": (2, "num_key_value_heads num_kv_heads multi_query_group_num"),
    "head": (8, "head_dim d_kv attention_head_size kv_channels"),
    "words": (101, "vocab_size"),
    "experts": (4, "num_experts num_local_experts n_routed_experts moe_num_experts"),
    "chosen": (2, "num_experts_per_tok num_experts_per_token moe_k top_k_experts"),
    "image": (32, "image_size"),
    "patch": (8, "patch_size"),
    "places": (64, "max_position_embeddings n_positions max_source_positions max_target_positions"),
}  # fmt: skip
SIZES = {name: size for size, names in SMALL.values() for name in names.split()}


def small_config(kind):
    """The configuration of a model type, two layers deep and narrow."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING[kind](**{**small(CONFIG_MAPPING[kind]), **OPTIONS.get(kind, {})})


def small(config_class):
    whole = config_class()
    given = {}
    for name, value in whole.to_dict().items():
        name = {v: k for k, v in (config_class.attribute_map or {}).items()}.get(name, name)
        size = SIZES.get(name)
        if size is not None and isinstance(value, int) and not isinstance(value, bool):
            given[name] = min(size, value)
        elif name in ("layer_types", "mlp_layer_types") and isinstance(value, list):
            given[name] = value[:2]
        elif name.endswith("token_id") and isinstance(value, int):
            given[name] = min(value, 3)
    for name, part in (config_class.sub_configs or {}).items():
        if hasattr(part, "to_dict") and part.__name__ not in ("AutoConfig", "PreTrainedConfig"):
            given[name] = small(part)
    return given


# Beyond the sizes: what a type needs besides, so that they fit each other.
OPTIONS = {
    "codegen": {"rotary_dim": 4},
    "esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},
    "gptj": {"rotary_dim": 4},
    "ministral": {"head_dim": 8},
    "timesformer": {"num_frames": 4},
    "videomae": {"num_frames": 4},
    "nemotron": {"num_key_value_heads": 2},
    "textnet": {"image_size": [64, 64]},
    "xlnet": {"d_head": 8},
}


def transformers_model(kind):
    from transformers import AutoModel

    config = small_config(kind)
    config._attn_implementation = "sdpa"
    try:
        module = AutoModel.from_config(config)
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        config._attn_implementation = "eager"
        module = AutoModel.from_config(config)
    if hasattr(module, "set_default_language"):
        module.set_default_language(next(iter(config.languages)))
    for part in module.modules():
        if hasattr(part, "config") and hasattr(part.config, "use_cache"):
            part.config.use_cache = False
    return module, (), inputs(module, config)


def inputs(module, config):
    """What the forward asks for: ids, an image, sound, or several."""
    names = list(inspect.signature(module.forward).parameters)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    words = min(getattr(text, "vocab_size", None) or 100, 100)
    ids = torch.randint(4, words, (1, 9))
    given = {}
    if "input_ids" in names:
        given["input_ids"] = ids
    if "decoder_input_ids" in names:
        given["decoder_input_ids"] = torch.randint(4, words, (1, 7))
    both = hasattr(config, "vision_config") and hasattr(config, "text_config")
    if "pixel_values" in names and ("input_ids" not in names or names[0] == "pixel_values" or both):
        vision = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", 64) or 64
        size = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
        frames = (vision.num_frames,) if hasattr(vision, "num_frames") else ()
        given["pixel_values"] = torch.randn(1, *frames, getattr(vision, "num_channels", 3), *size)
    if "input_values" in names:
        sound = (config.max_length, config.num_mel_bins) if hasattr(config, "num_mel_bins") else (2000,)
        given["input_values"] = torch.randn(1, *sound)
    if "input_features" in names and "input_ids" not in names:
        bins = getattr(config, "num_mel_bins", None) or getattr(config, "feature_projection_input_dim", 80)
        given["input_features"] = torch.randn(1, bins, 128) if type(module).__name__.startswith("Whisper") else torch.randn(1, 64, bins)
    return given
