//! What is said where a call asks for help, or makes no sense.

use std::borrow::Cow;
use std::io::{self, IsTerminal};

use clap::Error;
use clap::builder::StyledStr;
use clap::error::ContextValue;

use super::{Failure, output};
use crate::exit::Exit;
use crate::stderr;
use t2m_checkpoint::escape::{escape, escape_lines};

/// Print help or the version, or say what is wrong with the call. What it quotes of the call is escaped: a name that a shell
/// completes or a script hands on was chosen by somebody else.
///
/// # Errors
/// Stdout is closed or full.
pub fn answer(mut error: Error) -> Result<Exit, Failure> {
    if !error.use_stderr() {
        // A terminal gets clap's colours, anything else what every other output gets.
        if io::stdout().is_terminal() {
            error.print()?;
        } else {
            output::print(error.render().to_string().as_bytes())?;
        }
        return Ok(Exit::Fine);
    }
    let quoted: Vec<_> = error.context().filter_map(|(kind, value)| Some((kind, escaped(value)?))).collect();
    for (kind, value) in quoted {
        error.insert(kind, value);
    }
    let plain = error.render().to_string();
    if plain.lines().all(|line| matches!(escape(line), Cow::Borrowed(_))) {
        // Standard error may be closed.
        let _ = error.print();
    } else {
        stderr::raw(&format!("{}\n", escape_lines(&plain)));
    }
    Ok(Exit::WrongInput)
}

/// The value escaped; `None` where it is safe, or no text of the call.
fn escaped(value: &ContextValue) -> Option<ContextValue> {
    let text = |text: &String| match escape(text) {
        Cow::Borrowed(_) => None,
        Cow::Owned(safe) => Some(safe),
    };
    let all = |texts: Vec<String>| {
        let safe: Vec<String> = texts.iter().map(|text| escape(text).into_owned()).collect();
        (safe != texts).then_some(safe)
    };
    match value {
        ContextValue::String(one) => text(one).map(ContextValue::String),
        ContextValue::Strings(texts) => all(texts.clone()).map(ContextValue::Strings),
        ContextValue::StyledStrs(tips) => all(tips.iter().map(ToString::to_string).collect())
            .map(|tips| ContextValue::StyledStrs(tips.into_iter().map(StyledStr::from).collect())),
        _ => None,
    }
}
