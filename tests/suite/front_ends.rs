//! Text, Markdown, JSON and the screen say the same of the same file, the same run and the same conversion: no share, count or
//! word of one may be another's denial.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::common::sample::{self, act, draw, view};
use crate::common::{run, stderr};
use safetensors::tensor::{Dtype as Stored, TensorView};
use serde_json::Value;
use t2m_checkpoint::TensorKind;
use t2m_tui::compare::Verdict;
use t2m_tui::exit::Exit;
use t2m_tui::export::state_dict::{self, Known};
use t2m_tui::figures;
use t2m_tui::findings::{Blockers, Headline};
use t2m_tui::model::{Model, ModuleId};
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::report::verify::{Report, layer_text};
use t2m_tui::source::Severity;
use t2m_tui::triage::Triage;
use t2m_tui::tui::action::{Action, Command};
use t2m_tui::tui::converting::{self, Converter, Wish, Worker};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::panels::findings::Kind;
use t2m_tui::tui::snapshot::rows;
use t2m_tui::tui::state::State;
use t2m_tui::verify::{Event, Measured, Results};

fn opened(path: &str, source: Option<&str>) -> Opened {
    let sources = source.into_iter().map(Into::into).collect();
    open(&Options { checkpoint: path.into(), sources, ..Options::default() }).unwrap()
}

/// The screen with this checkpoint open.
fn screen(opened: &Opened) -> State {
    let mut state = sample::state("dark");
    act(&mut state, Action::Opened(Arc::new(Document::of(opened))));
    draw(&mut state, 160, 45);
    state
}

fn shown(state: &mut State) -> Vec<String> {
    rows(&draw(state, 160, 45))
}

fn inspect(path: &str, source: Option<&str>, format: &str) -> String {
    let source = source.map(|source| ["--source", source]);
    let arguments: Vec<&str> =
        ["inspect", path, "--format", format].into_iter().chain(source.into_iter().flatten()).collect();
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What may be said of a share, by its definition.
fn percent(share: f64) -> String {
    match share {
        0.0 => "0".to_owned(),
        1.0 => "100".to_owned(),
        share if share < 0.01 => "<1".to_owned(),
        share => (1..100).rev().find(|whole| f64::from(*whole) / 100.0 <= share).unwrap().to_string(),
    }
}

/// A file of so many linear layers and so many tensors of which nobody knows what they are.
fn state_dict(path: &Path, known: usize, unknown: usize) {
    let bytes = [0u8; 4 * 4 * 4];
    let linear = (0..known).flat_map(|at| [(format!("fc{at}.weight"), vec![4, 4]), (format!("fc{at}.bias"), vec![4])]);
    let strange = (0..unknown).map(|at| (format!("odd{at}.thing"), vec![2, 2, 2]));
    let views = linear.chain(strange).map(|(name, shape): (String, Vec<usize>)| {
        let bytes = &bytes[..4 * shape.iter().product::<usize>()];
        (name, TensorView::new(Stored::F32, shape, bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// The fixtures, and files of which nearly nothing and nearly everything converts.
fn files(folder: &Path) -> Vec<String> {
    let mut files: Vec<String> = vec!["demo".to_owned()];
    for name in ["state_dict.pt", "module.pt", "trainer.pt", "quantised.pt", "blocks.pt", "lazy.pt", "parametrized.pt"]
    {
        files.push(format!("tests/fixtures/{name}"));
    }
    for (known, unknown) in [(1, 0), (1, 250), (250, 1), (0, 3), (30, 3), (0, 0)] {
        let path = folder.join(format!("{known}-of-{}.safetensors", known + unknown));
        state_dict(&path, known, unknown);
        files.push(path.to_str().unwrap().to_owned());
    }
    files
}

#[test]
fn shares_counts_and_sizes_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = BTreeSet::new();
    for path in files(folder.path()) {
        let (text, markdown) = (inspect(&path, None, "text"), inspect(&path, None, "md"));
        let report: Value = serde_json::from_str(&inspect(&path, None, "json")).unwrap();
        let mut state = screen(&opened(&path, None));
        let header = shown(&mut state)[0].clone();
        let first = text.lines().next().unwrap();
        let facts = first.split_once(" · ").unwrap().1;
        assert!(
            markdown.lines().next().unwrap().ends_with(facts) && header.contains(facts),
            "{path}: {first} | {header}"
        );

        // Three facts: the same figure in the text, the Markdown, the JSON and the header, and a dash for a share of nothing.
        let fact = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or("").to_owned();
        let shares = &report["summary"]["coverage"];
        for (word, share) in [("weights", &shares["weights"]), ("behaviour", &shares["layers"])] {
            let line = fact(&format!("{word}:"));
            let words = line.split_once(": ").unwrap().1.trim();
            let cell = words.replace('<', "&lt;");
            assert!(markdown.contains(&format!("- {word}: {cell}")), "{path}: {line}");
            let shown = header.split_once(&format!("{word} ")).unwrap().1.trim_start_matches(['▰', '▱', ' ']);
            if word == "weights" && report["checkpoint"]["parameters"] == 0 {
                assert!(
                    share.is_null() && words.starts_with('–') && shown.starts_with('–'),
                    "{path}: {line} | {header}"
                );
                continue;
            }
            let expected = percent(share.as_f64().unwrap());
            assert!(words.starts_with(&format!("{expected} % of the ")), "{path}: {line}");
            assert!(shown.starts_with(&format!("{expected}%")), "{path}: {header}");
            seen.insert(expected);
        }
        let forwards = report["summary"]["forwards"]["to_port"].as_u64().unwrap();
        let to_port = fact("to port:");
        assert!(markdown.contains(&format!("- to port: {}", to_port.split_once(": ").unwrap().1.trim())), "{to_port}");
        let counted = to_port.contains(&format!(" {forwards} forward")) && header.contains(&format!("◇ {forwards}"));
        assert_eq!(counted, forwards > 0, "{path}: {to_port} | {header}");
        let custom = report["modules"].as_array().unwrap().iter().filter(|module| module["status"] == "custom");
        let classes: BTreeSet<&str> = custom.filter_map(|module| module["class"].as_str()).collect();
        assert_eq!(forwards, classes.iter().filter(|class| !class.is_empty()).count() as u64, "{path}");
    }
    for special in ["<1", "99", "0", "100", "90"] {
        assert!(seen.contains(special), "no file has {special}: {seen:?}");
    }
}

/// The share that is said without a key map is that of the key map.
#[test]
fn weights_that_can_be_moved_are_those_that_convert_moves() {
    let folder = tempfile::tempdir().unwrap();
    let mut shares = BTreeSet::new();
    for path in files(folder.path()) {
        let opened = opened(&path, None);
        let tensors = &opened.checkpoint.tensors;
        let map = state_dict::map(&opened, &globset::GlobSet::empty()).unwrap();
        let moved = map.entries.iter().filter(|entry| !matches!(entry.known, Known::Copied(_)));
        let moved: BTreeSet<usize> = moved.flat_map(|entry| &entry.from).copied().collect();
        let of = |id: usize| tensors[id].shared_with.unwrap_or(id);
        let own = opened.model.modules.iter().flat_map(|module| &module.tensors);
        let parameters: BTreeSet<usize> =
            own.filter(|own| own.kind != TensorKind::Buffer).filter_map(|own| own.tensor).map(of).collect();
        let elements = |ids: &BTreeSet<usize>| ids.iter().map(|&id| tensors[id].elements()).sum::<u64>();
        let known: BTreeSet<usize> =
            moved.into_iter().map(of).collect::<BTreeSet<_>>().intersection(&parameters).copied().collect();
        let expected = (elements(&parameters) > 0).then(|| figures::share(elements(&known), elements(&parameters)));
        assert_eq!(state_dict::known_share(&opened), expected, "{path}");
        shares.insert(expected.map_or(-1, |share| (share * 1000.0) as i64));
    }
    assert!(shares.len() > 3, "{shares:?}");
}

#[test]
fn a_share_of_nothing_is_not_said() {
    let (model, triage) = (Arc::new(Model::default()), Arc::new(Triage::default()));
    let headline = Headline::of(&model, &triage, None);
    assert_eq!((headline.weights, headline.behaviour), (None, None));
    let words = [headline.weights_words(), headline.behaviour_words()];
    assert!(words.iter().all(|words| words.starts_with('–')), "{words:?}");
    let mut state = sample::state("dark");
    act(&mut state, Action::Opened(Arc::new(Document::new("nothing.pt".to_owned(), model, triage))));
    let header = shown(&mut state)[0].clone();
    assert!(header.contains(" no layers ") && !header.contains('%'), "{header}");
}

#[test]
fn blockers_and_ops_of_a_file() {
    // The second one has two modules of one class, with four blockers in its source.
    for (path, source) in [("demo", None), ("tests/fixtures/module.pt", Some("tests/fixtures/source"))] {
        let say = |format: &str| inspect(path, source, format);
        let (text, markdown) = (say("text"), say("md"));
        let report: Value = serde_json::from_str(&say("json")).unwrap();
        let mut state = screen(&opened(path, source));
        let header = shown(&mut state)[0].clone();
        let listed = report["blockers"].as_array().unwrap();
        assert_eq!(report["summary"]["blockers"].as_u64(), Some(listed.len() as u64));
        let of_modules =
            report["modules"].as_array().unwrap().iter().map(|module| module["blockers"].as_u64().unwrap());
        let running = listed.iter().map(|place| place["modules"].as_array().unwrap().len() as u64).sum::<u64>();
        assert_eq!(of_modules.sum::<u64>(), running);
        assert!(listed.iter().all(|place| place["module"] == place["modules"][0] && place["reach"].is_string()));

        // Each place once, by how bad it is.
        let place = |one: &Value| ["severity", "file", "line", "column", "pattern"].map(|name| one[name].to_string());
        let places: BTreeSet<[String; 5]> = listed.iter().map(place).collect();
        let of = |word: &str| places.iter().filter(|place| place[0] == format!("\"{word}\"")).count();
        let (breaks, differs, harmless) = (of("breaks"), of("differs"), of("harmless"));
        let words = text.lines().find_map(|line| line.strip_prefix("blockers: ")).unwrap().trim();
        assert!(markdown.contains(&format!("- blockers: {words}")), "{words}");
        let words = words.split(';').next().unwrap();
        let words = words.split_once(" (").map_or(words, |(counted, _)| counted);
        let told = |one: &str, several: &str| {
            let parts = words.split(", ").filter_map(|part| part.split_once(' '));
            let mut parts = parts.filter(|(_, word)| *word == one || *word == several);
            parts.next().map_or(0, |(count, _)| count.parse().unwrap())
        };
        let counts = [told("breaks", "break"), told("differs", "differ"), told("harmless", "harmless")];
        assert_eq!(counts, [breaks, differs, harmless], "{words}");
        let rows = markdown.lines().skip_while(|line| !line.starts_with("| blocker |")).skip(2);
        assert_eq!(rows.take_while(|line| line.starts_with("| ")).count(), places.len());

        // The screen: the flag at the top, the folded root, the list.
        let view = view(&state);
        assert!(header.trim_end().ends_with(&format!("⚑ {}", breaks + differs)), "{header}");
        assert_eq!((view.document.flags(), view.document.serious_below(0)), (breaks + differs, breaks + differs));
        let list = &view.document.findings;
        let severity = |wanted| {
            list.iter()
                .filter(|finding| matches!(finding.kind, Kind::Blocker(severity, _) if severity == wanted))
                .count()
        };
        let counts = [Severity::Breaks, Severity::Differs, Severity::Harmless].map(severity);
        assert_eq!(counts, [breaks, differs, harmless]);
        let runs = list.iter().filter(|finding| matches!(finding.kind, Kind::Blocker(..))).map(|finding| finding.count);
        let modules = listed.iter().map(|blocker| blocker["modules"].as_array().unwrap().len());
        assert_eq!(runs.sum::<usize>(), modules.sum::<usize>(), "each module that runs a place is in JSON");
        assert_eq!(places.len(), listed.len(), "one entry a place");

        // Ops: the sums are those of the list, in its words.
        let mut ops: BTreeMap<String, u64> = BTreeMap::new();
        for op in report["ops"].as_array().unwrap() {
            *ops.entry(op["status"].as_str().unwrap().to_owned()).or_default() += op["count"].as_u64().unwrap();
        }
        let text = text.replace("unknown here", "unknown");
        let sums = text.lines().find_map(|line| line.strip_prefix("ops in the forwards: ")).unwrap();
        let sums = sums.split_once(" (?").unwrap().0.split(", ").filter_map(|part| part.split_once(' '));
        let sums =
            sums.filter(|(_, word)| *word != "guesses").map(|(count, word)| (word.to_owned(), count.parse().unwrap()));
        assert_eq!(sums.collect::<BTreeMap<String, u64>>(), ops);
        let listed = text.lines().skip_while(|line| !line.starts_with("ops in the forwards")).skip(1);
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        for line in listed.take_while(|line| line.starts_with("    ")) {
            let count = line.split(" ×").nth(1).unwrap().split_whitespace().next().unwrap();
            *told.entry(line.split_whitespace().next().unwrap().to_owned()).or_default() +=
                count.parse::<u64>().unwrap();
        }
        assert_eq!(told, ops);
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        for finding in list {
            if let Kind::Op(status) = finding.kind {
                *told.entry(status.name().to_owned()).or_default() += finding.count as u64;
            }
        }
        assert_eq!(told, ops, "the screen's list");
    }
}

#[test]
fn a_place_that_several_modules_run_is_one_place_in_the_tree_as_well() {
    let state = sample::state("dark");
    let document = &view(&state).document;
    let id = |path: &str| document.model.find(path).unwrap();
    assert_eq!((document.serious(id("layer1.0")).0, document.serious_below(id("layer1.0"))), (3, 3));
    assert_eq!([id("layer1"), id("layer2"), 0].map(|id| document.serious_below(id)), [3, 3, document.flags()]);
    assert_eq!((document.flags(), document.serious_below(id("encoder"))), (3, 0));
    // In every subtree: the places that any module of it runs.
    let blockers = Blockers::of(&document.model, &document.triage);
    for (at, module) in document.model.modules.iter().enumerate() {
        let serious = blockers.places.iter().filter(|place| place.blocker.severity != Severity::Harmless);
        let below = serious.filter(|place| place.modules.iter().any(|id| (at..module.end).contains(id)));
        assert_eq!(document.serious_below(at), below.count(), "{}", module.path);
    }
}

/// One layer of each verdict and more, with what is to come of it: the worst error in shares of the tolerance, the verdict.
const RUN: [(f64, Verdict); 9] = [
    (0.0, Verdict::Exact),
    (0.4, Verdict::Ok),
    (3.0, Verdict::Drift),
    (34_000.0, Verdict::Broken),
    (0.0, Verdict::Failed),
    (0.0, Verdict::NotRun),
    (0.7, Verdict::Ok),
    (0.0, Verdict::NotRun),
    (0.1, Verdict::Ok),
];

/// What the runner says of [`RUN`] in the first layers of a model; the last one is run twice, and was broken at first.
fn events(layers: &[ModuleId]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut run = |module: ModuleId, share: f64, verdict: Verdict| {
        let measured = !matches!(verdict, Verdict::Failed | Verdict::NotRun);
        events.push(Event::Started { module, trials: 2 });
        for seed in 1..3 {
            let trial = Box::new(sample::trial(seed, share * seed as f64 / 2.0));
            events.extend(measured.then_some(Event::Trial { module, trial }));
        }
        let reason = (!measured).then(|| "an engine had its reasons".to_owned());
        events.push(Event::Finished { module, verdict, reason });
    };
    run(layers[RUN.len() - 1], 50_000.0, Verdict::Broken);
    layers.iter().zip(RUN).for_each(|(&module, (share, verdict))| run(module, share, verdict));
    events
}

#[test]
fn verdicts_of_a_run() {
    let opened = opened("demo", None);
    let layers: Vec<ModuleId> = opened.triage.layers(&opened.model).collect();
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    RUN.iter().for_each(|(_, verdict)| *expected.entry(verdict.name()).or_default() += 1);

    let mut results = Results::of(opened.model.clone(), &opened.triage);
    let mut state = screen(&opened);
    let mut lines = Vec::new();
    for event in events(&layers) {
        act(&mut state, Action::Verify(event.clone()));
        if let Some((id, layer)) = results.apply(event) {
            lines.push(layer_text(&opened, id, layer, None));
        }
    }
    let report = Report { opened: &opened, results: &results };

    // JSON, its layers, text, Markdown.
    let json = report.json();
    let counts = |counts: &Value| -> BTreeMap<String, u64> {
        counts.as_object().unwrap().iter().map(|(word, count)| (word.clone(), count.as_u64().unwrap())).collect()
    };
    let expected: BTreeMap<String, u64> = expected.into_iter().map(|(word, count)| (word.to_owned(), count)).collect();
    assert_eq!(counts(&json["summary"]), expected);
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for layer in json["layers"].as_array().unwrap() {
        *told.entry(layer["verdict"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(told, expected);
    let summary = report.summary_text();
    let words = summary.lines().next().unwrap().strip_prefix("layers: ").unwrap().split(", ");
    let words = words.map(|part| part.split_once(' ').unwrap());
    let words: BTreeMap<String, u64> = words.map(|(count, word)| (word.to_owned(), count.parse().unwrap())).collect();
    assert_eq!(words, expected);
    let markdown = report.markdown();
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for row in markdown.lines().filter(|line| line.starts_with("| `")) {
        let verdict = row.trim_end_matches(" |").rsplit("| ").next().unwrap().split(": ").next().unwrap();
        *told.entry(verdict.to_owned()).or_default() += 1;
    }
    assert_eq!(told, expected);
    assert!(markdown.contains(&summary));

    // The screen: sums of the whole model, the filter and what it lets through, the exit code.
    let screen = shown(&mut state).join("\n");
    let (passed, runnable) = (expected["exact"] + expected["ok"], view(&state).document.runnable(0));
    assert!(screen.contains(&format!("{passed} of {runnable} layers pass")), "{screen}");
    for (word, count) in &expected {
        assert!(screen.contains(&format!(" {count} {word} ")), "{count} {word}: {screen}");
    }
    let bad = expected["drift"] + expected["broken"] + expected["failed"];
    assert_eq!(results.exit(results.measured(), 0.0), Exit::BadAnswer);
    act(&mut state, Action::Command(Command::Open(t2m_tui::tui::panels::Name::Filter)));
    let filter = shown(&mut state).into_iter().find(|row| row.contains("measured badly")).unwrap();
    assert_eq!(filter.split("measured badly").nth(1).unwrap().split_whitespace().next(), Some(&*bad.to_string()));
    let bad_only = t2m_tui::filter::Filter::parse("verdict:bad").unwrap();
    let view = view(&state);
    let wanted = (0..view.document.len()).filter(|&id| bad_only.wants(&view.facts(), id));
    assert_eq!(wanted.count() as u64, bad, "what was not run is not measured badly");

    // Each layer: the worst error is the same figure everywhere.
    for (&id, (share, verdict)) in layers.iter().zip(RUN) {
        let layer = results.layer(id).unwrap();
        assert_eq!((layer.verdict(), view.measured.layer(id)), (Some(verdict), Some(layer)));
        let path = opened.model.modules[id].path.as_str();
        let row = markdown.lines().find(|line| line.starts_with(&format!("| `{path}` |"))).unwrap();
        let line = lines.iter().rev().find(|line| line.split_whitespace().next() == Some(path)).unwrap();
        if layer.worst().is_some() {
            let figure = figures::error(share * 9.4e-6);
            assert!(row.contains(&format!("| {figure} |")), "{figure}: {row}");
            assert!(line.contains(&format!(" {figure} ")), "{figure}: {line}");
        }
        assert!(line.contains(&format!("  {}", verdict.name())), "{line}");
    }
}

#[test]
fn a_run_without_a_fault_ends_well() {
    let opened = opened("demo", None);
    let layers: Vec<ModuleId> = opened.triage.layers(&opened.model).collect();
    let mut results = Results::of(opened.model.clone(), &opened.triage);
    for (module, verdict) in layers.into_iter().zip([Verdict::Exact, Verdict::Ok, Verdict::NotRun]) {
        results.apply(Event::Started { module, trials: 1 });
        results.apply(Event::Finished { module, verdict, reason: None });
    }
    assert_eq!((results.total().bad(), results.total().finished()), (0, 3));
    assert!(!results.any_measured(), "there was no trial");
    let nothing = results.measured();
    assert_eq!((nothing.measured, nothing.layers), (0, 3));
    assert_eq!(results.exit(nothing, 0.0), Exit::BadAnswer, "nothing was measured");
    let most = Measured { measured: 2, by_definition: 1, layers: 4, ..Measured::default() };
    assert_eq!(
        [0.0, 0.66, 0.67].map(|required| results.exit(most, required)),
        [Exit::Fine, Exit::Fine, Exit::BadAnswer]
    );
}

/// What the screen says of a conversion of `path` into `folder`: of its preview, and at its end.
fn on_screen(path: &str, folder: &Path) -> [Result<(), String>; 2] {
    let (events, heard) = crossbeam_channel::unbounded();
    let worker = Worker::start(opened(path, None), folder.to_owned(), events);
    worker.plan();
    let mut planned = Err("there was no plan".to_owned());
    let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
    worker.write(Wish { path: folder.join(format!("{stem}.mlx.safetensors")), replace: false });
    // The command line's options are said to be its own.
    let told = |words: String| words.replace(" (an option of `t2m-tui convert`)", "");
    loop {
        match heard.recv().unwrap() {
            converting::Event::Planned(preview) => planned = preview.map(drop).map_err(told),
            converting::Event::Progress(_) => {}
            // Where the command line names the option that replaces it, the screen asks.
            converting::Event::Exists(path, _) => {
                return [planned, Err(format!("{}: is there already", path.display()))];
            }
            converting::Event::Ended(end) => return [planned, end.map(drop).map_err(told)],
        }
    }
}

#[test]
fn a_conversion_from_the_screen_is_that_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(on_screen("demo", folder.path()), [Ok(()), Ok(())]);
    let output = run(&["convert", "demo", "-o", &at("by-hand.safetensors")]);
    assert!(output.status.success(), "{}", stderr(&output));
    let written = |name: &str| std::fs::read(at(name)).unwrap();
    assert!(written("demo.mlx.safetensors") == written("by-hand.safetensors"), "to the byte");

    // What one refuses the other refuses, in the same words.
    std::fs::copy(at("demo.mlx.safetensors"), at("mlx.safetensors")).unwrap();
    state_dict(Path::new(&at("empty.safetensors")), 0, 0);
    std::fs::write(at("there.mlx.safetensors"), "mine").unwrap();
    state_dict(Path::new(&at("there.safetensors")), 1, 0);
    for (name, plans, words) in [
        ("mlx.safetensors", false, "is MLX's already"),
        ("empty.safetensors", false, "no tensor to convert"),
        ("there.safetensors", true, "is there already"),
    ] {
        let target = at(&name.replace(".safetensors", ".mlx.safetensors"));
        let output = run(&["convert", &at(name), "-o", &target]);
        let said = stderr(&output);
        let [planned, ended] = on_screen(&at(name), folder.path());
        assert_eq!((output.status.code(), planned.is_ok()), (Some(2), plans), "{name}: {said}");
        let reason = ended.unwrap_err();
        assert!(said.contains(&reason) && reason.contains(words), "{name}: {said} | {reason}");
        assert!(plans || planned == Err(reason), "{name}");
    }
    assert_eq!(written("there.mlx.safetensors"), b"mine");
    assert!(!Path::new(&at("empty.mlx.safetensors")).exists());
}
