"""Describe layers of transformers, timm and torchvision as their real classes build them, in the format of make.py.

    python assets/samples/zoo.py PROGRAM    # writes zoo.jsonl

Needs the three libraries beside PyTorch (made with transformers 5.24, timm 1.0.31 and torchvision 0.28). Every name that
torch2mlx registers and that is not of torch.nn is here, as far as the libraries still have it, and what the common families
of language models are made of.
"""

import argparse
import importlib
import re
import warnings

import torch
from torch import nn

from make import HERE, described, dumps, given


def of(model, *calls):
    """Layers of a model of transformers."""
    return [f"transformers.models.{model}.modeling_{model}.{call}" for call in calls]


def config(name, **values):
    """A small configuration; what is not given keeps its default."""
    return f"transformers.{name}Config({', '.join(f'{key}={value!r}' for key, value in values.items())})"


RMS_NORM = [
    *of("llama", "LlamaRMSNorm(24)", "LlamaRMSNorm(24, eps=1e-05)"),
    *of("mistral", "MistralRMSNorm(24, eps=1e-05)"),
    *of("mixtral", "MixtralRMSNorm(24, eps=1e-05)"),
    *of("qwen2", "Qwen2RMSNorm(24)"),
    *of("qwen3", "Qwen3RMSNorm(24)"),
    *of("phi3", "Phi3RMSNorm(24, eps=1e-05)"),
    *of("deepseek_v2", "DeepseekV2RMSNorm(24)"),
    *of("deepseek_v3", "DeepseekV3RMSNorm(24)"),
    *of("olmoe", "OlmoeRMSNorm(24)"),
    *of("olmo2", "Olmo2RMSNorm(24)"),
    *of("gpt_oss", "GptOssRMSNorm(24, eps=1e-05)"),
    *of("helium", "HeliumRMSNorm(24)"),
    *of("llama4", "Llama4TextRMSNorm(24)", "Llama4TextL2Norm()"),
    *of("moshi", "MoshiRMSNorm(24)"),
    *of("idefics", "IdeficsRMSNorm(24)"),
    *of("gemma", "GemmaRMSNorm(24)", "GemmaRMSNorm(24, eps=1e-03)"),
    *of("gemma2", "Gemma2RMSNorm(24)"),
    *of("gemma3", "Gemma3RMSNorm(24)"),
    *of("qwen3_next", "Qwen3NextRMSNorm(24)"),
    *of("gemma3n", "Gemma3nRMSNorm(24)", "Gemma3nRMSNorm(24, with_scale=False)"),
    *of("gemma4", "Gemma4RMSNorm(24)", "Gemma4RMSNorm(24, with_scale=False)"),
    *of("nanochat", "NanoChatRMSNorm()"),
    *of("t5", "T5LayerNorm(24)", "T5LayerNorm(24, eps=1e-03)"),
    *of("mt5", "MT5LayerNorm(24)"),
    *of("longt5", "LongT5LayerNorm(24)"),
    *of("umt5", "UMT5LayerNorm(24)"),
    *of("cpmant", f"CpmAntLayerNorm({config('CpmAnt', hidden_size=24)})"),
    *of("imagegpt", "ImageGPTLayerNorm(24)"),
    *of("falcon_mamba", "FalconMambaWeightlessRMSNorm(24)"),
    *of("qwen4_exp", "Qwen4ExpTextRMSNorm(24)", "Qwen4ExpTextRMSNorm(24, group_size=8)"),
    *of("xlstm", "xLSTMRMSNorm(24)", "xLSTMRMSNorm(24, use_bias=True)"),
]
GATED_NORM = [
    *of("mamba2", "MambaRMSNormGated(24, 24)"),
    *of("bamba", "BambaRMSNormGated(24, 8)"),
    *of("falcon_h1", "FalconH1RMSNormGated(24, n_groups=2)", "FalconH1RMSNormGated(24, n_groups=2, norm_before_gate=False)"),
    *of("qwen3_next", "Qwen3NextRMSNormGated(24)"),
    *of("kimi_linear", "KimiLinearRMSNormGated(24)"),
    *of("qwen4_exp", "Qwen4ExpTextRMSNormGated(24, activation='sigmoid')"),
]
LAYER_NORM = [
    *of("cohere", "CohereLayerNorm(24)", "CohereLayerNorm((4, 6))"),
    *of("cohere2", "Cohere2LayerNorm(24)"),
    *of("deberta", "DebertaLayerNorm(24)", "DebertaLayerNorm(24, eps=1e-07)"),
    *of("convnext", "ConvNextLayerNorm(8)", "ConvNextLayerNorm(8, data_format='channels_first')"),
    *of("convnextv2", "ConvNextV2LayerNorm(8, data_format='channels_first')"),
    *of("sam", "SamLayerNorm(8, data_format='channels_first')"),
    *of("eomt", "EomtLayerNorm2d(8)"),
    *of("vitdet", "VitDetLayerNorm(8)"),
    *of("nemotron", "NemotronLayerNorm1P(24)"),
    *of("olmo", "OlmoLayerNorm(24)"),
    "transformers.models.esm.modeling_esmfold.EsmFoldLayerNorm(24)",
    *of("chameleon", "ChameleonLayerNorm((4, 6))"),
    *of("squeezebert", "SqueezeBertLayerNorm(24)"),
    *of("stablelm", "StableLmLayerNormPerHead(6, 4)"),
    *of("mobilebert", "NoNorm(24)"),
    *of("xlstm", "xLSTMMultiHeadLayerNorm(4, 6)"),
    *of("poolformer", "PoolFormerGroupNorm(8)"),
    *of("detr", "DetrFrozenBatchNorm2d(8)"),
    *of("rt_detr", "RTDetrFrozenBatchNorm2d(8)"),
]
ACTIVATION = [
    *(
        f"transformers.activations.{call}"
        for call in (
            "GELUActivation()", "GELUActivation(use_gelu_python=True)", "GELUTanh()", "GELUTanh(use_gelu_tanh_python=True)", "NewGELUActivation()",
            "FastGELUActivation()", "QuickGELUActivation()", "AccurateGELUActivation()", "ClippedGELUActivation(-10, 10)", "ClippedGELUActivation(-0.1, 0.8)",
            "SiLUActivation()", "MishActivation()", "LinearActivation()", "LaplaceActivation()", "ReLUSquaredActivation()", "SqrtSoftplusActivation()",
            "XIELUActivation(dtype=torch.float32)",
        )
    ),
    *of("bloom", "BloomGelu()"),
]
LINEAR = [
    "nn.modules.linear.NonDynamicallyQuantizableLinear(24, 24)",
    "transformers.pytorch_utils.Conv1D(40, 24)",
    "transformers.pytorch_utils.Conv1D(24, 24)",
    *of("falcon", "FalconLinear(24, 40)", "FalconLinear(24, 40, bias=False)"),
    "nn.utils.weight_norm(nn.Conv1d(6, 8, 3))",
    "nn.utils.weight_norm(nn.Conv1d(6, 8, 4, padding=2, groups=2), dim=2)",
    "nn.utils.weight_norm(nn.Linear(24, 10))",
]
EMBEDDING = [
    *of("opt", "OPTLearnedPositionalEmbedding(30, 24)"),
    *of("led", "LEDLearnedPositionalEmbedding(30, 24)"),
    *of("biogpt", "BioGptLearnedPositionalEmbedding(30, 24)", "BioGptScaledWordEmbedding(40, 24, 1, embed_scale=24**0.5)"),
    *of("bart", "BartLearnedPositionalEmbedding(30, 24)", "BartScaledWordEmbedding(40, 24, 1)", "BartScaledWordEmbedding(40, 24, 1, embed_scale=24**0.5)"),
    *of("mbart", "MBartLearnedPositionalEmbedding(30, 24)", "MBartScaledWordEmbedding(40, 24, 1, embed_scale=24**0.5)"),
    *of("blenderbot", "BlenderbotLearnedPositionalEmbedding(30, 24)"),
    *of("pegasus", "PegasusSinusoidalPositionalEmbedding(30, 24)"),
    *of("marian", "MarianSinusoidalPositionalEmbedding(30, 24)"),
    *of("whisper", "WhisperPositionalEmbedding(30, 24)"),
    *of("m2m_100", "M2M100SinusoidalPositionalEmbedding(30, 24, 1)", "M2M100ScaledWordEmbedding(40, 24, 1, embed_scale=24**0.5)"),
    *of("speech_to_text", "Speech2TextSinusoidalPositionalEmbedding(30, 24, 1)"),
    *of("gemma3", "Gemma3TextScaledWordEmbedding(40, 24, 0, embed_scale=24**0.5)"),
]
LLAMA = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "max_position_embeddings": 64}


def rope(kind, **values):
    return {"rope_type": kind, "rope_theta": 10000.0, **values}


ROTARY = [
    *(
        call
        for parameters in (
            rope("default"),
            rope("default") | {"rope_theta": 500000.0},
            rope("linear", factor=4.0),
            rope("dynamic", factor=2.0),
            rope("yarn", factor=4.0, original_max_position_embeddings=16),
            rope("longrope", factor=4.0, short_factor=[1.0, 1.1, 1.2, 1.3], long_factor=[1.0, 2.0, 3.0, 4.0], original_max_position_embeddings=16),
            rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16),
        )
        for call in of("llama", f"LlamaRotaryEmbedding({config('Llama', **LLAMA, rope_parameters=parameters)})")
    ),
    *of("mistral", f"MistralRotaryEmbedding({config('Mistral', **LLAMA, head_dim=12)})"),
    *of("qwen2", f"Qwen2RotaryEmbedding({config('Qwen2', **LLAMA)})"),
    *of("qwen3", f"Qwen3RotaryEmbedding({config('Qwen3', **LLAMA, head_dim=16)})"),
    *of("gemma", f"GemmaRotaryEmbedding({config('Gemma', **LLAMA, head_dim=16)})"),
    *of("gemma3", f"Gemma3RotaryEmbedding({config('Gemma3Text', **LLAMA, head_dim=16)})"),
    *of("phi3", f"Phi3RotaryEmbedding({config('Phi3', **LLAMA, pad_token_id=0, rope_parameters=rope('default', partial_rotary_factor=0.5))})"),
    *of("gpt_neox", f"GPTNeoXRotaryEmbedding({config('GPTNeoX', **LLAMA, rope_parameters=rope('default', partial_rotary_factor=0.25))})"),
    *of("gpt_neox", f"GPTNeoXRotaryEmbedding({config('GPTNeoX', **LLAMA, rope_parameters=rope('default', partial_rotary_factor=1.0))})"),
    *of("falcon", f"FalconRotaryEmbedding({config('Falcon', **LLAMA)})"),
    *of("cohere", f"CohereRotaryEmbedding({config('Cohere', **LLAMA)})"),
    *of("olmo2", f"Olmo2RotaryEmbedding({config('Olmo2', **LLAMA)})"),
    *of("qwen2_vl", f"Qwen2VLRotaryEmbedding({config('Qwen2VLText', **LLAMA, rope_parameters=rope('default', mrope_section=[1, 1, 2]))})"),
    *of("qwen3_vl", f"Qwen3VLTextRotaryEmbedding({config('Qwen3VLText', **LLAMA, head_dim=16, rope_parameters=rope('default', mrope_section=[3, 3, 2]))})"),
    *of("glm4v", f"Glm4vTextRotaryEmbedding({config('Glm4vText', **LLAMA, rope_parameters=rope('default', partial_rotary_factor=1.0, mrope_section=[1, 1, 2]))})"),
    *of("gpt_oss", f"GptOssRotaryEmbedding({config('GptOss', **LLAMA, head_dim=16)})"),
    *of("olmo3", f"Olmo3RotaryEmbedding({config('Olmo3', **LLAMA, layer_types=['sliding_attention', 'full_attention'])})"),
    *of("modernbert", f"ModernBertRotaryEmbedding({config('ModernBert', **LLAMA)})"),
    *of("qwen2_vl", f"Qwen2VLVisionRotaryEmbedding({config('Qwen2VLVision', embed_dim=32, num_heads=4)})"),
    *of("muse_glimmer", f"MuseGlimmerVisionRotaryEmbedding({config('MuseGlimmerVision', hidden_size=32, num_attention_heads=4)})"),
    *of("deepseek_v4", f"DeepseekV4RotaryEmbedding({config('DeepseekV4', **LLAMA)})"),
    *of("deepseek_v2", f"DeepseekV2RotaryEmbedding({config('DeepseekV2', **LLAMA, qk_rope_head_dim=8)})"),
]
VISION = [
    *(call for name in ("Swin", "Beit", "Segformer", "ConvNext", "Dinov2") for call in of(name.lower(), f"{name}DropPath(0.1)")),
    *of("dinov2", f"Dinov2LayerScale({config('Dinov2', hidden_size=24, layerscale_value=0.5)})"),
    *of("mimi", f"MimiLayerScale({config('Mimi', hidden_size=24)})"),
    *of("beit", f"BeitRelativePositionBias({config('Beit', image_size=12, patch_size=4, num_attention_heads=4)})"),
    *of("wav2vec2", "Wav2Vec2SamePadLayer(128)", "Wav2Vec2SamePadLayer(5)"),
    *of("hubert", "HubertSamePadLayer(128)"),
]
TIMM = [
    f"timm.layers.{call}"
    for call in (
        "LayerScale(24, init_values=0.5)", "LayerScale(24, init_values=0.5, inplace=True)", "LayerScale2d(8, init_values=0.5)", "DropPath(0.1)", "LayerNorm(24)",
        "LayerNorm(24, affine=False)", "LayerNorm2d(8)", "LayerNorm2d(8, affine=False)", "GroupNorm(12, num_groups=4)", "GroupNorm1(8)",
        "RmsNorm(24)", "RmsNorm(24, affine=False)", "RmsNorm2d(8)", "SimpleNorm(24)", "SimpleNorm2d(8)", "BatchNormAct2d(8)", "BatchNormAct2d(8, eps=1e-3, act_layer=nn.SiLU)",
        "BatchNormAct2d(8, apply_act=False)", "FrozenBatchNormAct2d(8)", "GroupNormAct(12, num_groups=4)", "GroupNorm1Act(8)", "LayerNormAct(24, act_layer=nn.GELU)",
        "LayerNormAct2d(8)", "FilterResponseNormTlu2d(8)", "FilterResponseNormAct2d(8)", "grn.GlobalResponseNorm(8)", "grn.GlobalResponseNorm(8, channels_last=False)",
        "Linear(24, 10)", "Conv2dSame(6, 8, 3, stride=2)", "Conv2dSame(6, 8, (4, 5), dilation=2)", "StdConv2d(6, 8, 3)", "StdConv2dSame(6, 8, 3, stride=2)", "ScaledStdConv2d(6, 8, 3)",
        "AvgPool2dSame(3, stride=2)", "pool2d_same.MaxPool2dSame(3, stride=2)", "BlurPool2d(8)", "SelectAdaptivePool2d(pool_type='avg', flatten=True)",
        "SEModule(16)", "EffectiveSEModule(8)", "EcaModule(8)", "Mlp(24, 40)", "SwiGLU(24, 40)", "GluMlp(24, 40)", "PatchEmbed(img_size=16, patch_size=4, embed_dim=24)",
    )
] + [
    f"timm.layers.activations.{call}"
    for call in ("Swish()", "Mish()", "Sigmoid()", "Tanh()", "HardSwish()", "HardSigmoid()", "HardMish()", "PReLU()", "GELU()", "GELUTanh()", "QuickGELU()")
]
TORCHVISION = [
    "torchvision.ops.FrozenBatchNorm2d(8)",
    "torchvision.ops.FrozenBatchNorm2d(8, eps=1e-3)",
    "torchvision.ops.StochasticDepth(0.1, 'row')",
    "torchvision.ops.StochasticDepth(0.1, 'batch')",
    "torchvision.ops.Permute([0, 2, 3, 1])",
    "torchvision.models.convnext.LayerNorm2d((8,), eps=1e-6)",
    "torchvision.ops.Conv2dNormActivation(6, 8)",
    "torchvision.ops.Conv2dNormActivation(6, 12, 5, stride=2, groups=6, activation_layer=nn.SiLU)",
    "torchvision.ops.Conv2dNormActivation(6, 8, 1, norm_layer=None, activation_layer=None)",
    "torchvision.ops.Conv3dNormActivation(4, 6)",
    "torchvision.ops.SqueezeExcitation(16, 4)",
    "torchvision.ops.MLP(24, [40, 24], activation_layer=nn.GELU)",
]
CONTAINER = [
    "nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 7))",
    "nn.ModuleList([nn.Linear(10, 12), nn.ReLU()])",
    "nn.ModuleDict({'a': nn.Linear(10, 12), 'b': nn.ReLU()})",
]
LAYERS = [*RMS_NORM, *GATED_NORM, *LAYER_NORM, *ACTIVATION, *LINEAR, *EMBEDDING, *ROTARY, *VISION, *TIMM, *TORCHVISION, *CONTAINER]
CALLS = {layer: [given("hidden_states", "gate")] for layer in GATED_NORM}
# Parametrized layers can only be saved as state dicts: class and shapes are what is seen of them.
PARAMETRIZED = [
    "nn.utils.parametrizations.weight_norm(nn.Conv1d(6, 8, 3))",
    "nn.utils.parametrizations.weight_norm(nn.Linear(24, 10))",
    "nn.utils.parametrizations.spectral_norm(nn.Linear(24, 10))",
]


def build(expression):
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    names = {"nn": nn, "torch": torch}
    for path in re.findall(r"\b(?:transformers|timm|torchvision)(?:\.[a-z0-9_]+)*(?=\.)", expression):
        names[path.partition(".")[0]] = importlib.import_module(path.partition(".")[0])
        importlib.import_module(path)
    return eval(expression, names).eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    arguments = parser.parse_args()
    lines = described(arguments.program, LAYERS, build) + described(arguments.program, PARAMETRIZED, build, lambda modules: nn.ModuleList(modules).state_dict())
    calls = [{"build": line["build"], "call": call, "modules": line["modules"]} for line in lines for call in CALLS.get(line["build"], [])]
    (HERE / "zoo.jsonl").write_text(dumps(lines + calls))
    print(f"{len(lines)} configurations of {len({line['modules'][0]['class'] for line in lines})} classes, {len(calls)} other calls of them")
