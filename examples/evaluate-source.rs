//! What is found in the sources of real models: for each model class, how many forwards of the classes in its file are found
//! and parsed, and what is flagged in them.
//!
//!     cargo run --release --example evaluate-source -- SITE-PACKAGES [--lines] [--ops] [MODELS]
//!
//! SITE-PACKAGES holds torchvision, timm or transformers; `--lines` prints each place that is flagged; `--ops` counts the ops
//! that occur in all of their models' classes, and names those that have neither a row nor a blocker.
//!
//! MODELS is a folder of pickled models (`real_models.py` makes a hundred). Of each is told how many `breaks` are written in its
//! classes, how many blockers count, how many only training reaches, and how many could not be decided. Every `breaks` that
//! counts is listed with its line, for a person to judge; with `--lines` those that do not count as well.

#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use t2m_tui::findings::Blockers;
use t2m_tui::open::{Options, open};
use t2m_tui::registry::{Registry, blockers};
use t2m_tui::source::budget::Budget;
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
    let (options, names): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|it| it.starts_with("--"));
    let packages = PathBuf::from(names.first().ok_or("name a site-packages folder")?);
    let asked = |option: &str| options.iter().any(|given| given == option);
    let lines = asked("--lines");
    if let Some(folder) = names.get(1) {
        return models(&packages, Path::new(folder), lines);
    }
    if asked("--ops") {
        return ops(&packages, lines);
    }
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

/// What counts in real models, with the values of their own attributes.
fn models(packages: &Path, folder: &Path, lines: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "pt"));
    files.sort();
    println!(
        "{:<44} {:>7} {:>6} {:>7} {:>8} {:>9} {:>9}",
        "model", "written", "breaks", "differs", "harmless", "undecided", "training"
    );
    let (mut all, mut breaks, mut with) = (0, 0, 0);
    let [mut listed, mut left_out] = [(); 2].map(|()| BTreeMap::<String, Vec<String>>::new());
    for path in &files {
        let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let options = Options { checkpoint: path.clone(), sources: vec![packages.to_owned()], ..Options::default() };
        let opened = match open(&options) {
            Ok(opened) => opened,
            Err(error) => {
                println!("{name:<44} {error}");
                continue;
            }
        };
        let blockers = Blockers::of(&opened.model, &opened.triage);
        let counts = blockers.severities();
        // Every `breaks` in the forwards of its classes, whether they run or not.
        let sources = opened.triage.classes.values().flat_map(ClassSource::all_blockers);
        let places = sources.filter(|(_, blocker)| blocker.severity == Severity::Breaks);
        let written = places.map(|(file, blocker)| (file, blocker.line, blocker.column, &blocker.pattern));
        let written = written.collect::<BTreeSet<_>>().len();
        println!(
            "{name:<44} {written:>7} {:>6} {:>7} {:>8} {:>9} {:>9}",
            counts.breaks, counts.differs, counts.harmless, counts.undecided, counts.training
        );
        all += written;
        breaks += counts.breaks;
        with += usize::from(counts.breaks > 0);
        let say = |file: &str, blocker: &Blocker, reach: &str| {
            let file = file.rsplit_once("site-packages/").map_or(file, |(_, inside)| inside);
            format!("{file}:{}: {} ({reach}): {}", blocker.line, blocker.pattern, blocker.text)
        };
        let mut counted = BTreeSet::new();
        for place in blockers.places.iter().filter(|it| it.blocker.severity == Severity::Breaks) {
            counted.insert((place.file, place.blocker.line, place.blocker.column, &place.blocker.pattern));
            let list = if place.counts() { &mut listed } else { &mut left_out };
            let line = say(place.file, place.blocker, place.reach.name());
            list.entry(line).or_default().push(name.clone());
        }
        for (file, blocker) in opened.triage.classes.values().flat_map(ClassSource::all_blockers) {
            let key = (file, blocker.line, blocker.column, &blocker.pattern);
            if blocker.severity == Severity::Breaks && counted.insert(key) {
                left_out.entry(say(file, blocker, "never")).or_default().push(name.clone());
            }
        }
        for warning in opened.checkpoint.warnings.iter().filter(|warning| warning.contains("found out")) {
            println!("    {warning}");
        }
    }
    println!(
        "\n{} models, {all} breaks written in their classes, {breaks} counted, in {with} of them; each that counts:",
        files.len()
    );
    for (line, models) in listed {
        println!("  {line} [{}]", models.join(", "));
    }
    if lines {
        println!("\nnot counted:");
        for (line, models) in left_out {
            println!("  {line} [{}]", models.join(", "));
        }
    }
    Ok(())
}

/// Folders with models.
const FOLDERS: [&str; 5] =
    ["torchvision/models", "torchvision/ops", "timm/models", "timm/layers", "transformers/models"];

/// How many of the ops in all models' classes have a row or a blocker.
fn ops(packages: &Path, lines: bool) -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::load(&[])?;
    let mut calls = globset::GlobSetBuilder::new();
    for pattern in blockers::built_in() {
        for call in pattern.calls.iter().filter(|_| matches!(pattern.query.as_str(), "call" | "mention")) {
            calls.add(globset::Glob::new(call)?);
        }
    }
    let calls = calls.build()?;
    let blocked = |name: &str| {
        let full = name.strip_prefix("F.").map_or(name.to_owned(), |name| format!("torch.nn.functional.{name}"));
        calls.is_match(full) || name.ends_with('_')
    };
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let (mut files, mut classes) = (0, 0);
    for folder in FOLDERS {
        for path in python_files(&packages.join(folder)) {
            let Some(text) = std::fs::read_to_string(&path).ok() else { continue };
            let Some(module) = Module::parse(text.as_str().into()) else { continue };
            let Ok(inside) = path.strip_prefix(packages) else { continue };
            let dotted = inside.with_extension("").to_string_lossy().replace('/', ".");
            let mut sources = Sources::within(Budget::default());
            sources.add_text(&dotted, &inside.to_string_lossy(), "from a package", &text);
            files += 1;
            let names: Vec<String> = module.bases().map(|(name, _)| name.to_owned()).collect();
            for name in names {
                let Some(class) = sources.class(&format!("{dotted}.{name}")) else { continue };
                classes += 1;
                for used in class.ops.iter().filter(|used| !used.operator) {
                    *found.entry(used.name.clone()).or_default() += 1;
                }
            }
        }
    }
    let total: usize = found.values().sum();
    let rows = found.keys().filter(|name| registry.op(name).is_some()).count();
    let mut without: Vec<(&String, usize)> = found
        .iter()
        .filter(|(name, _)| registry.op(name).is_none() && !blocked(name))
        .map(|(name, count)| (name, *count))
        .collect();
    without.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let uses: usize = without.iter().map(|(_, count)| count).sum();
    println!("{files} files, {classes} classes; {} ops in {total} places", found.len());
    println!("{rows} with a row; {} with neither a row nor a blocker, in {uses} places:", without.len());
    for (name, count) in without {
        println!("{count:>6}  {name}");
    }
    if lines {
        println!("\nall of them:");
        found.iter().for_each(|(name, count)| println!("{count:>6}  {name}"));
    }
    Ok(())
}

fn python_files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = waiting.pop() {
        for path in std::fs::read_dir(&folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "py") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
