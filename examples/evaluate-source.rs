//! What is found in the sources of real models: for each model class, how many forwards of the classes in its file are found
//! and parsed, and what is flagged in them.
//!
//!     cargo run --release --example evaluate-source -- SITE-PACKAGES [--lines]
//!
//! SITE-PACKAGES holds torchvision, timm or transformers; `--lines` prints each place that is flagged.

#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use t2m_tui::source::python::Module;
use t2m_tui::source::{Blocker, ClassSource, Severity, Sources};

/// Model classes by the module that they are in.
const MODELS: &[(&str, &[&str])] = &[
    (
        "torchvision.models",
        &[
            "resnet.ResNet",
            "vgg.VGG",
            "alexnet.AlexNet",
            "densenet.DenseNet",
            "squeezenet.SqueezeNet",
            "googlenet.GoogLeNet",
            "inception.Inception3",
            "mobilenetv2.MobileNetV2",
            "mobilenetv3.MobileNetV3",
            "mnasnet.MNASNet",
            "shufflenetv2.ShuffleNetV2",
            "efficientnet.EfficientNet",
            "regnet.RegNet",
            "convnext.ConvNeXt",
            "vision_transformer.VisionTransformer",
            "swin_transformer.SwinTransformer",
            "maxvit.MaxVit",
            "segmentation.deeplabv3.DeepLabV3",
            "segmentation.fcn.FCN",
            "segmentation.lraspp.LRASPP",
            "detection.faster_rcnn.FasterRCNN",
            "detection.retinanet.RetinaNet",
            "detection.ssd.SSD",
            "optical_flow.raft.RAFT",
            "video.resnet.VideoResNet",
            "video.s3d.S3D",
            "video.mvit.MViT",
        ],
    ),
    (
        "timm.models",
        &[
            "resnet.ResNet",
            "convnext.ConvNeXt",
            "vision_transformer.VisionTransformer",
            "swin_transformer.SwinTransformer",
            "swin_transformer_v2.SwinTransformerV2",
            "efficientnet.EfficientNet",
            "regnet.RegNet",
            "densenet.DenseNet",
            "mlp_mixer.MlpMixer",
            "beit.Beit",
            "cait.Cait",
            "deit.VisionTransformerDistilled",
            "eva.Eva",
            "levit.Levit",
            "maxxvit.MaxxVit",
            "metaformer.MetaFormer",
            "mobilevit.MobileVitBlock",
            "nest.Nest",
            "pvt_v2.PyramidVisionTransformerV2",
            "res2net.Bottle2neck",
            "sknet.SelectiveKernelBottleneck",
            "tresnet.TResNet",
            "volo.VOLO",
            "xcit.Xcit",
            "coat.CoaT",
            "crossvit.CrossVit",
            "dla.DLA",
            "dpn.DPN",
            "ghostnet.GhostNet",
            "hrnet.HighResolutionNet",
            "nfnet.NormFreeNet",
            "rexnet.RexNet",
            "senet.SENet",
            "vgg.VGG",
            "xception.Xception",
            "davit.DaVit",
            "edgenext.EdgeNeXt",
            "efficientformer.EfficientFormer",
            "fastvit.FastVit",
            "focalnet.FocalNet",
            "gcvit.GlobalContextVit",
            "hiera.Hiera",
            "inception_v4.InceptionV4",
            "tiny_vit.TinyVit",
            "twins.Twins",
            "visformer.Visformer",
        ],
    ),
    (
        "transformers.models",
        &[
            "bert.modeling_bert.BertModel",
            "gpt2.modeling_gpt2.GPT2Model",
            "llama.modeling_llama.LlamaModel",
            "t5.modeling_t5.T5Model",
            "whisper.modeling_whisper.WhisperModel",
            "mixtral.modeling_mixtral.MixtralModel",
            "mistral.modeling_mistral.MistralModel",
            "qwen2.modeling_qwen2.Qwen2Model",
            "gemma.modeling_gemma.GemmaModel",
            "phi.modeling_phi.PhiModel",
            "clip.modeling_clip.CLIPModel",
            "vit.modeling_vit.ViTModel",
            "swin.modeling_swin.SwinModel",
            "wav2vec2.modeling_wav2vec2.Wav2Vec2Model",
            "hubert.modeling_hubert.HubertModel",
            "bart.modeling_bart.BartModel",
            "roberta.modeling_roberta.RobertaModel",
            "deberta.modeling_deberta.DebertaModel",
            "electra.modeling_electra.ElectraModel",
            "albert.modeling_albert.AlbertModel",
            "opt.modeling_opt.OPTModel",
            "bloom.modeling_bloom.BloomModel",
            "falcon.modeling_falcon.FalconModel",
            "gpt_neox.modeling_gpt_neox.GPTNeoXModel",
            "mamba.modeling_mamba.MambaModel",
            "rwkv.modeling_rwkv.RwkvModel",
            "detr.modeling_detr.DetrModel",
            "segformer.modeling_segformer.SegformerModel",
            "sam.modeling_sam.SamModel",
            "dinov2.modeling_dinov2.Dinov2Model",
            "convnext.modeling_convnext.ConvNextModel",
            "blip.modeling_blip.BlipModel",
            "llava.modeling_llava.LlavaModel",
            "xlnet.modeling_xlnet.XLNetModel",
            "longformer.modeling_longformer.LongformerModel",
            "reformer.modeling_reformer.ReformerModel",
            "speecht5.modeling_speecht5.SpeechT5Model",
            "seamless_m4t_v2.modeling_seamless_m4t_v2.SeamlessM4Tv2Model",
            "qwen3_omni_moe.modeling_qwen3_omni_moe.Qwen3OmniMoeForConditionalGeneration",
        ],
    ),
];

/// What was found in one file.
#[derive(Default)]
struct Tally {
    classes: usize,
    forwards: usize,
    parsed: usize,
    ops: usize,
    severities: BTreeMap<Severity, usize>,
    time: Duration,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.classes += other.classes;
        self.forwards += other.forwards;
        self.parsed += other.parsed;
        self.ops += other.ops;
        self.time += other.time;
        for (severity, count) in &other.severities {
            *self.severities.entry(*severity).or_default() += count;
        }
    }

    fn print(&self, name: &str) {
        let count = |severity| self.severities.get(&severity).copied().unwrap_or(0);
        println!(
            "{name:<62} {:>7} {:>8} {:>6} {:>5} {:>6} {:>7} {:>8} {:>6.1}",
            self.classes,
            self.forwards,
            self.parsed,
            self.ops,
            count(Severity::Breaks),
            count(Severity::Differs),
            count(Severity::Harmless),
            self.time.as_secs_f64() * 1e3
        );
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let packages = PathBuf::from(arguments.next().ok_or("name a site-packages folder")?);
    let lines = arguments.any(|argument| argument == "--lines");
    println!(
        "{:<62} {:>7} {:>8} {:>6} {:>5} {:>6} {:>7} {:>8} {:>6}",
        "model", "classes", "forwards", "parsed", "ops", "breaks", "differs", "harmless", "ms"
    );
    let (mut total, mut models, mut patterns) = (Tally::default(), 0, BTreeMap::<String, usize>::new());
    let mut missing = Vec::new();
    for (package, classes) in MODELS {
        for class in *classes {
            let class = format!("{package}.{class}");
            let sources = Sources::new(std::slice::from_ref(&packages))?;
            let Some(tally) = file(&sources, &packages, &class, lines, &mut patterns) else {
                missing.push(class);
                continue;
            };
            models += 1;
            tally.print(&class);
            total.add(&tally);
        }
    }
    total.print(&format!("{models} models"));
    println!("\nflagged, by pattern:");
    for (pattern, count) in patterns {
        println!("{count:>6}  {pattern}");
    }
    if !missing.is_empty() {
        println!("\nnot found: {}", missing.join(", "));
    }
    Ok(())
}

/// All classes in the file of a model class that have a forward of their own.
fn file(
    sources: &Sources,
    packages: &Path,
    class: &str,
    lines: bool,
    patterns: &mut BTreeMap<String, usize>,
) -> Option<Tally> {
    let started = Instant::now();
    let (module_name, _) = class.rsplit_once('.')?;
    let path = packages.join(format!("{}.py", module_name.replace('.', "/")));
    let text: Arc<str> = std::fs::read_to_string(path).ok()?.into();
    let module = Module::parse(Arc::clone(&text))?;
    let mut tally = Tally::default();
    let mut seen = BTreeSet::new();
    let names: BTreeSet<&str> = module.bases().map(|(name, _)| name).filter(|name| !name.contains('<')).collect();
    sources.class(class)?;
    for name in names {
        let Some(own) = module.class(name) else { continue };
        tally.classes += 1;
        let Some(forward) = own.method("forward") else { continue };
        let Some(found) = sources.class(&format!("{module_name}.{name}")) else { continue };
        let known = found.forward.as_ref() == Some(&forward.lines());
        tally.forwards += usize::from(known);
        tally.parsed += usize::from(known && !forward.node.has_error());
        tally.ops += found.ops.len();
        for (file, blocker) in all(&found) {
            if seen.insert((file.to_owned(), blocker.line, blocker.column, blocker.pattern.clone())) {
                *tally.severities.entry(blocker.severity).or_default() += 1;
                *patterns.entry(blocker.pattern.clone()).or_default() += 1;
                if lines {
                    println!(
                        "  {} {}: {}:{}: {}",
                        blocker.severity.name(),
                        blocker.pattern,
                        file,
                        blocker.line,
                        blocker.text
                    );
                }
            }
        }
    }
    tally.time = started.elapsed();
    Some(tally)
}

fn all(found: &ClassSource) -> impl Iterator<Item = (&str, &Blocker)> {
    let own = found.blockers.iter().map(|blocker| (found.file.as_str(), blocker));
    own.chain(found.inherited.iter().map(|(file, blocker)| (file.as_str(), blocker)))
}
