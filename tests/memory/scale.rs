//! What many names cost: memory is by what is in the files, whatever the names of files, tensors and modules multiply to.
//!
//! Figures are bytes that were allocated, which no noise reaches. Growth is measured between two sizes, so that what the
//! program always takes does not count.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::generate::{self, Kind, Wanted};
use crate::{alone, memory};
use globset::GlobSet;
use serde_json::json;
use t2m_checkpoint::Checkpoint;
use t2m_tui::export::reverse::Reversal;
use t2m_tui::export::state_dict::key_map;
use t2m_tui::export::{check, state_dict, writer};
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::report::{compare, inspect_json, inspect_text};

fn opened(path: &Path) -> Opened {
    open(&Options { checkpoint: path.to_owned(), ..Options::default() }).unwrap()
}

/// Writes an index in which each tensor of a file stands under one of that many links to it.
fn links(folder: &Path, shard: &str, tensors: &[Wanted], count: usize, symbolic: bool) -> PathBuf {
    let name = |link: usize| format!("shard-{link:05}-{shard}");
    for link in 0..count {
        let (from, to) = (folder.join(shard), folder.join(name(link)));
        let made = if symbolic { std::os::unix::fs::symlink(shard, to) } else { std::fs::hard_link(from, to) };
        made.unwrap();
    }
    let places = tensors.iter().enumerate().map(|(at, (tensor, _))| (tensor.clone(), json!(name(at % count))));
    let index = folder.join("model.index.json");
    std::fs::write(&index, json!({"weight_map": places.collect::<serde_json::Map<_, _>>()}).to_string()).unwrap();
    index
}

#[test]
fn a_file_is_read_once_however_many_names_lead_to_it() {
    let _alone = alone();
    let tensors = generate::many(2_000);
    let mut taken = Vec::new();
    for (count, symbolic, torch) in
        [(1, false, false), (500, false, false), (500, true, false), (1, false, true), (500, true, true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let shard = if torch { "one.bin" } else { "one.safetensors" };
        let write = if torch { generate::torch } else { generate::safetensors };
        write(&folder.path().join(shard), &tensors, Kind::Float32);
        let index = links(folder.path(), shard, &tensors, count, symbolic);
        let (checkpoint, allocated) = memory::allocated_by(|| Checkpoint::open(&index).unwrap());
        assert_eq!((checkpoint.tensors.len(), checkpoint.shards), (2_000, 1), "{count} {symbolic}");
        let said = format!("another one of the index, which is read once: {}", count - 1);
        assert_eq!(checkpoint.warnings.len(), usize::from(count > 1), "{:?}", checkpoint.warnings);
        assert!(checkpoint.warnings.iter().all(|warning| warning.contains(&said)), "{:?}", checkpoint.warnings);
        assert!(checkpoint.read(1_999).is_ok());
        taken.push(allocated);
    }
    println!("{taken:?}");
    let [one, hard, symbolic, one_torch, torch] = taken[..] else { panic!() };
    // A name costs its text and a place in a table, and not a shard.
    let names = 500 * 2_000;
    assert!(hard < one + names && symbolic < one + names && torch < one_torch + names, "{taken:?}");
}

#[test]
fn tensors_of_a_file_with_many_names_are_where_any_of_them_says() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let tensors = generate::many(4);
    generate::safetensors(&folder.path().join("a.safetensors"), &tensors, Kind::Float32);
    generate::safetensors(&folder.path().join("b.safetensors"), &tensors, Kind::Float32);
    std::fs::hard_link(folder.path().join("a.safetensors"), folder.path().join("c.safetensors")).unwrap();
    let places = [(&tensors[0].0, "a"), (&tensors[1].0, "c"), (&tensors[2].0, "b"), (&tensors[3].0, "gone")];
    let places = places.map(|(tensor, shard)| (tensor.clone(), json!(format!("{shard}.safetensors"))));
    let index = folder.path().join("model.index.json");
    std::fs::write(&index, json!({"weight_map": serde_json::Map::from_iter(places)}).to_string()).unwrap();
    let checkpoint = Checkpoint::open(&index).unwrap();
    let files = checkpoint.tensors.iter().map(|tensor| checkpoint.storages[tensor.storage.unwrap() as usize].file);
    assert_eq!(files.collect::<Vec<_>>(), [0, 0, 1]);
    assert!(checkpoint.warnings[0].starts_with("Missing shards: 1 of 4"), "{:?}", checkpoint.warnings);
    assert!(checkpoint.warnings[1].contains("(`c.safetensors`)"), "{:?}", checkpoint.warnings);
}

#[test]
fn metadata_of_an_index_is_bounded_by_its_values() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    generate::safetensors(&folder.path().join("a.safetensors"), &generate::many(1), Kind::Float32);
    let index = folder.path().join("model.index.json");
    let zeros = "0,".repeat(2_000_000);
    let text = format!(r#"{{"metadata":{{"x":[{zeros}0]}},"weight_map":{{"blocks.0.0.scale":"a.safetensors"}}}}"#);
    std::fs::write(&index, &text).unwrap();
    let (said, peak) = memory::peak_of(|| Checkpoint::open(&index).unwrap_err().to_string());
    assert!(said.contains("it holds more than 200000 values"), "{said}");
    assert!(peak < 32 << 20, "{peak} bytes for an index of {}", text.len());
}

#[test]
fn a_folder_of_many_files_is_read_by_its_usual_name() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let tensors = generate::many(2);
    generate::safetensors(&folder.path().join("model.safetensors"), &tensors, Kind::Float32);
    for number in 0..5_000 {
        std::fs::write(folder.path().join(format!("sample-{number:05}.txt")), "").unwrap();
    }
    let (checkpoint, peak) = memory::peak_of(|| Checkpoint::open(folder.path()).unwrap());
    assert_eq!((checkpoint.tensors.len(), checkpoint.warnings.len()), (2, 0));
    // The names are looked through for weights that are not read.
    assert!(peak < 1 << 20, "{peak} bytes");
    // Under another name it is found among them.
    std::fs::rename(folder.path().join("model.safetensors"), folder.path().join("mine.safetensors")).unwrap();
    assert_eq!(Checkpoint::open(folder.path()).unwrap().metadata["file"], "mine.safetensors");
}

/// Names with many parts, none of which two have in common.
fn deep(count: usize, parts: usize) -> Vec<Wanted> {
    (0..count).map(|index| (format!("m{index}{}.weight", ".a".repeat(parts)), vec![2])).collect()
}

#[test]
fn deep_names_take_memory_by_their_text() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    for (name, tensors) in [
        ("a million modules", deep(3_000, 50)),
        ("one name of a hundred thousand parts", deep(1, 100_000)),
        (
            "long paths",
            (0..400).map(|index| (format!("{index}{}{}", "x".repeat(3_800), ".b".repeat(60)), vec![2])).collect(),
        ),
    ] {
        for torch in [false, true] {
            let path = folder.path().join(if torch { "deep.pt" } else { "deep.safetensors" });
            let write = if torch { generate::torch } else { generate::safetensors };
            write(&path, &tensors, Kind::Float32);
            let length = path.metadata().unwrap().len() as usize;
            let mut text = String::new();
            let (opened, peak) = memory::peak_of(|| opened(&path));
            println!("{name}: {length} bytes, {} modules, peak {} MiB", opened.model.modules.len(), peak >> 20);
            assert!(peak < memory::bound(length), "{name}: {peak} bytes for a file of {length}");
            let cut = opened.checkpoint.warnings.iter().any(|warning| warning.contains("so many parts"));
            assert_eq!(cut, tensors.len() > 1, "{name}: {:?}", opened.checkpoint.warnings);
            inspect_text::text(&mut text, &opened, None).unwrap();
            // Every tensor is still some module's, whole by its name.
            let modules = &opened.model.modules;
            let found: usize = modules.iter().map(|module| module.tensors.len()).sum();
            assert_eq!(found, tensors.len());
            let map = state_dict::map(&opened, &GlobSet::empty()).unwrap();
            assert!(map.entries.iter().zip(&tensors).all(|(entry, (name, _))| entry.name == name), "{name}");
        }
    }
}

/// Models of repeated layers, by the number of their tensors.
fn layers(count: usize) -> Vec<Wanted> {
    let layer = |at: usize| [(format!("layers.{at}.weight"), vec![8, 4]), (format!("layers.{at}.bias"), vec![8])];
    (0..count / 2).flat_map(layer).collect()
}

fn convolutions(count: usize) -> Vec<Wanted> {
    (0..count).map(|at| (format!("net.{at}.weight"), vec![8, 8, 3])).collect()
}

/// A writer that counts.
#[derive(Default)]
struct Counted(usize);

impl std::fmt::Write for Counted {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Most bytes at a time of opening, of the text report, of the JSON report, and of converting.
fn peaks(tensors: &[Wanted], torch: bool) -> [usize; 4] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(if torch { "in.pt" } else { "in.safetensors" });
    let write = if torch { generate::torch } else { generate::safetensors };
    write(&path, tensors, Kind::Float32);
    let (opened, open) = memory::peak_of(|| opened(&path));
    let ((), text) = memory::peak_of(|| inspect_text::text(&mut Counted::default(), &opened, None).unwrap());
    let report = inspect_json::Report { opened: &opened, check: None };
    let ((), json) = memory::peak_of(|| serde_json::to_writer_pretty(&mut Counted::default(), &report).unwrap());
    let ((), convert) = memory::peak_of(|| {
        let map = state_dict::map(&opened, &GlobSet::empty()).unwrap();
        assert_eq!(map.entries.len(), tensors.len());
        let target = folder.path().join("out.safetensors");
        let options =
            writer::Options { target, force: false, shard_bytes: u64::MAX, strict: false, source: String::new() };
        let tensors = writer::Conversion::new(&opened.checkpoint, &map, None).unwrap();
        writer::write(&tensors, &options, |_| true).unwrap();
    });
    [open, text, json, convert]
}

#[test]
fn a_tensor_costs_some_hundreds_of_bytes() {
    let _alone = alone();
    const FEW: usize = 2_500;
    for (name, of) in [
        ("modules of one tensor", generate::many as fn(usize) -> Vec<Wanted>),
        ("layers with a plan", layers),
        ("layers in doubt", convolutions),
    ] {
        for torch in [false, true] {
            let (few, many) = (peaks(&of(FEW), torch), peaks(&of(3 * FEW), torch));
            let each = |at: usize| many[at].saturating_sub(few[at]) / (2 * FEW);
            let [open, text, json, convert] = [0, 1, 2, 3].map(each);
            println!(
                "{name}, torch {torch}: each {open} to open, {text} of text, {json} of JSON, {convert} to convert"
            );
            assert!(open <= if torch { 800 } else { 600 }, "{name}: {open} bytes for each tensor opened");
            // A report is made row by row.
            assert!(text <= 8 && json <= 24, "{name}: {text} and {json} bytes of each tensor in reports");
            assert!(convert <= 600, "{name}: {convert} bytes for each tensor converted");
        }
    }
}

/// Most bytes at a time of writing a key map, of the way back by it, of a comparison, and of its report.
fn peaks_by_map(tensors: &[Wanted]) -> [usize; 4] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.safetensors");
    generate::safetensors(&path, tensors, Kind::Float32);
    let opened = opened(&path);
    let map = state_dict::map(&opened, &GlobSet::empty()).unwrap();
    let rows = key_map::Rows { checkpoint: &opened.checkpoint, map: &map };
    let ((), written) = memory::peak_of(|| serde_json::to_writer_pretty(&mut Counted::default(), &rows).unwrap());
    let file = folder.path().join("map.json");
    std::fs::write(&file, serde_json::to_vec(&rows).unwrap()).unwrap();
    // Nothing of these is laid out anew: the file stands for what it is converted to.
    let (count, back) = memory::peak_of(|| {
        let map = key_map::read(&file).unwrap();
        writer::Source::count(&Reversal::by_map(&opened.checkpoint, &map).unwrap())
    });
    assert_eq!(count, tensors.len());
    let other = Checkpoint::open(&path).unwrap();
    let mut report = 0;
    let ((), compared) = memory::peak_of(|| {
        let findings = check::with_conversion(&opened.checkpoint, &map, &other).unwrap();
        assert_eq!(findings.len(), tensors.len());
        let json = compare::Json(&findings);
        let write = || serde_json::to_writer_pretty(&mut Counted::default(), &json).unwrap();
        report = memory::peak_of(write).1;
    });
    [written, back, compared, report]
}

#[test]
fn a_row_of_a_key_map_costs_some_hundreds_of_bytes() {
    let _alone = alone();
    const FEW: usize = 2_500;
    for (name, of) in
        [("modules of one tensor", generate::many as fn(usize) -> Vec<Wanted>), ("layers with a plan", layers)]
    {
        let (few, many) = (peaks_by_map(&of(FEW)), peaks_by_map(&of(3 * FEW)));
        let [written, back, compared, report] = [0, 1, 2, 3].map(|at| many[at].saturating_sub(few[at]) / (2 * FEW));
        println!(
            "{name}: each {written} to write the map, {back} for the way back, {compared} compared, {report} told"
        );
        assert!(written <= 8 && report <= 8, "{name}: {written} and {report} bytes for each row that is written");
        assert!(back <= 800, "{name}: {back} bytes for each tensor that goes back");
        assert!(compared <= 600, "{name}: {compared} bytes for each tensor that is compared");
    }
}

/// Keys without an end in a safetensors header: those that are kept are told from those that are not.
#[test]
fn metadata_of_a_header_is_bounded() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.safetensors");
    let keys: Vec<String> = (0..1_000_000).map(|at| format!("\"{at:x}\":\"\"")).collect();
    let header = format!("{{\"__metadata__\":{{{}}}}}", keys.join(","));
    std::fs::write(&path, [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()).unwrap();
    let (opened, peak) = memory::peak_of(|| opened(&path));
    let report = inspect_json::Report { opened: &opened, check: None };
    let ((), json) = memory::peak_of(|| serde_json::to_writer_pretty(&mut Counted::default(), &report).unwrap());
    println!("{} bytes: {peak} to open, {json} of JSON", header.len());
    assert!(peak < memory::bound(0) + 2 * header.len() && json < 1 << 20, "{peak} and {json} bytes");
    let kept = opened.checkpoint.metadata.len();
    assert_eq!(kept, 100_000);
    assert!(opened.checkpoint.warnings[0].contains("the last 900000 are left out"), "{:?}", opened.checkpoint.warnings);
}

/// Each shard alone may be read, all of them together hold more than is.
#[test]
fn what_shards_hold_is_bounded_by_their_sum() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let index = |shards: &[&str]| {
        let places = shards.iter().enumerate().map(|(at, shard)| (format!("t{at}"), json!(shard)));
        let index = folder.path().join("model.index.json");
        std::fs::write(&index, json!({"weight_map": places.collect::<serde_json::Map<_, _>>()}).to_string()).unwrap();
        index
    };
    for (at, name) in ["a.bin", "b.bin"].iter().enumerate() {
        generate::torch_beside(&folder.path().join(name), &[(format!("t{at}"), vec![4])], Kind::Float32, 600 << 20);
    }
    assert_eq!(Checkpoint::open(&index(&["a.bin"])).unwrap().tensors.len(), 1);
    assert_eq!(Checkpoint::open(&folder.path().join("b.bin")).unwrap().tensors.len(), 1);
    let both = index(&["a.bin", "b.bin"]);
    let (said, peak) = memory::peak_of(|| Checkpoint::open(&both).unwrap_err().to_string());
    assert!(said.contains("more than 1024 MiB of headers together") && said.contains("one by one"), "{said}");
    assert!(peak < 1 << 20, "{peak} bytes");
}

#[test]
fn what_is_alike_is_triaged_once() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.safetensors");
    generate::safetensors(&path, &layers(2_000), Kind::Float32);
    let opened = opened(&path);
    let (first, last) = (opened.model.find("layers.0").unwrap(), opened.model.find("layers.999").unwrap());
    let triaged = |id: usize| &opened.triage.modules[id];
    assert!(std::sync::Arc::ptr_eq(triaged(first), triaged(last)) && triaged(first).plan.is_some());
    let mut text = String::new();
    write!(text, "{}", opened.triage.modules.len()).unwrap();
    inspect_text::text(&mut text, &opened, None).unwrap();
    assert_eq!(text.matches("→ nn.Linear").count(), 1_000);
}
