#!/usr/bin/env python3
"""Writes tests/fixtures/architectures: state dicts of published models without their data (every tensor is one number, expanded),
and tests/fixtures/configured: folders of tiny models as transformers and diffusers save them.

    python assets/architectures/fixtures.py        with torch, torchvision and timm as make.py wants them, transformers, diffusers
"""

import json

from pathlib import Path

import timm
import torch
from torchvision import models

OUT = Path(__file__).parents[2] / "tests/fixtures/architectures"


def save(name, tensors):
    empty = {
        key: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) if tensor.dim() else torch.zeros((), dtype=tensor.dtype)
        for key, tensor in tensors.items()
    }
    torch.save(empty, OUT / name)


def folders():
    import diffusers
    import transformers as t

    out = OUT.parent / "configured"
    tiny = {"num_attention_heads": 2, "num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24}
    llama3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}

    def saved(name, model):
        torch.manual_seed(0)
        model.save_pretrained(out / name)
        for more in (out / name).glob("generation_config.json"):
            more.unlink()
        return out / name

    def edited(folder, **changes):
        path = folder / "config.json"
        config = json.loads(path.read_text())
        for key, value in changes.items():
            if value is None:
                config.pop(key, None)
            else:
                config[key] = value
        path.write_text(json.dumps(config, indent=2) + "\n")

    rope = {"rope_type": "llama3", "rope_theta": 500000.0, **llama3}
    llama = t.LlamaConfig(**tiny, vocab_size=20, num_key_value_heads=1, tie_word_embeddings=True, rope_parameters=rope, hidden_act="gelu_pytorch_tanh")
    saved("llama3", t.LlamaForCausalLM(llama))
    # As folders were before transformers 5, with what is the default left out.
    old = saved("llama3_old", t.LlamaForCausalLM(llama))
    edited(old, rope_parameters=None, rope_theta=500000.0, rope_scaling={"rope_type": "llama3", **llama3}, transformers_version="4.44.0", head_dim=None, attention_bias=None, mlp_bias=None)
    saved("bert", t.BertModel(t.BertConfig(**tiny, vocab_size=20, max_position_embeddings=12, hidden_act="gelu_new", layer_norm_eps=1e-7)))
    # Its base model alone, in the folder of a head.
    base = saved("bert_headless", t.BertModel(t.BertConfig(**tiny, vocab_size=20, max_position_embeddings=12)))
    edited(base, architectures=["BertForMaskedLM"])
    gemma = t.Gemma3TextConfig(**(tiny | {"num_hidden_layers": 6}), vocab_size=20, num_key_value_heads=1, head_dim=8, sliding_window=4)
    saved("gemma3", t.Gemma3ForCausalLM(gemma))
    saved("gpt2", t.GPT2LMHeadModel(t.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=12, vocab_size=20, activation_function="gelu_new")))
    vit = t.ViTForImageClassification(t.ViTConfig(**tiny, image_size=8, patch_size=4, num_labels=3))
    saved("vit", vit)
    # The state dict itself, which has the names of the modules.
    safetensors.torch.save_file(vit.state_dict(), saved("vit_modules", vit) / "model.safetensors", {"format": "pt"})
    mixtral = t.MixtralConfig(**(tiny | {"num_hidden_layers": 1}), vocab_size=20, num_key_value_heads=1, num_local_experts=2, num_experts_per_tok=1)
    saved("mixtral", t.MixtralForCausalLM(mixtral))
    resnet = t.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], out_features=["stage1", "stage2"])
    detr = t.DetrConfig(backbone_config=resnet, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, num_queries=3)
    saved("detr", t.DetrForObjectDetection(detr))
    saved("falcon", t.FalconModel(t.FalconConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=4, num_kv_heads=2, new_decoder_architecture=True, vocab_size=20)))
    decoder = t.GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=12, vocab_size=20, is_decoder=True, add_cross_attention=True)
    vit = t.ViTConfig(**(tiny | {"num_hidden_layers": 1}), image_size=8, patch_size=4)
    saved("captions", t.VisionEncoderDecoderModel(t.VisionEncoderDecoderConfig(encoder=vit.to_dict(), decoder=decoder.to_dict())))
    saved("falcon_h1", t.FalconH1Model(t.FalconH1Config(**(tiny | {"num_hidden_layers": 1}), num_key_value_heads=1, vocab_size=20, mamba_d_ssm=16, mamba_n_heads=2, mamba_d_head=8, mamba_d_state=4)))
    saved("text_projection", t.CLIPTextModelWithProjection(t.CLIPTextConfig(**(tiny | {"num_hidden_layers": 1}), vocab_size=20, max_position_embeddings=12, projection_dim=8)))
    vae = diffusers.AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, latent_channels=2, act_fn="silu")
    vae.save_pretrained(out / "vae")
    pipe = out / "pipeline"
    vae.save_pretrained(pipe / "vae")
    unet = diffusers.UNet2DConditionModel(block_out_channels=(4, 8), layers_per_block=1, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=8, attention_head_dim=4, norm_num_groups=2)
    unet.save_pretrained(pipe / "unet")
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": diffusers.__version__, "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    (pipe / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def main():
    folders()
    OUT.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        resnet = models.resnet18().state_dict()
        classes = models.resnet18(num_classes=7).state_dict()
        vit = timm.create_model("vit_tiny_patch16_224").state_dict()
        efficientnet = timm.create_model("efficientnet_b0").state_dict()
        wide = models.resnet18(width_per_group=64)
        wide.layer1 = torch.nn.Sequential(*[torch.nn.Linear(5, 5) for _ in range(3)])
    save("resnet18-5c106cde.pth", resnet)
    save("weights.pth", resnet)
    save("ten_classes.pth", classes)
    save("backbone.pth", {key: value for key, value in resnet.items() if not key.startswith("fc.")})
    save("prefixed.pth", {f"model.encoder.{key}": value for key, value in vit.items()})
    save("undecided.pth", efficientnet)
    save("old.pth", {key: value for key, value in resnet.items() if not key.endswith("num_batches_tracked")})
    save("another.pth", {f"stage{index}.{part}.weight": torch.empty(8, 8, device="meta") for index in range(12) for part in "abc"})


if __name__ == "__main__":
    main()
