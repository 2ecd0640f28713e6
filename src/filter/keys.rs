//! The table of the filter's terms: what can be asked of a module. The parser, the completion and `docs/filter.md` follow from it.

use t2m_checkpoint::Dtype;

use crate::model::Evidence;
use crate::source::Severity;

/// What a term asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Key {
    Class,
    Path,
    Status,
    Verdict,
    Blocker,
    Params,
    Total,
    Err,
    Time,
    Dtype,
    Mark,
    Note,
    Stale,
    Assumed,
    Evidence,
    Depth,
    Lines,
}

/// What stands behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name with `*` and `?`.
    Pattern,
    /// One word of a list.
    Choice,
    /// Text, a part of which is enough; `any`, `none`.
    Text,
    /// `yes`, `no`.
    Flag,
    /// A number behind `=`, `<`, `<=`, `>`, `>=`.
    Number,
}

impl Key {
    /// All of them, in the order of the documentation.
    pub const ALL: [Key; 17] = [
        Key::Class,
        Key::Path,
        Key::Status,
        Key::Verdict,
        Key::Err,
        Key::Time,
        Key::Blocker,
        Key::Lines,
        Key::Params,
        Key::Total,
        Key::Dtype,
        Key::Depth,
        Key::Evidence,
        Key::Assumed,
        Key::Mark,
        Key::Note,
        Key::Stale,
    ];

    /// The word before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Key::Class => "class",
            Key::Path => "path",
            Key::Status => "status",
            Key::Verdict => "verdict",
            Key::Blocker => "blocker",
            Key::Params => "params",
            Key::Total => "total",
            Key::Err => "err",
            Key::Time => "time",
            Key::Dtype => "dtype",
            Key::Mark => "mark",
            Key::Note => "note",
            Key::Stale => "stale",
            Key::Assumed => "assumed",
            Key::Evidence => "evidence",
            Key::Depth => "depth",
            Key::Lines => "lines",
        }
    }

    /// The key of that name.
    pub fn from_name(name: &str) -> Option<Key> {
        Key::ALL.into_iter().find(|key| key.name() == name)
    }

    /// What stands behind it.
    pub fn kind(self) -> Kind {
        match self {
            Key::Class | Key::Path => Kind::Pattern,
            Key::Status | Key::Verdict | Key::Dtype | Key::Evidence => Kind::Choice,
            Key::Blocker | Key::Mark | Key::Note => Kind::Text,
            Key::Stale | Key::Assumed => Kind::Flag,
            Key::Params | Key::Total | Key::Err | Key::Time | Key::Depth | Key::Lines => Kind::Number,
        }
    }

    /// How terms with it look.
    pub fn examples(self) -> &'static [&'static str] {
        match self {
            Key::Class => &["class:Conv2d", "class:*Norm*", "class:Conv1d|Conv2d"],
            Key::Path => &["path:layer1.*", "path:*.attn"],
            Key::Status => &["status:recipe", "status:custom|unknown"],
            Key::Verdict => &["verdict:drift", "verdict:bad", "verdict:none"],
            Key::Err => &["err>0.5tol", "err>1e-6"],
            Key::Time => &["time>5"],
            Key::Blocker => &["blocker:item", "blocker:any", "blocker:breaks"],
            Key::Lines => &["lines>100"],
            Key::Params => &["params>1M", "params=0"],
            Key::Total => &["total>=10M"],
            Key::Dtype => &["dtype:bf16"],
            Key::Depth => &["depth<3"],
            Key::Evidence => &["evidence:inferred"],
            Key::Assumed => &["assumed:yes"],
            Key::Mark => &["mark:todo", "mark:none"],
            Key::Note => &["note:mask", "note:any"],
            Key::Stale => &["stale:yes"],
        }
    }

    /// What it asks, in a sentence without its end.
    pub fn help(self) -> &'static str {
        match self {
            Key::Class => "the class, by its name or its full path; `*` stands for any letters",
            Key::Path => "the whole path; `*` stands for any letters, dots too",
            Key::Status => "what the registry says of it",
            Key::Verdict => {
                "what a run gave: a verdict, `passed`, `bad` (drift, broken or failed), `any`, `none` where nothing ran"
            }
            Key::Err => "its largest error, or that error in tolerances (`tol`); nothing where nothing was measured",
            Key::Time => "milliseconds that MLX took for it; nothing where nothing was measured",
            Key::Blocker => {
                "a blocker that its forward runs: a part of the pattern's name, how bad it is, `training` for what only \
                 training runs; `any` stops or changes a port, `none` has nothing of that"
            }
            Key::Lines => "lines of its forward; nothing where no source was found",
            Key::Params => "its own parameters",
            Key::Total => "its parameters with those of the modules below it",
            Key::Dtype => "the type of one of its own tensors",
            Key::Depth => "how deep it stands: the root is 0",
            Key::Evidence => "how its class is known",
            Key::Assumed => "whether a run tries values for what is not known of it",
            Key::Mark => "the mark that you gave it; `any`, `none`",
            Key::Note => "a part of the note on it or on its class; `any`, `none`",
            Key::Stale => "whether what was measured of it is of other weights, another recipe or engine",
        }
    }

    /// The words that may stand behind it, where they are few.
    pub fn choices(self) -> Vec<&'static str> {
        use crate::compare::Verdict;
        use crate::triage::Status;
        match self {
            Key::Status => Status::ALL.iter().map(|status| status.name()).collect(),
            Key::Verdict => {
                let verdicts = Verdict::ALL.iter().map(|verdict| verdict.name());
                verdicts.chain(["passed", "bad", "any", "none"]).collect()
            }
            Key::Evidence => Evidence::ALL.map(Evidence::name).to_vec(),
            Key::Dtype => DTYPES.iter().map(|(_, dtype)| dtype.name()).collect(),
            Key::Assumed | Key::Stale => vec!["yes", "no"],
            Key::Blocker => {
                let severities = Severity::ALL.map(Severity::name);
                ["any", "none"].into_iter().chain(severities).chain(["training"]).collect()
            }
            Key::Mark | Key::Note => vec!["any", "none"],
            Key::Class | Key::Path | Key::Params | Key::Total | Key::Err | Key::Time | Key::Depth | Key::Lines => {
                Vec::new()
            }
        }
    }
}

/// Short names of the types that have one beside PyTorch's.
pub(super) const DTYPES: [(&str, Dtype); 14] = [
    ("f64", Dtype::Float64),
    ("f32", Dtype::Float32),
    ("f16", Dtype::Float16),
    ("bf16", Dtype::BFloat16),
    ("i64", Dtype::Int64),
    ("i32", Dtype::Int32),
    ("i16", Dtype::Int16),
    ("i8", Dtype::Int8),
    ("u64", Dtype::UInt64),
    ("u32", Dtype::UInt32),
    ("u16", Dtype::UInt16),
    ("u8", Dtype::UInt8),
    ("f8", Dtype::Float8E4M3FN),
    ("bool", Dtype::Bool),
];

/// The language on a page, for `docs/filter.md`.
pub fn page() -> String {
    let mut page = PAGE.to_owned();
    for key in Key::ALL {
        let examples: Vec<String> =
            key.examples().iter().map(|example| format!("`{}`", example.replace('|', "\\|"))).collect();
        let choices = match key {
            Key::Status | Key::Evidence => {
                let words: Vec<String> = key.choices().iter().map(|word| format!("`{word}`")).collect();
                format!(": {}", words.join(", "))
            }
            _ => String::new(),
        };
        let help = key.help();
        page += &format!("| `{}` | {help}{choices} | {} |\n", key.name(), examples.join(", "));
    }
    page
}

const PAGE: &str = "# The filter

`f` opens it. What is typed there is a list of terms, and a module is on show where all of them hold; the modules above it stay,
dimmed. `/` then finds within what is on show, and never lets go of the filter.

    class:Conv2d status:recipe params>1M err>0.5tol
    -status:container blocker:any
    mark:todo|none lines>100 attn

- Terms that stand side by side must all hold. `-` or `!` before one turns it round.
- `|` or `,` between values means one of them; ` | ` between two terms, one of these two.
- A word without a key is looked for in path and class, letter by letter, as `/` does.
- Case counts where something has an upper-case letter. `\"two words\"` keeps what is quoted together.
- Numbers may end in `k`, `M`, `G` or `T`, errors in `tol`: so many tolerances.

| key | asks | as in |
|---|---|---|
";
