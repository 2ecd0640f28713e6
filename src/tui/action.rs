//! What can happen to the screen, and what it can ask the rest of the program to do.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::areas::Areas;
use super::converting::{self, Wish};
use super::document::Document;
use super::measuring;
use super::panels::Name;
use super::panels::build::Wanted;
use super::panels::keep::Where;
use super::reporting::{Order, Refused};
use super::takeaway::What;
use crate::exit::Exit;
use crate::graph::runner;
use crate::open::watch::Now;
use crate::session::{Change, Place, Told};
use crate::source::highlight::Run;
use crate::typed::Edit;
use crate::verify;
use t2m_checkpoint::TensorId;

/// What a key stands for. `assets/keymap.toml` uses these names in kebab-case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Command {
    /// Open a panel: `{ open = "help" }`.
    Open(Name),
    Run,
    RunAll,
    Cancel,
    Half,
    Weights,
    Twins,
    /// MLX's default beside the exact run.
    Tf32,
    /// The other device.
    Device,
    FindNext,
    FindPrevious,
    NextBlocker,
    PreviousBlocker,
    NextLink,
    PreviousLink,
    NextPane,
    PreviousPane,
    Down,
    Up,
    Left,
    Right,
    Fold,
    FoldAll,
    UnfoldAll,
    HalfDown,
    HalfUp,
    PageDown,
    PageUp,
    Top,
    Bottom,
    Mouse,
    Suspend,
    Quit,
    Interrupt,
    Accept,
    Dismiss,
    Erase,
    EraseAll,
    Toggle,
    Clear,
    Scope,
    Forget,
    RunGraph,
    RunFrom,
    FirstDivergence,
    WorstNode,
    NextFailure,
    PreviousFailure,
    Nodes,
    NextInstance,
    PreviousInstance,
    RunAgain,
    /// Let what may come next take the place of what is typed.
    Complete,
    /// Another order of the modules.
    Sort,
    /// Modules under their classes, or not.
    Group,
    /// The place before the last jump.
    Back,
    /// The place that `Back` came from.
    Forward,
    /// Answer where what is done here is kept: `{ keep = "beside" }`.
    Keep(Where),
    /// Copy one thing of the selection: `{ copy = "path" }`.
    Copy(What),
    CopyRow,
    Edit,
    Screenshot,
    Search,
    Yes,
    No,
    Zoom,
    Narrower,
    Wider,
    Shorter,
    Taller,
}

impl Command {
    /// Whether it may lead far away: the place where it was given is one to come back to.
    pub fn is_jump(self) -> bool {
        matches!(
            self,
            Command::FindNext
                | Command::FindPrevious
                | Command::NextBlocker
                | Command::PreviousBlocker
                | Command::FirstDivergence
                | Command::WorstNode
                | Command::NextFailure
                | Command::PreviousFailure
                | Command::Accept
                | Command::Fold
        )
    }

    /// Its name, as `[keys]` of the configuration has it: `run-all`, `open-help`.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(Value::String(name)) => name,
            Ok(Value::Object(open)) => {
                let words = open.iter().map(|(verb, panel)| format!("{verb}-{}", panel.as_str().unwrap_or_default()));
                words.collect()
            }
            _ => String::new(),
        }
    }

    /// Whether it means something only where there is a graph: the bottom line has no room for it elsewhere.
    pub fn is_of_graph(self) -> bool {
        matches!(
            self,
            Command::RunGraph
                | Command::RunFrom
                | Command::FirstDivergence
                | Command::WorstNode
                | Command::NextFailure
                | Command::PreviousFailure
                | Command::Nodes
        )
    }
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Action {
    /// A key with a meaning was pressed.
    Command(Command),
    /// A character was typed where text is awaited.
    Text(char),
    /// Text was pasted.
    Paste(String),
    /// The left mouse button went down: column and row of the screen.
    Click(u16, u16),
    /// The mouse moved with its left button down, or let go of it (`false`).
    Drag(u16, u16, bool),
    /// The wheel was turned over a column and row: rows to scroll, downwards positive.
    Wheel(u16, u16, i32),
    /// The opening is so far.
    Opens(Now),
    /// The checkpoint is open.
    Opened(Arc<Document>),
    /// It was opened anew with what the user typed.
    Retold(Arc<Document>),
    /// That could not be done, or not be kept: the whole message.
    NotRetold(String),
    /// It could not be opened: the whole message.
    OpenFailed(String),
    /// The model that the user's Python was asked for is built, or why it is not.
    Built(Result<Arc<Document>, String>),
    /// The runner reports on a measurement.
    Verify(verify::Event),
    /// The runner of graphs reports on the run of that number.
    Graph(u64, runner::Report),
    /// The thread that reads tensors reports.
    Measuring(measuring::Event),
    /// The converter reports on a conversion.
    Converting(converting::Event),
    /// Source lines have their colours now.
    Highlighted(Highlighted),
    /// A thread other than the screen's panicked: its message.
    WorkerPanicked(String),
    /// A report is written, or is not.
    Reported(Result<String, Refused>),
    /// A script says something to those who look on, or nothing more.
    Caption(Option<String>),
    /// Something is to be said in the bottom line.
    Said(String),
    /// A frame was drawn: where things went.
    Drawn(Box<Areas>),
    /// Time for the next frame of a spinner.
    Tick,
    /// The keeper has written the session, or could not.
    Kept(Told),
}

/// What the runtime must do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Leave, with this exit code.
    Quit(Exit),
    /// Give the terminal back, and stop until the program is continued.
    Suspend,
    /// Measure.
    Submit(verify::Request),
    /// Stop measuring.
    Cancel,
    /// Run the graph.
    RunGraph(runner::Request),
    /// Stop that.
    CancelGraph,
    /// Find out where tensors go in MLX.
    FindTargets,
    /// Find out what the numbers of these tensors are like.
    ReadTensors(Vec<TensorId>),
    /// Stop that.
    StopReading,
    /// Find out what a conversion would write.
    PlanConversion,
    /// Write it.
    Convert(Wish),
    /// Stop writing.
    StopConversion,
    /// Colour source lines, off this thread.
    Highlight(HighlightJob),
    /// Open the same file with this dict as the model.
    Reopen(String),
    /// Let the user's Python build the model: the user has said yes.
    Build(Box<Wanted>),
    /// End that Python.
    StopBuild,
    /// Open the same file with these attributes typed.
    Retell(Vec<Edit>),
    /// Capture the mouse, or let it go.
    Mouse(bool),
    /// Keep this for the next time.
    Keep(Change),
    /// Remember where sessions are to be kept.
    Answer(Place),
    /// Give a text to the terminal's clipboard.
    Copy(String),
    /// Let the user's editor show a line of a file, and come back.
    Edit(String, usize),
    /// Write a report.
    Report(Box<Order>),
    /// Write what the screen shows as a picture.
    Screenshot,
    /// Tell the terminal that something long is over: in these words, where it can show any.
    Notify(String),
}

/// Lines of a file to be coloured.
#[derive(Debug, Clone)]
pub struct HighlightJob {
    /// Full path of the class whose file it is.
    pub class: String,
    /// The whole file.
    pub text: Arc<str>,
    /// 1-based, end excluded.
    pub lines: Range<usize>,
    /// Whether the background is dark.
    pub dark: bool,
}

/// Coloured lines.
#[derive(Debug, Clone)]
pub struct Highlighted {
    /// The job's class.
    pub class: String,
    /// The job's lines.
    pub lines: Range<usize>,
    /// One list of runs a line.
    pub runs: Vec<Vec<Run>>,
}
