//! The user's configuration and the options of a call, together.

use clap::ValueEnum;

use super::{Color, Common, Given};
use crate::config::{Config, Fault, Value};
use crate::session::Place;

/// Let options count that were given, and the configuration for the others.
fn join(config: &mut Config, common: &mut Common, given: &Given) {
    let paths = |paths: &[std::path::PathBuf]| {
        Value::List(paths.iter().map(|path| path.to_string_lossy().into_owned()).collect())
    };
    let color = common.color.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    let python = common.python.as_deref().unwrap_or("".as_ref()).to_string_lossy().into_owned();
    let options = [
        ("theme", Value::Text(common.theme.clone())),
        ("color", Value::Text(color)),
        ("ascii", Value::Flag(common.ascii)),
        ("source", paths(&common.source)),
        ("python", Value::Text(python)),
        ("session", Value::Text(common.session.as_ref().map_or(String::new(), Place::word))),
    ];
    for (name, value) in options {
        if given.has(name) {
            config.take_option(name, value);
        }
    }
    common.theme = config.text("theme").to_owned();
    common.color = Color::from_str(config.text("color"), false).unwrap_or(common.color);
    // What is asked for or was answered before is known there.
    if config.text("session") != "ask" {
        common.session = config.text("session").parse().ok();
    }
    common.ascii = config.flag("ascii");
    common.source = config.list("source").iter().map(Into::into).collect();
    common.python = Some(config.text("python")).filter(|python| !python.is_empty()).map(Into::into);
}

/// Read the user's configuration, under what the call says; with everything that is wrong in it.
pub fn load(common: &mut Common, given: &Given) -> (Config, Vec<Fault>) {
    let (mut config, faults) = Config::load(|name| std::env::var(name).ok());
    join(&mut config, common, given);
    (config, faults)
}
