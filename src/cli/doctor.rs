//! `t2m-tui doctor`: what somebody needs to know about this machine for a bug report, or before `verify`.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Common, Failure, Format, Given, output, settings};
use crate::config::{Config, Fault};
use crate::exit::Exit;
use crate::registry::Registry;
use crate::source::Sources;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::escape;
use t2m_engine::client::CancelToken;
use t2m_engine::device::arguments;
use t2m_engine::process::Program;
use t2m_engine::{Client, Device, EngineInfo, Side};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Format of the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How long an engine may take to greet.
const DEADLINE: Duration = Duration::from_secs(20);

/// Print what was found. Exit code 1 if an engine or the configuration is not usable.
///
/// # Errors
/// A source or registry file cannot be used, or stdout is closed.
pub(super) fn run(mut common: Common, args: &Args, given: &Given) -> Result<Exit, Failure> {
    let (config, faults) = settings::load(&mut common, given);
    let config = Configured { config, faults };
    let registry = Registry::load(&common.registry)?;
    let mut sources = Sources::new(&common.source)?;
    if let Some(python) = &common.python {
        sources.add_python(python)?;
    }
    if let Some(environment) = common.environment() {
        sources.add_environment(&environment);
    }
    let engines =
        [Side::Torch, Side::Mlx].map(|side| (side, greet(side, common.device().filter(|_| side == Side::Mlx))));
    let devices = devices(&engines[1].1);
    let well = engines.iter().all(|(_, greeting)| greeting.is_ok());
    match args.format {
        Format::Json => {
            let mut report = report_json(&engines, &config, &registry, &sources);
            report["devices"] = devices.iter().map(Computes::json).collect();
            output::print_json(&report)?;
        }
        Format::Text | Format::Md => {
            output::print_text(&report_text(&engines, &devices, &config, &registry, &sources))?;
        }
    }
    Ok(Exit::of(well && config.faults.is_empty()))
}

/// The configuration, and what is wrong with it.
struct Configured {
    config: Config,
    faults: Vec<Fault>,
}

impl Configured {
    /// The file and whether it is there; `None` where there is no place for one.
    fn file(&self) -> Option<(String, bool)> {
        let path = self.config.path.as_ref()?;
        Some((path.display().to_string(), self.config.is_there))
    }

    fn faults(&self) -> Vec<String> {
        self.faults.iter().map(ToString::to_string).collect()
    }
}

/// What is known of the terminal's background, by which `auto` chooses.
fn background() -> &'static str {
    match Theme::background(|name| std::env::var(name).ok()) {
        Some(true) => "dark, by COLORFGBG",
        Some(false) => "light, by COLORFGBG",
        None => {
            "not known (COLORFGBG is not set): the theme auto takes it for dark; --theme light or dark paints its own"
        }
    }
}

fn greet(side: Side, device: Option<Device>) -> Result<EngineInfo, String> {
    let client = Client::new(side, DEADLINE, CancelToken::default(), Box::new(|_, _| {}));
    client.with_arguments(arguments(device, false)).info().map_err(|error| error.to_string())
}

/// Where MLX can compute.
struct Computes {
    device: Device,
    /// Whether it does so unless it is told otherwise.
    is_default: bool,
    /// Why it cannot, and what would have to be there.
    missing: Option<(String, &'static str)>,
}

impl Computes {
    fn json(&self) -> Value {
        let mut value =
            json!({"device": self.device.name(), "available": self.missing.is_none(), "default": self.is_default});
        if let Some((reason, how)) = &self.missing {
            value["reason"] = json!(reason);
            value["how"] = json!(how);
        }
        value
    }
}

/// How a GPU comes to MLX, by the system and by how this program was installed.
const GPU: &str = if cfg!(target_os = "macos") {
    "MLX computes on Apple silicon's GPU with Metal, and finds none here: a virtual machine has none"
} else {
    "with an NVIDIA GPU and its driver (580 or newer): installed by pip, uv or pipx, \
     `pip install --force-reinstall mlx-cuda-13==0.32.2` in the environment of the engines; built by make, \
     `T2M_SETUP_CUDA=FOLDER make install`, where FOLDER is an environment that has mlx-cuda-13==0.32.2"
};

/// Both devices, if MLX's program starts at all.
fn devices(mlx: &Result<EngineInfo, String>) -> Vec<Computes> {
    let Ok(info) = mlx else { return Vec::new() };
    let own = Device::named(&info.device).unwrap_or(Device::Cpu);
    let other = greet(Side::Mlx, Some(own.other())).err();
    let missing = other.map(|reason| (reason, GPU));
    vec![
        Computes { device: own, is_default: true, missing: None },
        Computes { device: own.other(), is_default: false, missing },
    ]
}

fn report_json(
    engines: &[(Side, Result<EngineInfo, String>)],
    config: &Configured,
    registry: &Registry,
    sources: &Sources,
) -> Value {
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
        "config": {
            "path": config.file().map(|(path, _)| path),
            "found": config.file().is_some_and(|(_, found)| found),
            "errors": config.faults(),
        },
        "terminal": terminal().into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<serde_json::Map<_, _>>(),
        "registry": {"layers": registry.layers.len(), "ops": registry.ops().len(), "rules": registry.rules.len()},
        "sources": sources.describe(),
    })
}

fn report_text(
    engines: &[(Side, Result<EngineInfo, String>)],
    devices: &[Computes],
    config: &Configured,
    registry: &Registry,
    sources: &Sources,
) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_text(&mut out, engines, devices, config, registry, sources);
    out
}

fn write_text(
    out: &mut String,
    engines: &[(Side, Result<EngineInfo, String>)],
    devices: &[Computes],
    config: &Configured,
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
    if !devices.is_empty() {
        writeln!(out, "\ndevices")?;
    }
    for Computes { device, is_default, missing } in devices {
        match missing {
            None => writeln!(
                out,
                "  {:<10} MLX computes there{}",
                device.name(),
                if *is_default { " by default" } else { "" }
            )?,
            Some((reason, how)) => writeln!(out, "  {:<10} none: {reason}\n  {:<10} {how}", device.name(), "")?,
        }
    }
    writeln!(out, "\nterminal")?;
    for (name, value) in terminal() {
        if let Some(value) = value.as_str() {
            writeln!(out, "  {name:<10} {}", escape(value))?;
        }
    }
    writeln!(out, "  background {}", background())?;
    writeln!(out, "\nconfiguration")?;
    match config.file() {
        Some((path, true)) => writeln!(out, "  {}", escape(&path))?,
        Some((path, false)) => writeln!(out, "  none; it would be {}", escape(&path))?,
        None => writeln!(out, "  none, and no place for one: neither XDG_CONFIG_HOME nor HOME is set")?,
    }
    config.faults().iter().try_for_each(|fault| writeln!(out, "  {fault}"))?;
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
