//! Whose a class is.

/// Packages whose modules people find in checkpoints. A class of another package may be the user's own: its name does not say.
const LIBRARIES: [&str; 40] = [
    "accelerate",
    "auto_gptq",
    "autoawq",
    "bitsandbytes",
    "detectron2",
    "diffusers",
    "efficientnet_pytorch",
    "encodec",
    "espnet2",
    "fairseq",
    "fastai",
    "flair",
    "fvcore",
    "kornia",
    "lightning",
    "lightning_fabric",
    "lpips",
    "mmcv",
    "mmdet",
    "mmengine",
    "mmseg",
    "monai",
    "nemo",
    "open_clip",
    "peft",
    "pytorch3d",
    "pytorch_lightning",
    "pytorchvideo",
    "segmentation_models_pytorch",
    "sentence_transformers",
    "spacy",
    "speechbrain",
    "timm",
    "torch_geometric",
    "torchaudio",
    "torchvision",
    "transformers",
    "ultralytics",
    "whisper",
    "xformers",
];

/// The library that a class is of, by its full path; `None` of torch's own and of what may be the user's.
pub fn library(class: &str) -> Option<&'static str> {
    let package = class.split_once('.')?.0;
    LIBRARIES.binary_search(&package).ok().map(|at| LIBRARIES[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_known_by_its_package() {
        assert!(LIBRARIES.is_sorted());
        assert_eq!(library("transformers.models.llama.modeling_llama.LlamaAttention"), Some("transformers"));
        assert_eq!(library("timm_like.Block"), None);
        assert_eq!(library("__main__.Net"), None);
        assert_eq!(library("timm"), None);
        assert_eq!(library("torch.nn.modules.linear.Linear"), None);
    }
}
