//! docs/keys.md and the manual say what the table of keys says.

use t2m_tui::config::{SETTINGS, docs};
use t2m_tui::tui::keymap::Keymap;

/// `T2M_UPDATE_DOCS=1` writes the file anew.
#[test]
fn docs_keys_md_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keys.md");
    let now = docs::markdown(&Keymap::built_in().unwrap());
    if std::env::var_os("T2M_UPDATE_DOCS").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == now, "docs/keys.md is stale: T2M_UPDATE_DOCS=1 with this test writes it anew");
}

#[test]
fn every_key_and_every_setting_is_told() {
    let keymap = Keymap::built_in().unwrap();
    let (page, manual) = (docs::markdown(&keymap), docs::man(&keymap));
    for binding in &keymap.bindings {
        let row = page.lines().find(|line| line.contains(&format!("`{}`", binding.command.name())));
        assert!(row.is_some(), "{:?}", binding.command);
        assert!(page.contains(&binding.help.replace('|', "\\|")), "{}", binding.help);
        assert!(manual.contains(&binding.help.replace('\\', "\\e").replace('-', "\\-")), "{}", binding.help);
    }
    assert!(SETTINGS.iter().all(|setting| page.contains(&format!("| `{}` |", setting.name))));
    assert!(!manual.lines().any(|line| line.starts_with('\'')), "a request of roff");
}
