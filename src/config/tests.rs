#![allow(clippy::unwrap_used)]

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::tui::action::Command;
use crate::tui::keymap::{Key, Keymap};
use crate::tui::panels::{Name, Panels};

/// The configuration of a file and an environment, and what is wrong.
fn with(text: &str, variables: &[(&str, &str)]) -> (Config, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    let named = path.to_str().unwrap().to_owned();
    let (config, faults) = Config::load(|name| {
        let set = variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        set.or_else(|| (name == "T2M_CONFIG").then(|| named.clone()))
    });
    let short = |fault: &Fault| fault.to_string().replace(&named, "FILE");
    (config, faults.iter().map(short).collect())
}

fn command(config: &Config, panel: Option<Name>, code: char) -> Option<Command> {
    config.keymap.command(panel, &KeyEvent::new(KeyCode::Char(code), KeyModifiers::NONE))
}

#[test]
fn what_is_nearer_to_the_call_wins() {
    let text = "theme = \"light\"\nseed = 3\ntrials = 5\ncolor = 256\ndtypes = [\"f32\", \"f16\"]\nmouse = false\n";
    let (mut config, faults) = with(text, &[("T2M_SEED", "4"), ("T2M_TRIALS", "6"), ("NO_COLOR", "1")]);
    assert_eq!(faults, [""; 0]);
    config.take_option("seed", Value::Number(9));
    assert_eq!((config.text("theme"), config.number("seed"), config.number("trials")), ("light", 9, 6));
    assert_eq!((config.text("color"), config.flag("mouse"), config.flag("ascii")), ("never", false, false));
    assert_eq!(config.list("dtypes"), ["f32", "f16"]);
    assert_eq!(config.set("notify"), None, "nobody said anything");
    let printed = config.print();
    let row = |name: &str| printed.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(row("theme").contains("theme = \"light\"") && row("theme").ends_with("config.toml:1"), "{printed}");
    assert!(row("seed").contains("seed = 9") && row("seed").ends_with("# --seed"), "{printed}");
    assert!(row("trials").ends_with("# T2M_TRIALS") && row("color").ends_with("# NO_COLOR"), "{printed}");
    assert!(row("notify ").ends_with("# default") && row("run ").contains("run = [\"space\"]"), "{printed}");
    // What is printed is a file that says the same.
    let (again, faults) = with(&printed, &[]);
    assert_eq!(faults, [""; 0]);
    let values =
        |config: &Config| config.values.iter().map(|(name, (value, _))| (*name, value.clone())).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&config));
    assert_eq!(again.keymap.bindings.len(), config.keymap.bindings.len());
}

#[test]
fn a_locale_without_utf_8_is_drawn_in_ascii_unless_something_nearer_says_no() {
    assert!(with("", &[("LANG", "C")]).0.flag("ascii"));
    assert!(!with("", &[("LC_ALL", ""), ("LANG", "C.utf8")]).0.flag("ascii"));
    assert!(!with("", &[]).0.flag("ascii"));
    assert!(!with("", &[("LANG", "C"), ("T2M_ASCII", "no")]).0.flag("ascii"));
}

#[test]
fn paths_are_meant_from_where_the_file_lies() {
    let (config, _) = with("source = [\"models\", \"/opt/x\"]\npython = \"python3\"\ntheme = \"mine.toml\"", &[]);
    let folder = config.path.clone().unwrap().parent().unwrap().to_owned();
    assert_eq!(config.list("source"), [folder.join("models").to_str().unwrap(), "/opt/x"]);
    assert_eq!((config.text("python"), Path::new(config.text("theme"))), ("python3", &*folder.join("mine.toml")));
}

#[test]
fn every_fault_has_its_place_and_a_guess() {
    let text = "thme = \"dark\"\ncolor = \"alway\"\nseed = -1\ntrials = 0\nmouse = 1\n\n[keys]\nrun-al = [\"a\"]\n\
                quit = [\"Q\", \"ctl-q\"]\nzoom = 3\n\n[keys.hlep]\ndown = [\"j\"]\n\n[keys.help]\nrun = [\"x\"]\n";
    let (config, faults) = with(text, &[("T2M_DTYPES", "f32,f61"), ("T2M_NOTIFY_AFTER", "soon")]);
    let has = |words: &str| assert!(faults.iter().any(|fault| fault.contains(words)), "{words}: {faults:#?}");
    has("FILE:1:1: no setting is called \"thme\": did you mean \"theme\"?");
    has("FILE:2:9: no value of `color` is called \"alway\": there are auto, never, 16, 256, true");
    has("FILE:3:8: -1 is no whole number from 0 on");
    has("FILE:4:10: `trials` is a whole number from 1 to 1000");
    has("FILE:5:9: `mouse` is true or false");
    has("FILE:8:1: no command is called \"run-al\": did you mean \"run-all\"?");
    has("FILE:9:14: no key is called \"ctl-q\": did you mean \"ctrl-q\"?");
    has("FILE:10:8: the keys of `zoom` are a list");
    has("FILE:12:7: no panel is called \"hlep\": did you mean \"help\"?");
    has("FILE:16:1: no command of the panel help is called \"run\"");
    has("T2M_DTYPES: no value of `dtypes` is called \"f61\"");
    has("T2M_NOTIFY_AFTER: `notify-after` is a whole number");
    assert_eq!(faults.len(), 12, "{faults:#?}");
    assert_eq!(command(&config, None, 'Q'), Some(Command::Quit), "what is right holds");
    // A file that is no TOML, and one that is named and not there.
    let (_, faults) = with("theme = \n", &[]);
    assert!(faults.len() == 1 && faults[0].starts_with("FILE:1:"), "{faults:?}");
    let (_, faults) = Config::load(|name| (name == "T2M_CONFIG").then(|| "/no/such/config.toml".to_owned()));
    assert!(faults[0].to_string().starts_with("/no/such/config.toml: "), "{faults:?}");
    let (config, faults) = Config::load(|name| (name == "HOME").then(|| "/no/such/home".to_owned()));
    assert!(faults.is_empty() && !config.is_there);
    assert_eq!(config.path.as_deref(), Some(Path::new("/no/such/home/.config/t2m-tui/config.toml")));
}

#[test]
fn keys_are_set_unset_and_several_by_mode() {
    let text = "[keys]\nrun = [\"R\", \"f5\"]\nrun-from = []\nquit = \"Q\"\n[keys.help]\ndismiss = [\"esc\", \"x\"]\n";
    let (config, faults) = with(text, &[]);
    assert_eq!(faults, [""; 0]);
    assert_eq!(command(&config, None, 'R'), Some(Command::Run));
    assert_eq!(command(&config, None, ' '), None);
    assert_eq!((command(&config, None, 'Q'), command(&config, None, 'q')), (Some(Command::Quit), None));
    assert_eq!(command(&config, Some(Name::Help), 'x'), Some(Command::Dismiss));
    assert_eq!(command(&config, Some(Name::Help), 'q'), None);
    let f5 = KeyEvent::new(KeyCode::F(5), KeyModifiers::NONE);
    assert_eq!(config.keymap.command(None, &f5), Some(Command::Run));
    assert_eq!(config.keymap.keys_of(None, Command::Run), ["R", "f5"]);
}

#[test]
fn a_letter_where_text_is_typed_is_told() {
    let text = "[keys.marks]\naccept = [\"enter\", \"W\"]\n[keys.help]\nerase = [\"space\"]\nsearch = [\"s\"]\n\
                [keys.palette]\ndown = \"j\"\n[keys.build]\ncancel = [\"c\"]\ndown = [\"alt-j\", \"f2\"]\n";
    let (config, mut faults) = with(text, &[]);
    faults.sort_unstable();
    assert_eq!(
        faults,
        [
            "FILE:2:20: the key \"W\" is text in the panel marks, so that it would never be this command's: give it a key that \
             types nothing, as \"ctrl-w\" or \"f5\"",
            "FILE:4:10: the key \"space\" is text in the panel help, so that it would never be this command's: give it a key that \
             types nothing, as \"ctrl-x\" or \"f5\"",
            "FILE:7:8: the key \"j\" is text in the panel palette, so that it would never be this command's: give it a key that \
             types nothing, as \"ctrl-j\" or \"f5\"",
        ]
    );
    assert_eq!(command(&config, Some(Name::Help), 's'), Some(Command::Search), "a letter that opens the line holds");
    // The built-in table has none of that kind, and the list of such panels is what the panels say.
    let keymap = Keymap::built_in().unwrap();
    for binding in &keymap.bindings {
        let panel = binding.mode.filter(|panel| binding.command.is_typed_over(*panel));
        let letter = binding.keys.iter().find(|key| Key::parse(key).unwrap().is_typed());
        assert!(panel.is_none() || letter.is_none(), "{binding:?}");
    }
    for panel in Name::ALL {
        let mut open = Panels::default();
        open.open = Some(panel);
        // The filter begins with its line, and has ticks below.
        assert_eq!(open.take_text(), panel.is_typed_in() || panel == Name::Filter, "{panel:?}");
    }
}

#[test]
fn a_key_of_two_commands_is_told() {
    let (config, faults) = with("[keys]\n\nrun = [\"space\", \"q\"]\n", &[]);
    assert_eq!(
        faults,
        ["FILE:3:1: the key \"q\" would be both `run` and `quit`: give one of them another key, or none (`run = []`)"]
    );
    assert_eq!(command(&config, None, 'q'), Some(Command::Quit), "the built-in table holds then");
    let (_, faults) = with("[keys.help]\nsearch = [\"?\"]\n", &[]);
    assert!(faults[0].contains("in the panel help"), "{faults:?}");
    let (_, faults) = with("[keys]\nrun = [\"q\"]\nquit = [\"x\"]\ncancel = [\"space\"]\n", &[]);
    assert_eq!(faults, [""; 0], "a round of three is none");
}
