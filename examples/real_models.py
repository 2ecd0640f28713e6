#!/usr/bin/env python3
"""Pickle a hundred models of torchvision, timm and transformers, without weights: `python examples/real_models.py FOLDER`.

They are built on the meta device, in the form in which they are used for inference; the sizes of language models are small.
`evaluate-source` tells what is flagged in them.
"""

import sys
from pathlib import Path

import timm
import torch
import torchvision
import transformers

TORCHVISION = """resnet18 vgg11 alexnet densenet121 squeezenet1_0 googlenet inception_v3 mobilenet_v2 mobilenet_v3_small mnasnet0_5
shufflenet_v2_x0_5 efficientnet_b0 efficientnet_v2_s regnet_y_400mf convnext_tiny vit_b_16 swin_t swin_v2_t maxvit_t""".split()
TORCHVISION_PARTS = {
    "segmentation": "deeplabv3_resnet50 fcn_resnet50 lraspp_mobilenet_v3_large".split(),
    "detection": "fasterrcnn_resnet50_fpn retinanet_resnet50_fpn ssd300_vgg16 fcos_resnet50_fpn maskrcnn_resnet50_fpn".split(),
    "optical_flow": ["raft_small"],
    "video": "r3d_18 s3d mvit_v1_b swin3d_t".split(),
}
TIMM = """resnet18 convnext_tiny vit_tiny_patch16_224 swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 efficientnet_b0 regnety_002
densenet121 mixer_s32_224 beit_base_patch16_224 cait_xxs24_224 deit_tiny_distilled_patch16_224 eva02_tiny_patch14_224 levit_128s
maxvit_tiny_tf_224 poolformer_s12 mobilevit_xxs nest_tiny pvt_v2_b0 res2net50_26w_4s skresnet18 tresnet_m volo_d1_224
xcit_nano_12_p8_224 coat_tiny crossvit_9_240 dla34 dpn68 ghostnet_100 hrnet_w18_small dm_nfnet_f0 rexnet_100 seresnet18 vgg11
xception41 davit_tiny edgenext_xx_small efficientformer_l1 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny hiera_tiny_224 inception_v4
tiny_vit_5m_224 twins_svt_small visformer_tiny mobilenetv3_small_050 mobilenetv4_conv_small repvgg_a0 convmixer_768_32""".split()
TRANSFORMERS = """BertModel GPT2Model LlamaForCausalLM T5Model MistralModel MixtralModel Qwen2Model GemmaModel PhiModel ViTModel SwinModel
BartModel RobertaModel ElectraModel AlbertModel OPTModel BloomModel FalconModel GPTNeoXModel SegformerModel Dinov2Model ConvNextModel
DebertaV2Model WhisperModel Wav2Vec2Model HubertModel CLIPModel DistilBertModel MambaModel Qwen3Model""".split()
SMALL = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": 100, "n_embd": 64, "n_layer": 2, "n_head": 4, "d_model": 64, "d_ff": 128, "d_kv": 16, "num_layers": 2,
    "num_heads": 4, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "ffn_dim": 128, "dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 4,
    "embedding_size": 64, "word_embed_proj_dim": 64, "head_dim": 16, "pad_token_id": 0,
}


def transformer(name):
    model = getattr(transformers, name)
    config = model.config_class()
    if name not in ("SegformerModel", "SwinModel", "ConvNextModel", "CLIPModel", "T5Model"):
        for key, value in SMALL.items():
            if hasattr(config, key) and not isinstance(getattr(config, key), (list, tuple, dict)):
                try:
                    setattr(config, key, value)
                except Exception:  # noqa: BLE001  (a name that the class computes)
                    pass
    return model(config)


def builders():
    for name in TORCHVISION:
        extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        yield f"torchvision_{name}", lambda name=name, extra=extra: getattr(torchvision.models, name)(**extra)
    for part, names in TORCHVISION_PARTS.items():
        for name in names:
            extra = {} if part in ("optical_flow", "video") else {"weights_backbone": None}
            make = getattr(getattr(torchvision.models, part), name)
            yield f"torchvision_{name}", lambda make=make, extra=extra: make(weights=None, **extra)
    for name in TIMM:
        yield f"timm_{name}", lambda name=name: timm.create_model(name)
    for name in TRANSFORMERS:
        yield f"transformers_{name}", lambda name=name: transformer(name)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    made, failed = 0, []
    for name, build in builders():
        path = folder / f"{name}.pt"
        if path.exists():
            made += 1
            continue
        try:
            with torch.device("meta"):
                model = build()
            torch.save(model.eval(), path)
            made += 1
        except Exception as error:  # noqa: BLE001
            failed.append(f"{name}: {type(error).__name__}: {str(error)[:100]}")
            path.unlink(missing_ok=True)
    print(f"{made} models in {folder}")
    print("\n".join(failed))


main()
