//! Sessions: written and read, merged, damaged, of other versions; results on record that hold, and those that are stale.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use crate::common::sample;
use proptest::prelude::*;
use serde_json::{Value, json};
use t2m_checkpoint::Dtype;
use t2m_engine::{EngineInfo, EngineState, Side};
use t2m_tui::compare::{Verdict, WeightSource};
use t2m_tui::session::store::{Misfit, Unread, parse, text};
use t2m_tui::session::{
    About, Basis, Change, Engines, GraphRun, Keeper, Mark, Measured, Note, Screen, Session, Setting, Store, Time, Told,
    Twin, TypedEntry,
};
use t2m_tui::typed::{Edit, Which};
use t2m_tui::verify::recorded::{basis, results};
use t2m_tui::verify::{Event, Progress};

fn note(mark: Option<&str>, words: &str, at: u64) -> Note {
    Note { mark: mark.map(|word| Mark::from(word.to_owned())), note: words.to_owned(), at: Time::of_millis(at) }
}

fn engine(version: &str) -> EngineInfo {
    serde_json::from_value(
        json!({"protocol": 5, "engine": "x", "version": version, "device": "cpu", "flags": {"a": "0"}}),
    )
    .unwrap()
}

fn setting(weights: WeightSource) -> Setting {
    Setting { weights, dtypes: vec![Dtype::Float32], trials: 2, seed: 7, twins: false, tf32: false }
}

fn measured(rests_on: Basis, at: u64) -> Measured {
    Measured {
        at: Time::of_millis(at),
        verdict: Verdict::Ok,
        reason: None,
        setting: setting(WeightSource::Checkpoint),
        engines: Engines { torch: Some(engine("2.13.0")), mlx: Some(engine("0.32.2")) },
        rests_on,
        trials: vec![sample::trial(7, 0.06), sample::trial(8, f64::INFINITY)],
        twins: vec![Twin {
            name: "transposed".to_owned(),
            verdict: Verdict::Broken,
            trial: None,
            reason: Some("no".to_owned()),
        }],
    }
}

/// One of everything.
fn full() -> Session {
    let mut session = Session { checkpoint: "/models/net.pt".to_owned(), ..Session::default() };
    session.notes.insert(About::Module("layer1.0".to_owned()), note(Some("todo"), "two\nlines", 5));
    session.notes.insert(About::Class("torch.nn.modules.conv.Conv2d".to_owned()), note(Some("ask Ada"), "", 6));
    session.notes.insert(About::Module(String::new()), note(None, "", 7));
    session.results.insert("stem.0".to_owned(), measured(Basis::default(), 8));
    session.attributes.push(TypedEntry {
        modules: Which::Path("norm".to_owned()),
        attribute: "eps".to_owned(),
        value: Value::Null,
        forgotten: false,
        at: Time::of_millis(9),
    });
    session.graph = Some(GraphRun {
        at: Time::of_millis(10),
        nodes: 4,
        verdicts: [("ok".to_owned(), 3), ("drift".to_owned(), 1)].into(),
        first_divergence: Some((3, "aten.add.Tensor".to_owned())),
        stopped: None,
        engines: Engines::default(),
    });
    session.screen =
        Some(Screen { at: Time::of_millis(11), selected: "stem".to_owned(), half: true, ..Screen::default() });
    session
}

#[test]
fn a_session_written_and_read_is_the_same_and_people_can_read_it() {
    let session = full();
    let written = text(&session).unwrap();
    assert_eq!(parse(&written).unwrap(), session);
    let value: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(value["schema"], 2);
    let notes = value["notes"].as_array().unwrap();
    assert!(notes.contains(
        &json!({"module": "layer1.0", "mark": "todo", "note": "two\nlines", "at": "1970-01-01T00:00:00.005Z"})
    ));
    assert_eq!(value["results"][0]["module"], "stem.0");
    assert_eq!(value["results"][0]["engines"]["mlx"]["version"], "0.32.2");
    assert_eq!(value["results"][0]["trials"][1]["apart"]["max_abs"], "inf");
    assert_eq!(session.graph.unwrap().words(), "4 nodes: 1 drift, 3 ok; parted at node 3 aten.add.Tensor");
}

#[test]
fn what_a_version_does_not_know_stays_in_the_file() {
    let session = parse("{\"schema\": 2, \"checkpoint\": \"a\", \"tags\": [1, 2]}").unwrap();
    let value: Value = serde_json::from_str(&text(&session).unwrap()).unwrap();
    assert_eq!(value["tags"], json!([1, 2]));
}

#[test]
fn the_first_form_held_attributes_alone_and_is_read() {
    let first = json!({"schema": 1, "checkpoint": "x.pth", "attributes": [
        {"modules": {"path": "stem_norm"}, "attribute": "eps", "value": 0.001}]});
    let edit = Edit { modules: Which::Path("stem_norm".to_owned()), attribute: "eps".to_owned(), value: json!(0.001) };
    assert_eq!(parse(&first.to_string()).unwrap().edits(), [edit]);
    assert_eq!(parse("{\"schema\": 3, \"anything\": true}"), Err(Misfit::Newer(3)));
    assert!(matches!(parse("{\"schema\": 2, \"notes\": 4}"), Err(Misfit::Damaged(_))));
    assert!(matches!(parse("[]"), Err(Misfit::Damaged(_))));
}

fn store(folder: &Path) -> Store {
    Store {
        path: folder.join("a.json"),
        earlier: Some(folder.join("earlier.json")),
        checkpoint: "net.pt".into(),
        is_named: false,
    }
}

#[test]
fn a_damaged_file_is_set_aside_and_one_of_a_newer_version_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert_eq!(store.read(), Ok(None));
    for (at, damaged) in [&b"{\"schema\": 2, \"not"[..], b"\xff\xfe"].into_iter().enumerate() {
        fs::write(&store.path, damaged).unwrap();
        let Err(Unread::Lost(said)) = store.read() else { panic!("{at}: it is not lost") };
        let name = ["a.damaged", "a.damaged-2"][at];
        assert!(said.contains("the session is damaged") && said.contains(name), "{said}");
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), damaged);
        assert!(!store.path.exists());
    }
    let newer = "{\"schema\": 9}";
    fs::write(&store.path, newer).unwrap();
    let Err(Unread::Kept(said)) = store.read() else { panic!("it is lost") };
    assert!(said.contains("another version (9)"), "{said}");
    let refused = store.write(&mut full()).unwrap_err();
    assert!(refused.contains("another version (9)"), "{refused}");
    assert_eq!(fs::read_to_string(&store.path).unwrap(), newer);
}

#[test]
fn what_another_program_has_written_is_kept_too_and_an_earlier_file_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let first = json!({"schema": 1, "checkpoint": "x", "attributes": [
        {"modules": {"path": "norm"}, "attribute": "eps", "value": 0.5}]});
    fs::write(folder.path().join("earlier.json"), first.to_string()).unwrap();
    let with = |path: &str, word: &str, at| {
        let mut session = Session::default();
        session.notes.insert(About::Module(path.to_owned()), note(Some(word), "", at));
        session
    };
    store.write(&mut with("one", "todo", 1)).unwrap();
    store.write(&mut with("two", "done", 1)).unwrap();
    let mut older = with("one", "skip", 0);
    store.write(&mut older).unwrap();
    let word = |session: &Session, path: &str| {
        session.note(&About::Module(path.to_owned())).and_then(|note| Some(note.mark.as_ref()?.to_string()))
    };
    assert_eq!(word(&older, "one").as_deref(), Some("todo"), "the newer holds, and the writer has it now");
    let read = store.read().unwrap().unwrap();
    assert_eq!((word(&read, "one").as_deref(), word(&read, "two").as_deref()), (Some("todo"), Some("done")));
    assert_eq!(read.edits().len(), 1);
    assert!(!folder.path().join("earlier.json").exists(), "there is one store, not two");
}

#[test]
fn nothing_worth_keeping_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store {
        path: folder.path().join("sessions/a.json"),
        earlier: None,
        checkpoint: "net.pt".into(),
        is_named: false,
    };
    let mut session = Session { screen: Some(Screen::default()), ..Session::default() };
    store.write(&mut session).unwrap();
    assert!(!folder.path().join("sessions").exists(), "where the user was is not worth a file");
    session.notes.insert(About::Module("a".to_owned()), note(Some("todo"), "", 1));
    store.write(&mut session).unwrap();
    assert!(store.path.exists());
    session.notes.insert(About::Module("a".to_owned()), note(None, "", 2));
    store.write(&mut session).unwrap();
    assert_eq!(fs::read_dir(folder.path().join("sessions")).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_written_is_a_sentence_and_is_written_once_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("state");
    fs::write(&blocked, "a file in the way").unwrap();
    let store = Store { path: blocked.join("a.json"), earlier: None, checkpoint: "net.pt".into(), is_named: false };
    let (tell, told) = mpsc::channel();
    let keeper = Keeper::start(Some(store.clone()), Session::default(), move |word| tell.send(word).unwrap());
    keeper.keep(Change::Noted(About::Module("a".to_owned()), Some(Mark::Todo), String::new()));
    keeper.flush();
    let Told::Unkept(why) = told.recv().unwrap() else { panic!("it was kept") };
    assert!(why.starts_with("This session is not kept: ") && why.contains("a.json"), "{why}");
    fs::remove_file(&blocked).unwrap();
    keeper.keep(Change::Noted(About::Module("b".to_owned()), Some(Mark::Done), String::new()));
    drop(keeper);
    assert_eq!(told.recv().unwrap(), Told::Kept(None));
    assert_eq!(store.read().unwrap().unwrap().noted().count(), 2, "nothing was lost meanwhile");
}

#[test]
fn two_keepers_of_one_file_lose_nothing_and_hear_of_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (tell, told) = mpsc::channel();
    let keepers = ["one", "two"].map(|name| {
        let tell = tell.clone();
        Keeper::start(Some(store.clone()), Session::default(), move |word| tell.send((name, word)).unwrap())
    });
    for round in 0..20 {
        for (at, keeper) in keepers.iter().enumerate() {
            let about = About::Module(format!("{at}.{round}"));
            keeper.keep(Change::Noted(about, Some(Mark::Todo), String::new()));
            let edit =
                |at: usize| Edit { modules: Which::Path(at.to_string()), attribute: "eps".to_owned(), value: json!(1) };
            keeper.keep(Change::Typed(Vec::new(), vec![edit(at)]));
            keeper.flush();
        }
    }
    drop(keepers);
    drop(tell);
    let session = store.read().unwrap().unwrap();
    assert_eq!((session.noted().count(), session.edits().len()), (40, 2));
    let heard = told.iter().filter_map(|(name, word)| match word {
        Told::Kept(Some(others)) => Some((name, others.notes.len())),
        _ => None,
    });
    let one: usize = heard.filter(|(name, _)| *name == "one").map(|(_, count)| count).sum();
    assert!(one >= 19, "the first heard of {one} notes of the second");
}

#[test]
fn a_session_moves_to_another_place_or_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.json", "b.json"].map(|name| Store {
        path: folder.path().join(name),
        earlier: None,
        checkpoint: "x".into(),
        is_named: false,
    });
    let keeper = Keeper::start(Some(a.clone()), Session::default(), |_| {});
    keeper.keep(Change::Noted(About::Module("a".to_owned()), Some(Mark::Todo), String::new()));
    keeper.keep(Change::Move(Some(b.clone())));
    keeper.flush();
    assert_eq!((a.path.exists(), b.path.exists()), (false, true));
    keeper.keep(Change::Noted(About::Module("b".to_owned()), Some(Mark::Todo), String::new()));
    keeper.keep(Change::Move(None));
    keeper.keep(Change::Noted(About::Module("c".to_owned()), Some(Mark::Todo), String::new()));
    drop(keeper);
    assert_eq!(b.read().unwrap().unwrap().noted().count(), 2, "what was kept stays, and nothing is added");
}

/// A session with results of two layers of the sample, as the model is.
fn on_record() -> (Session, usize, usize) {
    let document = sample::document();
    let (conv, norm) = (document.model.find("stem.0").unwrap(), document.model.find("stem.1").unwrap());
    let mut session = Session::default();
    for id in [conv, norm] {
        let path = document.model.modules[id].path.to_string();
        session.results.insert(path, measured(basis(&document.model, &document.triage, id), 1_000));
    }
    (session, conv, norm)
}

#[test]
fn results_on_record_hold_as_long_as_what_they_rest_on() {
    let document = sample::document();
    let (mut session, conv, norm) = on_record();
    let is = |session: &Session, ready: Option<&str>, weights| {
        let mut results = results(&document.model, &document.triage, session);
        if let Some(version) = ready {
            results.apply(Event::Engine(Side::Mlx, EngineState::Ready(engine(version))));
        }
        results.use_weights(weights);
        results
    };
    let fine = is(&session, Some("0.32.2"), WeightSource::Checkpoint);
    assert_eq!((fine.total().measured, fine.stale_below(0)), (2, 0));
    assert_eq!(fine.layer(conv).unwrap().trials, session.results["stem.0"].trials);
    assert_eq!(fine.to_keep(conv).unwrap(), session.results["stem.0"], "it is kept as it was");
    assert!(!fine.lacks(conv, &setting(WeightSource::Checkpoint)));

    // Another engine, other weights: everything is stale; with the weights back it holds again.
    let engine = is(&session, Some("0.33.0"), WeightSource::Checkpoint);
    assert_eq!((engine.total().measured, engine.stale_below(0)), (0, 2));
    assert_eq!(engine.stale(conv).unwrap().reason, "it was run with mlx 0.32.2, and this is mlx 0.33.0");
    let mut weights = is(&session, None, WeightSource::Random);
    assert_eq!((weights.total().measured, weights.verdict(conv)), (0, None));
    assert!(weights.stale(norm).unwrap().reason.contains("randomised weights now"));
    weights.use_weights(WeightSource::Checkpoint);
    assert_eq!((weights.total().measured, weights.stale_below(0)), (2, 0));

    // Another recipe of one, another class of the other.
    let conv_kept = session.results.get_mut("stem.0").unwrap();
    conv_kept.rests_on.recipe = "0".to_owned();
    conv_kept.rests_on.attributes.insert("about".to_owned(), json!(1));
    let norm_kept = session.results.get_mut("stem.1").unwrap();
    (norm_kept.rests_on.recipe, norm_kept.rests_on.class) = ("0".to_owned(), "acme.Norm".to_owned());
    let changed = is(&session, None, WeightSource::Checkpoint);
    assert_eq!((changed.total().measured, changed.stale_below(0)), (0, 2));
    let reason = |id| changed.stale(id).unwrap().reason.clone();
    assert!(reason(conv).starts_with("about was 1, and is "), "{}", reason(conv));
    assert_eq!(reason(norm), "its class was Norm, and is BatchNorm2d");
    assert!(changed.lacks(conv, &setting(WeightSource::Checkpoint)));
}

#[test]
fn a_run_makes_a_result_fresh_and_a_cancelled_one_leaves_it_as_it_was() {
    let document = sample::document();
    let (session, conv, _) = on_record();
    let mut results = results(&document.model, &document.triage, &session);
    let before = results.layer(conv).unwrap().clone();
    results.queue(&[conv]);
    assert_eq!(results.layer(conv).unwrap().progress, Progress::Queued);
    results.forget_unfinished();
    assert_eq!(results.layer(conv), Some(&before));
    // Stale, and run again.
    results.use_weights(WeightSource::Random);
    assert!(results.stale(conv).is_some());
    results.queue(&[conv]);
    results.apply(Event::Started { module: conv, trials: 1 });
    results.apply(Event::Finished { module: conv, verdict: Verdict::Exact, reason: None });
    assert_eq!((results.verdict(conv), results.stale(conv)), (Some(Verdict::Exact), None));
    // What another program has kept of it is older.
    let now = basis(&document.model, &document.triage, conv);
    results.note_basis(conv, setting(WeightSource::Random), now.clone());
    results.put_on_record(conv, &session.results["stem.0"], &now);
    assert_eq!(results.verdict(conv), Some(Verdict::Exact));
}

#[test]
fn more_types_and_plain_renames_are_lacking_where_they_are_asked_for() {
    let document = sample::document();
    let (session, conv, norm) = on_record();
    let results = results(&document.model, &document.triage, &session);
    let mut more = setting(WeightSource::Checkpoint);
    more.dtypes.push(Dtype::Float16);
    assert!(results.lacks(conv, &more) && results.lacks(norm, &more));
    let twins = Setting { twins: true, ..setting(WeightSource::Checkpoint) };
    assert!(results.lacks(conv, &twins));
    assert!(results.lacks(document.model.find("head").unwrap(), &setting(WeightSource::Checkpoint)));
}

fn some_note() -> impl Strategy<Value = (About, Note)> {
    let about = prop_oneof!["[a-c]{0,2}".prop_map(About::Module), "[a-c]{1,2}".prop_map(About::Class)];
    (about, prop_oneof![Just(None), "(todo|done|[ -~]{1,8})".prop_map(Some)], ".{0,12}", 0..5u64).prop_map(
        |(about, mark, words, at)| (about, Note { mark: mark.map(Mark::from), note: words, at: Time::of_millis(at) }),
    )
}

fn some_entry() -> impl Strategy<Value = TypedEntry> {
    ("[ab]", "[xy]", 0..4i64, any::<bool>(), 0..5u64).prop_map(|(path, attribute, value, forgotten, at)| TypedEntry {
        modules: Which::Path(path),
        attribute,
        value: if forgotten { Value::Null } else { json!(value) },
        forgotten,
        at: Time::of_millis(at),
    })
}

fn some_result() -> impl Strategy<Value = (String, Measured)> {
    ("[a-c]", 0..5u64, any::<f64>()).prop_map(|(path, at, number)| {
        let mut result = measured(Basis::default(), at);
        result.trials[0].tolerance = if number.is_nan() { 1.0 } else { number };
        (path, result)
    })
}

prop_compose! {
    fn some_session()(
        notes in prop::collection::vec(some_note(), 0..6),
        attributes in prop::collection::vec(some_entry(), 0..4),
        results in prop::collection::vec(some_result(), 0..3),
        selected in prop::option::of(("[a-c]", 0..5u64)),
    ) -> Session {
        let mut session = Session::default();
        session.notes.extend(notes);
        for entry in attributes {
            let other = Session { attributes: vec![entry], ..Session::default() };
            session.merge(other);
        }
        session.results.extend(results);
        session.screen = selected.map(|(selected, at)| Screen { selected, at: Time::of_millis(at), ..Screen::default() });
        session
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_session_written_and_read_is_the_same(session in some_session()) {
        prop_assert_eq!(parse(&text(&session).unwrap()), Ok(session));
    }

    #[test]
    fn merging_is_the_same_from_both_sides_and_twice(one in some_session(), other in some_session(), third in some_session()) {
        let merged = |a: &Session, b: &Session| {
            let mut merged = a.clone();
            merged.merge(b.clone());
            merged
        };
        let both = merged(&one, &other);
        prop_assert_eq!(&both, &merged(&other, &one));
        prop_assert_eq!(&both, &merged(&both, &other));
        prop_assert_eq!(merged(&both, &third), merged(&one, &merged(&other, &third)));
        for key in one.notes.keys().chain(other.notes.keys()) {
            prop_assert!(both.notes.contains_key(key), "nothing is lost");
        }
        let gone = both.without(&one).notes.into_iter().all(|(key, note)| other.notes.get(&key) == Some(&note));
        prop_assert!(gone, "what is new came from the other");
    }

    #[test]
    fn any_bytes_are_read_or_set_aside(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { path: folder.path().join("a.json"), earlier: None, checkpoint: "x".into(), is_named: false };
        fs::write(&store.path, &bytes).unwrap();
        let (there, aside) = match store.read() {
            Ok(_) | Err(Unread::Kept(_)) => (store.path.clone(), store.path.with_extension("damaged")),
            Err(Unread::Lost(_)) => (store.path.with_extension("damaged"), store.path.clone()),
        };
        prop_assert!(!aside.exists());
        prop_assert_eq!(fs::read(there).unwrap(), bytes);
    }

    /// A session with one piece of it replaced by anything.
    #[test]
    fn a_session_with_a_piece_of_it_changed_is_read_or_refused(at in any::<prop::sample::Index>(), piece in ".{0,6}", gone in 0..20usize) {
        let written = text(&full()).unwrap();
        let signs: Vec<char> = written.chars().collect();
        let at = at.index(signs.len());
        let changed: String = signs[..at].iter().copied().chain(piece.chars()).chain(signs[(at + gone).min(signs.len())..].iter().copied()).collect();
        if let Ok(session) = parse(&changed) {
            prop_assert_eq!(parse(&text(&session).unwrap()), Ok(session));
        }
    }
}

#[test]
fn a_file_that_the_user_named_and_that_is_no_session_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in
        [("config.json", &b"{\"model_type\": \"bert\"}"[..]), ("model.pt", b"PK\x03\x04\xff\xfe"), ("a.txt", b"mine")]
    {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let store = Store { path: path.clone(), earlier: None, checkpoint: "net.pt".into(), is_named: true };
        let Err(Unread::Kept(why)) = store.read() else { panic!("{name} was taken for a session, or set aside") };
        assert!(why.contains(name), "{why}");
        let mut session = Session::default();
        session.notes.insert(About::Module("layer".to_owned()), note(Some("todo"), "", 1));
        assert!(store.write(&mut session).is_err(), "{name} was written over");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing lies beside them");
}
