//! `t2m-tui doctor`: what somebody needs to know about this machine for a bug report, or before `verify`.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Common, Failure, Format, output};
use crate::exit::Exit;
use crate::registry::Registry;
use crate::source::Sources;
use t2m_checkpoint::escape::escape;
use t2m_engine::client::CancelToken;
use t2m_engine::process::Program;
use t2m_engine::{Client, EngineInfo, Side};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Format of the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How long an engine may take to greet.
const DEADLINE: Duration = Duration::from_secs(20);

/// Print what was found. Exit code 1 if an engine is not usable.
///
/// # Errors
/// A source or registry file cannot be used, or stdout is closed.
pub fn run(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let registry = Registry::load(&common.registry)?;
    let mut sources = Sources::new(&common.source)?;
    if let Some(python) = &common.python {
        sources.add_python(python)?;
    }
    if let Some(environment) = common.environment() {
        sources.add_environment(&environment);
    }
    let engines = [Side::Torch, Side::Mlx].map(|side| (side, greet(side)));
    let well = engines.iter().all(|(_, greeting)| greeting.is_ok());
    match args.format {
        Format::Json => output::print_json(&report_json(&engines, &registry, &sources))?,
        Format::Text | Format::Md => output::print_text(&report_text(&engines, &registry, &sources))?,
    }
    Ok(Exit::of(well))
}

fn greet(side: Side) -> Result<EngineInfo, String> {
    Client::new(side, DEADLINE, CancelToken::default(), Box::new(|_, _| {})).info().map_err(|error| error.to_string())
}

fn report_json(engines: &[(Side, Result<EngineInfo, String>)], registry: &Registry, sources: &Sources) -> Value {
    let engine = |side: Side| {
        let greeting = engines.iter().find(|(known, _)| *known == side).map(|(_, greeting)| greeting);
        let program = Program::find(side).map(|program| program.path.display().to_string()).ok();
        match greeting {
            Some(Ok(info)) => {
                json!({"program": program, "version": info.version, "device": info.device, "flags": info.flags, "protocol": info.protocol})
            }
            Some(Err(reason)) => json!({"program": program, "error": reason}),
            None => Value::Null,
        }
    };
    json!({
        "schema": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "engines": {"torch": engine(Side::Torch), "mlx": engine(Side::Mlx)},
        "terminal": terminal().into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<serde_json::Map<_, _>>(),
        "registry": {"layers": registry.layers.len(), "ops": registry.ops().len(), "rules": registry.rules.len()},
        "sources": sources.describe(),
    })
}

fn report_text(engines: &[(Side, Result<EngineInfo, String>)], registry: &Registry, sources: &Sources) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_text(&mut out, engines, registry, sources);
    out
}

fn write_text(
    out: &mut String,
    engines: &[(Side, Result<EngineInfo, String>)],
    registry: &Registry,
    sources: &Sources,
) -> std::fmt::Result {
    writeln!(out, "t2m-tui {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "\nengines")?;
    for (side, greeting) in engines {
        match greeting {
            Ok(info) => {
                writeln!(
                    out,
                    "  {:<10} {} {} on {}",
                    side.program(),
                    side.library(),
                    info.version,
                    escape(&info.settings())
                )?;
            }
            Err(reason) => writeln!(out, "  {:<10} not usable: {reason}", side.program())?,
        }
        if let Ok(program) = Program::find(*side) {
            writeln!(out, "  {:<10} {}", "", escape(&program.path.to_string_lossy()))?;
        }
    }
    writeln!(out, "\nterminal")?;
    for (name, value) in terminal() {
        if let Some(value) = value.as_str() {
            writeln!(out, "  {name:<10} {}", escape(value))?;
        }
    }
    writeln!(
        out,
        "\nregistry\n  {} layers, {} ops, {} weight rules",
        registry.layers.len(),
        registry.ops().len(),
        registry.rules.len()
    )?;
    writeln!(out, "\nsources")?;
    let described = sources.describe();
    if described.is_empty() {
        writeln!(out, "  none; --source or --python names some")?;
    }
    described.iter().try_for_each(|source| writeln!(out, "  {source}"))
}

fn terminal() -> Vec<(&'static str, Value)> {
    let variable = |name: &str| std::env::var(name).map_or(Value::Null, Value::from);
    let size = ratatui::crossterm::terminal::size().ok().filter(|_| std::io::stdout().is_terminal());
    vec![
        ("stdout", json!(if std::io::stdout().is_terminal() { "a terminal" } else { "not a terminal" })),
        ("size", size.map_or(Value::Null, |(columns, rows)| json!(format!("{columns}×{rows}")))),
        ("TERM", variable("TERM")),
        ("COLORTERM", variable("COLORTERM")),
        ("NO_COLOR", variable("NO_COLOR")),
        ("LANG", variable("LANG")),
    ]
}
