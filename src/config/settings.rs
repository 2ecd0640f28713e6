//! Every setting: its name, its default, what it may be.

use std::fmt::Write;

use super::unknown;

/// A setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file; in the environment `T2M_` and the name in capitals.
    pub name: &'static str,
    /// What it does, in a sentence for the documentation.
    pub help: &'static str,
    pub(super) default: fn() -> Value,
    kind: Kind,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Value {
    Text(String),
    Flag(bool),
    Number(u64),
    List(Vec<String>),
}

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// One of these words.
    OneOf(&'static [&'static str]),
    Flag,
    /// A whole number between two.
    Number(u64, u64),
    /// A name or the path of a file.
    NameOrPath(&'static [&'static str]),
    /// A program: by its name, or its path.
    Program,
    Paths,
    /// Several of these words.
    Words(&'static [&'static str]),
}

const fn setting(name: &'static str, kind: Kind, default: fn() -> Value, help: &'static str) -> Setting {
    Setting { name, help, default, kind }
}

fn text(words: &str) -> Value {
    Value::Text(words.to_owned())
}

/// All of them, in the order in which they are printed.
pub const SETTINGS: [Setting; 12] = [
    setting(
        "theme",
        Kind::NameOrPath(&["auto", "dark", "light"]),
        || text("auto"),
        "`auto`, `dark`, `light`, or a theme file. A theme that is named paints its background; `auto` leaves the terminal's.",
    ),
    setting(
        "color",
        Kind::OneOf(&["auto", "never", "16", "256", "true"]),
        || text("auto"),
        "How many colours: `auto`, `never`, `16`, `256`, `true`. `NO_COLOR` is `never`.",
    ),
    setting("ascii", Kind::Flag, || Value::Flag(false), "Draw with ASCII alone; on where the locale is not UTF-8."),
    setting("mouse", Kind::Flag, || Value::Flag(true), "Capture the mouse when the screen opens."),
    setting(
        "trials",
        Kind::Number(1, 1000),
        || Value::Number(8),
        "Inputs that each layer is tried with; `verify` has 3 unless it is set.",
    ),
    setting("seed", Kind::Number(0, i64::MAX as u64), || Value::Number(7), "Seed of the first input."),
    setting(
        "dtypes",
        Kind::Words(&["f32", "f16", "bf16"]),
        || Value::List(vec!["f32".to_owned()]),
        "What layers are run in; f32 gives the verdict and is always run.",
    ),
    setting("source", Kind::Paths, || Value::List(Vec::new()), "Python source of models, as `--source`."),
    setting("python", Kind::Program, || text(""), "Python whose sys.path is searched, as `--python`."),
    setting(
        "session",
        Kind::NameOrPath(&["ask", "state", "beside", "none"]),
        || text("ask"),
        "Where sessions are kept, as `--session`: the `state` folder, `beside` the checkpoint, `none`, or a file; `ask` is what was answered.",
    ),
    setting(
        "notify",
        Kind::OneOf(&["bell", "osc9", "off"]),
        || text("bell"),
        "What tells that a long job is over: the terminal's `bell`, `osc9` (a notification, in terminals that know it), `off`.",
    ),
    setting(
        "notify-after",
        Kind::Number(0, 86_400),
        || Value::Number(10),
        "Seconds that a job takes at least to be told.",
    ),
];

impl Value {
    /// As TOML.
    pub fn toml(&self) -> String {
        match self {
            Value::Text(text) => quote(text),
            Value::Flag(on) => on.to_string(),
            Value::Number(number) => number.to_string(),
            Value::List(list) => format!("[{}]", list.iter().map(|text| quote(text)).collect::<Vec<_>>().join(", ")),
        }
    }

    /// The text, where it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A basic string of TOML.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for sign in text.chars() {
        match sign {
            '"' | '\\' => out.extend(['\\', sign]),
            // Writing to a String cannot fail.
            sign if sign.is_control() => drop(write!(out, "\\u{:04X}", u32::from(sign))),
            sign => out.push(sign),
        }
    }
    out + "\""
}

impl Setting {
    /// What it is where nobody says anything.
    pub fn default_value(&self) -> Value {
        (self.default)()
    }

    /// The variable of the environment that sets it: `T2M_NOTIFY_AFTER`.
    pub fn variable(&self) -> String {
        format!("T2M_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// A value that stands for itself. The error says what is wanted.
    pub(super) fn check(&self, value: Value) -> Result<Value, String> {
        let wanted = |what: &str| format!("`{}` is {what}", self.name);
        let word = |word: &str, words: &'static [&str]| {
            let is_known = words.contains(&word);
            if is_known {
                Ok(())
            } else {
                Err(unknown(&format!("value of `{}`", self.name), word, words.iter().copied()))
            }
        };
        match (self.kind, value) {
            (Kind::OneOf(words), value) => {
                let text = match &value {
                    Value::Text(text) => text.clone(),
                    // `color = 16` and `color = true` are meant as they are written.
                    Value::Number(number) => number.to_string(),
                    Value::Flag(on) => on.to_string(),
                    Value::List(_) => return Err(wanted(&format!("one of {}", words.join(", ")))),
                };
                word(&text, words)?;
                Ok(Value::Text(text))
            }
            (Kind::Flag, Value::Flag(on)) => Ok(Value::Flag(on)),
            (Kind::Flag, _) => Err(wanted("true or false")),
            (Kind::Number(least, most), Value::Number(number)) if (least..=most).contains(&number) => {
                Ok(Value::Number(number))
            }
            (Kind::Number(least, most), _) if most > u64::from(u32::MAX) => {
                Err(wanted(&format!("a whole number, {least} or more")))
            }
            (Kind::Number(least, most), _) => Err(wanted(&format!("a whole number from {least} to {most}"))),
            (Kind::NameOrPath(words), Value::Text(text)) => {
                let is_path = text.contains(['/', '.']);
                if !is_path {
                    word(&text, words)?;
                }
                Ok(Value::Text(text))
            }
            (Kind::NameOrPath(words), _) => Err(wanted(&format!("{} or a file", words.join(", ")))),
            (Kind::Program, Value::Text(text)) => Ok(Value::Text(text)),
            (Kind::Program, _) => Err(wanted("a path in quotes")),
            (Kind::Paths, Value::Text(text)) => Ok(Value::List(vec![text])),
            (Kind::Paths, Value::List(list)) => Ok(Value::List(list)),
            (Kind::Paths, _) => Err(wanted("a list of paths: [\"src\"]")),
            (Kind::Words(words), value) => {
                let list = match value {
                    Value::Text(text) => vec![text],
                    Value::List(list) => list,
                    _ => return Err(wanted(&format!("a list of {}", words.join(", ")))),
                };
                list.iter().try_for_each(|text| word(text, words))?;
                Ok(Value::List(list))
            }
        }
    }

    /// A value as the environment has it.
    pub(super) fn parse(&self, text: &str) -> Result<Value, String> {
        let value = match self.kind {
            Kind::Flag => match text {
                "1" | "true" | "yes" | "on" => Value::Flag(true),
                "0" | "false" | "no" | "off" => Value::Flag(false),
                _ => Value::Text(text.to_owned()),
            },
            Kind::Number(..) => text.trim().parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Number),
            Kind::Paths => {
                Value::List(std::env::split_paths(text).map(|path| path.to_string_lossy().into_owned()).collect())
            }
            Kind::Words(_) => Value::List(text.split(',').map(|word| word.trim().to_owned()).collect()),
            Kind::OneOf(_) | Kind::NameOrPath(_) | Kind::Program => Value::Text(text.to_owned()),
        };
        self.check(value)
    }

    /// Whether a text of it is a path, which a file means from where it lies.
    pub(super) fn is_path(&self, text: &str) -> bool {
        match self.kind {
            Kind::Program => text.contains('/'),
            Kind::Paths => !text.is_empty(),
            Kind::NameOrPath(words) => !words.contains(&text),
            Kind::OneOf(_) | Kind::Flag | Kind::Number(..) | Kind::Words(_) => false,
        }
    }
}
