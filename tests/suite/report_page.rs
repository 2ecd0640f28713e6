//! The report for colleagues: what stands in it, that nothing of a file is obeyed, that it needs nothing besides itself, and that a large
//! model gives a page that opens.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::archive::safetensors;
use crate::common::sample::trial;
use t2m_tui::compare::Verdict;
use t2m_tui::files::Inputs;
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::report::page::{self, Made, Mark, On, Record};
use t2m_tui::verify::{Event, Results, Twin};

/// A name that would run, were it obeyed.
const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\" onclick='x' <!-- \u{202e}";

fn opened(checkpoint: &Path) -> Opened {
    open(&Options { checkpoint: checkpoint.to_owned(), ..Options::default() }).unwrap()
}

fn written(record: &Record, name: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    page::write(record, &Inputs::default(), &path, false).unwrap();
    std::fs::read_to_string(path).unwrap()
}

/// The demo with layers measured: one of them badly, some as a plain rename and in half precision, too.
fn measured(reason: &str) -> Record {
    let opened = opened(Path::new("demo"));
    let mut results = Results::of(opened.model.clone(), &opened.triage);
    let layers: Vec<usize> =
        opened.triage.layers(&opened.model).filter(|id| opened.triage.modules[*id].can_run()).collect();
    for (at, &module) in layers.iter().enumerate() {
        let bad = at == 3;
        let found = trial(7, if bad { 1e6 } else { 0.01 * at as f64 });
        let half = t2m_tui::compare::Trial { dtype: t2m_checkpoint::Dtype::Float16, ..trial(7, 0.5) };
        let twin = Twin {
            name: format!("weights as they are{reason}"),
            verdict: Verdict::Broken,
            trial: Some(trial(7, 2e5)),
            reason: None,
        };
        results.apply(Event::Started { module, trials: 1 });
        results.apply(Event::Trial { module, trial: Box::new(found) });
        results.apply(Event::Trial { module, trial: Box::new(half) });
        if at % 5 == 0 {
            results.apply(Event::Twin { module, twin: Box::new(twin) });
        }
        let verdict = if bad { Verdict::Broken } else { Verdict::Ok };
        results.apply(Event::Finished { module, verdict, reason: bad.then(|| format!("it is wrong{reason}")) });
    }
    let mut record = Record::new(opened, results);
    let made =
        Made { torch: "libtorch 2.13.0 (cpu)".into(), mlx: format!("MLX 0.32.2{reason}"), at: "2026-02-28".into() };
    record.made = layers.iter().map(|&id| (id, made.clone())).collect();
    record.marks = vec![
        Mark { on: On::Class("scene.Caption".into()), mark: "todo".into(), note: format!("next week{reason}") },
        Mark { on: On::Module("picture.stem".into()), mark: format!("own{reason}"), note: String::new() },
        Mark { on: On::Module(format!("gone{reason}")), mark: "skip".into(), note: "no more".into() },
    ];
    record
}

/// An element's start: its name and its attributes.
type Tag = (String, Vec<(String, String)>);

/// The elements of a page, with the contents of style and script left out, and the text between them. Attributes must be in double
/// quotes, as the page writes them.
fn parse(page: &str) -> (Vec<Tag>, String) {
    let (mut tags, mut text, mut rest) = (Vec::new(), String::new(), page);
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut quoted = false;
        let end = rest.find(|letter| {
            quoted ^= letter == '"';
            letter == '>' && !quoted
        });
        let (tag, behind) = rest.split_at(end.expect("a tag that does not end"));
        rest = &behind[1..];
        let (name, mut attributes) = tag.trim_end_matches('/').split_once(' ').unwrap_or((tag, ""));
        let mut found = Vec::new();
        while !attributes.trim().is_empty() {
            let (name, value) = attributes
                .trim_start()
                .split_at(attributes.trim_start().find(['=', ' ']).unwrap_or(attributes.trim_start().len()));
            match value.strip_prefix("=\"") {
                Some(value) => {
                    let (value, behind) = value.split_once('"').unwrap();
                    found.push((name.to_owned(), value.to_owned()));
                    attributes = behind;
                }
                None => {
                    assert!(!value.starts_with('='), "an attribute without quotes: {tag}");
                    found.push((name.to_owned(), String::new()));
                    attributes = value;
                }
            }
        }
        if ["style", "script"].contains(&name) {
            let close = format!("</{name}>");
            rest = &rest[rest.find(&close).unwrap() + close.len()..];
        }
        tags.push((name.to_owned(), found));
    }
    (tags, text + rest)
}

/// Everything that a page may consist of, and nothing that a name of a file could bring in.
fn assert_inert(page: &str) {
    const TAGS: [&str; 46] = [
        "!doctype",
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "p",
        "nav",
        "a",
        "div",
        "input",
        "span",
        "button",
        "main",
        "section",
        "h2",
        "dl",
        "dt",
        "dd",
        "table",
        "thead",
        "tr",
        "th",
        "tbody",
        "td",
        "code",
        "br",
        "details",
        "summary",
        "ul",
        "li",
        "b",
        "svg",
        "path",
        "g",
        "circle",
        "text",
        "footer",
        "script",
        "!doctype html",
        "dfn",
        "em",
        "hr",
    ];
    const ATTRIBUTES: [&str; 34] = [
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "class",
        "id",
        "href",
        "title",
        "hidden",
        "type",
        "placeholder",
        "role",
        "aria-label",
        "open",
        "viewBox",
        "d",
        "x",
        "y",
        "cx",
        "cy",
        "r",
        "html",
        "svg",
        "width",
        "height",
        "fill",
        "stroke",
        "n",
        "dim",
        "left",
        "row",
        "wide",
        "note",
    ];
    let (tags, text) = parse(page);
    let ids: BTreeSet<&str> = tags
        .iter()
        .flat_map(|(_, attributes)| attributes)
        .filter(|(name, _)| name == "id")
        .map(|(_, value)| value.as_str())
        .collect();
    let mut scripts = 0;
    for (name, attributes) in &tags {
        assert!(TAGS.contains(&name.trim_start_matches('/')), "{name}");
        scripts += usize::from(name == "script");
        for (attribute, value) in attributes {
            assert!(ATTRIBUTES.contains(&attribute.as_str()), "{name} {attribute}");
            if attribute == "href" {
                let id = value.strip_prefix('#').unwrap_or_else(|| panic!("a link out of the page: {value}"));
                assert!(ids.contains(id), "a link to nothing: {value}");
            }
            assert!(!value.contains(['<', '>']) && !value.contains('\u{202e}'), "{value}");
        }
    }
    assert_eq!(scripts, 1, "the page's own and no other");
    assert!(!text.contains('\u{202e}'));
    // No address of another place: neither loaded nor linked.
    assert!(!page.contains("://"), "{:?}", page.find("://").map(|at| &page[at.saturating_sub(40)..at + 40]));
    assert!(page.contains("Content-Security-Policy") && page.contains("default-src 'none'"));
    assert!(!page.contains("unsafe-inline"));
}

#[test]
fn the_policy_allows_the_pages_own_style_and_script() {
    use sha2::Digest;
    let page = written(&measured(""), "x.html");
    for name in ["style", "script"] {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let start = page.find(&open).unwrap() + open.len();
        let text = &page[start..start + page[start..].find(&close).unwrap()];
        let digest = t2m_tui::base64::base64(&sha2::Sha256::digest(text.as_bytes()));
        assert!(page.contains(&format!("{name}-src 'sha256-{digest}'")), "{name}");
    }
}

#[test]
fn everything_on_record_is_in_the_page() {
    let page = written(&measured(""), "x.html");
    assert_inert(&page);
    let (tags, text) = parse(&page);
    for section in ["summary", "work", "notes", "problems", "rename", "half", "layers", "blockers", "tree"] {
        assert!(tags.iter().any(|(name, at)| name == "section" && at.iter().any(|(_, id)| id == section)), "{section}");
    }
    for words in [
        "known in full and convert",
        "6 forwards, of 8 modules",
        "next week",
        "no more",
        "it is wrong",
        "weights as they are",
        "libtorch 2.13.0 (cpu) and MLX 0.32.2",
        "2026-02-28",
        "demo/scene.py:52",
        "Its windows are drawn at random",
        "float16",
    ] {
        assert!(text.contains(words), "{words}");
    }
    // One point and one tolerance for each layer that was compared, and a cross for each plain rename.
    let count = |class: &str| page.matches(class).count();
    assert!(
        count("class=\"dot ") > 60 && count("class=\"dot ") == count("class=\"bound\""),
        "{}",
        count("class=\"dot ")
    );
    assert!(count("<path class=\"rename\"") > 5);
    // The one that is wrong comes first among the measured.
    let measured = &page[page.find("<section id=\"layers\">").unwrap()..];
    assert!(measured.find("chip broken").unwrap() < measured.find("chip ok").unwrap());
}

#[test]
fn nothing_of_a_file_is_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("<svg onload=alert(1)>.safetensors");
    let names = [format!("{HOSTILE}.weight"), format!("a.{HOSTILE}.0.weight"), "plain.weight".to_owned()];
    let tensors: Vec<(&str, &[u64])> = names.iter().map(|name| (name.as_str(), &[2u64, 2][..])).collect();
    std::fs::write(&path, safetensors(&tensors)).unwrap();
    let opened = opened(&path);
    let results = Results::of(opened.model.clone(), &opened.triage);
    let page = written(&Record::new(opened, results), "x.html");
    assert_inert(&page);
    assert!(page.contains("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&quot; onclick=&#39;x&#39;"), "{page}");
    // What somebody typed, and what an engine said, neither.
    let record = measured(HOSTILE);
    assert_inert(&written(&record, "x.html"));
    let text = written(&record, "x.md");
    assert!(!text.contains("<img") && !text.contains("</script") && !text.contains('\u{202e}'), "{text}");
    let value: serde_json::Value = serde_json::from_str(&written(&record, "x.json")).unwrap();
    assert_eq!(value["marks"][0]["note"], format!("next week{HOSTILE}"));
    assert!(value["verify"]["layers"].as_array().unwrap().len() > 40);
    assert_eq!(value["inspect"]["modules"].as_array().unwrap().len(), record.opened.model.modules.len());
    assert_eq!(value["to_port"].as_array().unwrap().len(), 6);
}

#[test]
fn a_large_model_gives_a_page_that_opens() {
    let names: Vec<String> = (0..6000).map(|at| format!("stage{}.block{}.part{at}.weight", at % 3, at % 700)).collect();
    let tensors: Vec<(&str, &[u64])> = names.iter().map(|name| (name.as_str(), &[1u64][..])).collect();
    let (_folder, path) = crate::common::file("large.safetensors", safetensors(&tensors));
    let opened = opened(&path);
    assert!(opened.model.modules.len() > 8000);
    let results = Results::of(opened.model.clone(), &opened.triage);
    let page = written(&Record::new(opened, results), "x.html");
    assert_inert(&page);
    let rows = page.matches("<li id=\"m").count();
    assert_eq!(rows, 4000, "a bound, whatever the size");
    assert!(page.contains("more directly below, not shown here"));
    assert!(page.len() < 3 << 20, "{}", page.len());
}

#[test]
fn a_report_goes_where_it_is_wanted_and_nowhere_else() {
    let record = measured("");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    let write = |path: &Path, force| page::write(&record, &Inputs::default(), path, force);
    write(&at("a.html"), false).unwrap();
    let error = write(&at("a.html"), false).unwrap_err();
    assert!(error.exists() && error.to_string().contains("--force replaces it"), "{error}");
    write(&at("a.html"), true).unwrap();
    let error = write(&at("a.pdf"), false).unwrap_err().to_string();
    assert!(error.contains("a report is .html, .md or .json"), "{error}");
    assert!(write(&at("none/a.md"), false).unwrap_err().to_string().contains("its folder is not there"));
    // A file that is read is never written to, even by force.
    std::fs::copy("tests/fixtures/module.pt", at("net.json")).unwrap();
    let opened = opened(&at("net.json"));
    let results = Results::of(opened.model.clone(), &opened.triage);
    let error = page::write(&Record::new(opened, results), &Inputs::default(), &at("net.json"), true).unwrap_err();
    assert!(error.to_string().contains("never written to"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
}
