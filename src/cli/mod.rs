//! The command line: what can be asked, and one file a subcommand.

pub mod compare;
pub mod convert;
pub mod doctor;
mod far;
pub mod inspect;
pub mod matrix;
pub mod output;
pub mod report;
pub mod run;
pub mod screen;
mod settings;
mod usage;
pub mod verify;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::architecture::spec::InputSpec;
use crate::config::{Config, docs};
use crate::exit::Exit;
use crate::files::{Inputs, Role};
use crate::open::{Options, TypedFrom};
use crate::session::Place;
use crate::tui::keymap::Keymap;
use crate::{interrupt, stderr};
use t2m_checkpoint::escape::{escape_lines, quoted};
use t2m_engine::{Device, process};

/// `t2m-tui`
#[derive(Debug, Parser)]
#[command(
    name = "t2m-tui",
    bin_name = "t2m-tui",
    version,
    about = "Triage PyTorch checkpoints for Apple's MLX, with every conversion measured in both engines",
    after_help = "Examples:\n  t2m-tui demo                              look around in the built-in checkpoint\n  t2m-tui model.pt --source src/            open a checkpoint beside its Python source\n  t2m-tui inspect model.pt --format json    what is in it, for scripts\n  t2m-tui inspect hf://org/name             the same of a model at the hub, of which headers alone are fetched\n  t2m-tui verify model.pt --layers 'layer1.*' --trials 3\n  t2m-tui convert model.pt -o model.safetensors\n\nAddresses go by HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, AWS_PROFILE and its like, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE;\nT2M_REMOTE_CACHE, T2M_REMOTE_WHOLE and T2M_REMOTE_TIMEOUT are bounds.\n\nExit codes: 0 fine; 1 a layer drifts, is broken or failed; 2 the call or the input is wrong; 130 interrupted."
)]
pub struct Cli {
    /// File or folder to open in the terminal UI, or an address: hf://ORG/NAME, https://…, s3://BUCKET/KEY; `demo` is the built-in
    /// checkpoint. Without a terminal: what `inspect` prints.
    checkpoint: Option<PathBuf>,
    /// Print the configuration in force, each value with where it is from, as a file that would say the same
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    show: screen::Show,
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Options of every subcommand.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Python source of the model: a .py file, a folder, or a site-packages (repeatable)
    #[arg(long, value_name = "PATH", global = true)]
    pub source: Vec<PathBuf>,
    /// Python whose sys.path is searched for source; it is run only to ask for that path, and for --model
    #[arg(long, value_name = "EXE", global = true)]
    pub python: Option<PathBuf>,
    /// Python expression that builds the model (timm.create_model('resnet50')), run by --python on the meta device: this runs
    /// your code; bare weights get its classes and hyper-parameters
    #[arg(long, value_name = "EXPR", global = true)]
    pub model: Option<String>,
    /// An input of that model (repeatable): its graph is exported with them, in ten minutes at most, and kept in the cache folder.
    /// Shape, type, and for whole numbers what they are below: 1x3x224x224, 1x9:int64<50, ids=1x9:int64<50
    #[arg(long, value_name = "SPEC", global = true)]
    pub input: Vec<InputSpec>,
    /// Registry file that adds rows or changes built-in ones (repeatable)
    #[arg(long, value_name = "FILE.toml", global = true)]
    pub registry: Vec<PathBuf>,
    /// Which dict of the file is the model, where there are several (ema, netG)
    #[arg(long, value_name = "NAME", global = true)]
    pub key: Option<String>,
    /// Colours: auto, dark, light, or a theme file
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "auto", global = true)]
    pub theme: String,
    /// How many colours to use
    #[arg(long, value_enum, default_value = "auto", global = true)]
    pub color: Color,
    /// Draw with ASCII characters only
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Where MLX computes; without it on MLX's own default, a GPU where there is one (Metal on a Mac, CUDA with mlx-cuda-13)
    #[arg(long, value_enum, global = true)]
    pub device: Option<Processor>,
    /// Show beside the exact run what MLX gives by default, which multiplies float32 rounded to TF32 where its GPU can
    #[arg(long, global = true)]
    pub tf32: bool,
    /// Where results, marks, notes and what was typed are kept: state (the state folder), beside (FILE.t2m-session.json), none, or
    /// a file. Without it: as answered on the screen, else the state folder
    #[arg(long, value_name = "state|beside|none|FILE", global = true)]
    pub session: Option<Place>,
    /// Print more on stderr
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what is in a checkpoint and how each layer converts
    Inspect(inspect::Args),
    /// Run its layers in libtorch and in MLX, and compare the outputs
    Verify(verify::Args),
    /// Run the graph of a whole model node by node in both engines, and say where they part
    Run(run::Args),
    /// Write its weights for MLX, then read them back and compare
    Convert(convert::Args),
    /// Check a conversion that somebody else made, tensor by tensor
    Compare(compare::Args),
    /// Write what is on record of a checkpoint as a page for colleagues, without running anything
    Report(report::Args),
    /// Print the support matrix, with what was measured for every layer
    Matrix(matrix::Args),
    /// Show engines, versions, devices, terminal and sources
    Doctor(doctor::Args),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or that of a command
    Man {
        /// The command: inspect, verify, run and so on
        command: Option<String>,
    },
}

/// What a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum Format {
    Text,
    Json,
    Md,
}

/// Where MLX computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum Processor {
    Cpu,
    Gpu,
}

/// Levels of colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// As many as the terminal reports
    Auto,
    /// No colours
    Never,
    /// The terminal's own 16 colours
    #[value(name = "16")]
    Ansi,
    /// 256 colours
    #[value(name = "256")]
    Indexed,
    /// 24-bit colour
    True,
}

/// An error of the command line: the message is complete.
pub type Failure = Box<dyn std::error::Error>;

/// Parse the arguments and do what they say.
pub fn run() -> ExitCode {
    let parsed = || {
        let given = Cli::command().try_get_matches()?;
        Ok((Cli::from_arg_matches(&given)?, given))
    };
    let done = interrupt::listen().map_err(Failure::from).and_then(|()| match parsed() {
        Ok((cli, given)) => dispatch(cli, &Given(given)),
        Err(error) => usage::answer(error),
    });
    far::say();
    // From here on nothing is in time for a signal; where one came before, it has the last word.
    let _held = interrupt::hold();
    let exit = match done {
        Ok(exit) => exit,
        Err(failure) if output::is_broken_pipe(failure.as_ref()) => Exit::Fine,
        Err(failure) => {
            stderr::line(&escape_lines(&failure.to_string()));
            Exit::WrongInput
        }
    };
    exit.into()
}

/// What the call itself says, as opposed to what is its options' default.
struct Given(ArgMatches);

impl Given {
    /// Whether an option was written.
    fn has(&self, name: &str) -> bool {
        fn written(matches: &ArgMatches, name: &str) -> bool {
            let is_known = matches.try_contains_id(name).is_ok();
            let here = is_known && matches.value_source(name) == Some(ValueSource::CommandLine);
            here || matches.subcommand().is_some_and(|(_, below)| written(below, name))
        }
        written(&self.0, name)
    }
}

/// The user's configuration, under what the call says.
///
/// # Errors
/// Something in it is wrong.
fn configured(common: &mut Common, given: &Given) -> Result<Config, Failure> {
    let (config, faults) = settings::load(common, given);
    match faults.is_empty() {
        true => Ok(config),
        false => Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into()),
    }
}

fn dispatch(cli: Cli, given: &Given) -> Result<Exit, Failure> {
    if cli.command.is_some() && cli.show.is_wanted() {
        return Err("--record, --play and --size go with the screen: t2m-tui CHECKPOINT --play SCRIPT".into());
    }
    let mut common = cli.common;
    let needs_none =
        matches!(cli.command, Some(Command::Completions { .. } | Command::Man { .. } | Command::Doctor(_)));
    let config = if needs_none { Config::built_in() } else { configured(&mut common, given)? };
    process::also_in(common.engine_folders());
    if cli.print_config {
        output::print(config.print().as_bytes())?;
        return Ok(Exit::Fine);
    }
    match cli.command {
        Some(Command::Inspect(args)) => inspect::run(&common, &args),
        Some(Command::Verify(args)) => verify::run(&common, &args.configured(&config, given)),
        Some(Command::Run(args)) => run::run(&common, &args.configured(&config, given)),
        Some(Command::Convert(args)) => convert::run(&common, &args),
        Some(Command::Compare(args)) => compare::run(&common, &args),
        Some(Command::Report(args)) => report::run(&common, &args),
        Some(Command::Matrix(args)) => matrix::run(&common, &args),
        Some(Command::Doctor(args)) => doctor::run(common, &args, given),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "t2m-tui", &mut script);
            output::print(&script)?;
            Ok(Exit::Fine)
        }
        Some(Command::Man { command }) => {
            output::print(&man(command.as_deref())?)?;
            Ok(Exit::Fine)
        }
        None => match cli.checkpoint {
            Some(checkpoint) if has_a_screen() || cli.show.is_wanted() => {
                screen::run(&common, checkpoint, cli.show.wanted(has_a_screen())?, &config)
            }
            Some(checkpoint) => inspect::run(&common, &inspect::Args::text(checkpoint)),
            None => {
                output::print(Cli::command().render_help().to_string().as_bytes())?;
                Ok(Exit::WrongInput)
            }
        },
    }
}

/// The manual page of the program, or of one of its commands.
fn man(of: Option<&str>) -> Result<Vec<u8>, Failure> {
    // What `help` prints is no page.
    let mut whole = Cli::command().disable_help_subcommand(true);
    whole.build();
    let mut page = Vec::new();
    let Some(name) = of else {
        clap_mangen::Man::new(whole).render(&mut page)?;
        let keymap = Keymap::built_in().map_err(|error| error.to_string())?;
        page.extend(docs::man(&keymap).into_bytes());
        return Ok(page);
    };
    // A page is called t2m-tui-inspect; what is meant by both is the same.
    let known = whole.find_subcommand(name.strip_prefix("t2m-tui-").unwrap_or(name)).cloned();
    let Some(command) = known else {
        let names: Vec<&str> = whole.get_subcommands().map(clap::Command::get_name).collect();
        return Err(format!("no command is called {}: there are {}", quoted(name), names.join(", ")).into());
    };
    clap_mangen::Man::new(command.version(env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    Ok(page)
}

/// Whether there is a terminal that a screen can be drawn on.
fn has_a_screen() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|name| name != "dumb")
}

impl Common {
    /// The environment that is active in the shell, unless an option names a Python.
    pub fn environment(&self) -> Option<PathBuf> {
        let active = || ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().find_map(std::env::var_os);
        if self.python.is_some() { None } else { active().map(PathBuf::from) }
    }

    /// Where MLX is to compute.
    pub fn device(&self) -> Option<Device> {
        self.device.map(|device| match device {
            Processor::Cpu => Device::Cpu,
            Processor::Gpu => Device::Gpu,
        })
    }

    /// Where what outlives a run is kept.
    pub fn place(&self) -> Place {
        Place::usual(self.session.clone())
    }

    /// The folders of programs of the Python that is named, else of the environment that is active: engines may be there.
    fn engine_folders(&self) -> Vec<PathBuf> {
        match &self.python {
            Some(python) => python.parent().map(PathBuf::from).into_iter().collect(),
            None => self.environment().map(|environment| environment.join("bin")).into_iter().collect(),
        }
    }

    /// The files that the options of every subcommand name.
    pub fn inputs(&self) -> Inputs {
        let mut inputs = self.options(PathBuf::new()).inputs();
        if !matches!(self.theme.as_str(), "auto" | "dark" | "light") {
            inputs.add(Role::Theme, &self.theme);
        }
        inputs
    }

    /// What to open, with the help that these options name.
    pub fn options(&self, checkpoint: PathBuf) -> Options {
        Options {
            checkpoint,
            sources: self.source.clone(),
            python: self.python.clone(),
            model: self.model.clone(),
            inputs: self.input.clone(),
            watch: None,
            stop: None,
            environment: self.environment(),
            registries: self.registry.clone(),
            key: self.key.clone(),
            typed: TypedFrom::Kept(self.place()),
            dequantized: None,
            identify: false,
        }
    }
}

/// A share as options take it, 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "a number from 0 to 1 is expected".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("a number from 0 to 1 is expected".to_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;

    #[test]
    fn every_page_that_the_manual_names_is_printed() {
        let of = |name: Option<&str>| String::from_utf8(super::man(name).unwrap()).unwrap();
        let whole = of(None);
        // Roff writes a hyphen as \\-.
        let whole = whole.replace("\\-", "-");
        let named: Vec<&str> =
            whole.split("t2m-tui-").skip(1).filter_map(|rest| Some(rest.split_once('(')?.0)).collect();
        assert!(named.len() >= 10 && named.contains(&"verify"), "{named:?}");
        for name in named {
            let page = of(Some(name)).replace("\\-", "-");
            assert!(page.contains(&format!(".TH t2m-tui-{name} 1")), "{name}: {page}");
            assert!(page.contains("SYNOPSIS") && page.contains("--source"), "{name}");
        }
        assert_eq!(of(Some("t2m-tui-inspect")), of(Some("inspect")));
        assert!(super::man(Some("verfy")).unwrap_err().to_string().contains("there are inspect, verify"));
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
