//! Colours by meaning, from `assets/themes/*.toml`, and how they shrink for terminals with fewer of them.
//!
//! The screen is always drawn in full colour; [`Theme::adapt`] then brings the finished buffer down to what the terminal
//! can show. Colour alone says nothing: statuses have a glyph and a word, a selection is bold and marked.

use std::path::Path;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;

use crate::compare::Verdict;
use crate::files;
use crate::graph::run::NodeVerdict;
use crate::source::Severity;
use crate::triage::Status;
use t2m_checkpoint::escape::{escape, quoted};

/// The longest theme file that is read, in bytes: a hundred times the built-in ones.
const LONGEST: u64 = 256 << 10;

/// The least contrast of text after WCAG 2, level AA.
const READABLE: f64 = 4.5;
/// Most steps towards the foreground, after which little of a colour is left.
const STEPS: usize = 12;

const DARK: &str = include_str!("../../assets/themes/dark.toml");
const LIGHT: &str = include_str!("../../assets/themes/light.toml");

/// How many colours the terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// None: bold, underline and reverse are left.
    Never,
    /// The sixteen that the user's terminal defines.
    Ansi16,
    /// The palette of 256.
    Ansi256,
    /// All of them, 24 bits.
    True,
}

impl Level {
    /// What the environment says, by `NO_COLOR`, `COLORTERM` and `TERM`.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Level {
        let is_set = |name| variable(name).is_some_and(|value: String| !value.is_empty());
        let term = variable("TERM").unwrap_or_default();
        if is_set("NO_COLOR") || term == "dumb" {
            Level::Never
        } else if matches!(variable("COLORTERM").as_deref(), Some("truecolor" | "24bit")) || term.ends_with("-direct") {
            Level::True
        } else if term.contains("256") {
            Level::Ansi256
        } else {
            Level::Ansi16
        }
    }
}

/// A theme that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not TOML, or not of this form.
    #[error("theme {file}: {1}", file = escape(.0))]
    Toml(String, String),
    /// The file cannot be read.
    #[error("theme {file}: {1}; the built-in themes are auto, dark and light", file = escape(.0))]
    Read(String, files::ReadError),
}

/// Colours by meaning. `None` is the terminal's own foreground.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Theme {
    /// Whether it is meant for a dark background.
    pub dark: bool,
    /// The background it is meant for; painted where the theme was asked for by name.
    pub background: Rgb,
    /// What pictures use for the terminal's own foreground.
    pub foreground: Rgb,
    colours: Colours,
    status: Statuses,
    verdict: Verdicts,
    severity: Severities,
    /// Whether the screen is painted in the theme's background, whatever the terminal's is.
    #[serde(skip)]
    painted: bool,
    #[serde(skip, default = "full_colour")]
    level: Level,
}

fn full_colour() -> Level {
    Level::True
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Colours {
    text: Paint,
    muted: Paint,
    faint: Paint,
    border: Paint,
    focus: Paint,
    title: Paint,
    selection: Paint,
    selection_idle: Paint,
    key: Paint,
    found: Paint,
    bar: Paint,
    notice: Paint,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statuses {
    direct: Paint,
    recipe: Paint,
    incomplete: Paint,
    unsupported: Paint,
    container: Paint,
    custom: Paint,
    unknown: Paint,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdicts {
    exact: Paint,
    ok: Paint,
    drift: Paint,
    broken: Paint,
    failed: Paint,
    not_run: Paint,
    running: Paint,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Severities {
    breaks: Paint,
    differs: Paint,
    harmless: Paint,
}

/// Red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rgb(pub u8, pub u8, pub u8);

/// A colour, or the terminal's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Paint(Option<Rgb>);

impl TryFrom<String> for Rgb {
    type Error = String;

    fn try_from(text: String) -> Result<Rgb, String> {
        let wrong = || format!("\"{}\" is no colour; write #rrggbb", quoted(&text));
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6).ok_or_else(wrong)?;
        let [_, red, green, blue] = u32::from_str_radix(digits, 16).map_err(|_| wrong())?.to_be_bytes();
        Ok(Rgb(red, green, blue))
    }
}

impl TryFrom<String> for Paint {
    type Error = String;

    fn try_from(text: String) -> Result<Paint, String> {
        if text == "default" { Ok(Paint(None)) } else { Rgb::try_from(text).map(|rgb| Paint(Some(rgb))) }
    }
}

impl Paint {
    fn style(self) -> Style {
        Style::new().fg(self.0.map_or(Color::Reset, Rgb::color))
    }
}

impl Rgb {
    /// As ratatui wants it.
    pub fn color(self) -> Color {
        Color::Rgb(self.0, self.1, self.2)
    }

    /// A step nearer to another one.
    fn towards(self, other: Rgb) -> Rgb {
        let part = |from: u8, to: u8| ((u16::from(from) * 7 + u16::from(to)) / 8) as u8;
        Rgb(part(self.0, other.0), part(self.1, other.1), part(self.2, other.2))
    }

    /// Relative luminance after WCAG 2: 0 for black, 1 for white.
    pub fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }

    /// Contrast after WCAG 2: from 1 to 21.
    pub fn contrast(self, other: Rgb) -> f64 {
        let (one, two) = (self.luminance() + 0.05, other.luminance() + 0.05);
        one.max(two) / one.min(two)
    }
}

impl Theme {
    /// Whether the terminal's background is dark, where `COLORFGBG` says it.
    pub fn background(variable: impl Fn(&str) -> Option<String>) -> Option<bool> {
        let background = variable("COLORFGBG")?.rsplit(';').next()?.parse::<u8>().ok()?;
        Some(!matches!(background, 7 | 15))
    }

    /// A theme by name (`dark`, `light`, or `auto`: light where `COLORFGBG` says so), or from a TOML file.
    ///
    /// # Errors
    /// The file cannot be read or is no theme.
    pub fn load(name: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Theme, Error> {
        let light = || Theme::background(variable).map(|dark| !dark);
        match name {
            "dark" => Theme::parse(name, DARK),
            "light" => Theme::parse(name, LIGHT),
            "auto" if light().unwrap_or(false) => Theme::parse("light", LIGHT),
            "auto" => Theme::parse("dark", DARK),
            path => {
                let text = files::read_text(Path::new(path), LONGEST);
                let text = text.map_err(|error| Error::Read(path.to_owned(), error))?;
                Theme::parse(path, &text)
            }
        }
    }

    /// Read a theme.
    ///
    /// # Errors
    /// It is not TOML, lacks a colour, or names one that does not exist.
    pub fn parse(name: &str, text: &str) -> Result<Theme, Error> {
        files::parse_toml(text).map_err(|message| Error::Toml(name.to_owned(), message))
    }

    /// The theme for a terminal with this many colours.
    pub fn at(mut self, level: Level) -> Theme {
        self.level = level;
        self
    }

    /// The theme on its own background. Without, it is on the terminal's: right only where that is known to be like it.
    pub fn painted(mut self) -> Theme {
        self.painted = true;
        self
    }

    /// Plain text.
    pub fn text(&self) -> Style {
        self.colours.text.style()
    }

    /// Text of less weight.
    pub fn muted(&self) -> Style {
        self.colours.muted.style()
    }

    /// Guides, axes, line numbers.
    pub fn faint(&self) -> Style {
        self.colours.faint.style()
    }

    /// A pane's frame.
    pub fn border(&self, focus: bool) -> Style {
        if focus { self.colours.focus.style() } else { self.colours.border.style() }
    }

    /// A pane's title.
    pub fn title(&self, focus: bool) -> Style {
        if focus { self.colours.title.style().add_modifier(Modifier::BOLD) } else { self.muted() }
    }

    /// Laid over a selected row: bold and tinted, reversed where there are too few colours for a tint.
    pub fn selection(&self, focus: bool) -> Style {
        if self.level <= Level::Ansi16 {
            let style = Style::new().add_modifier(Modifier::BOLD);
            return if focus { style.add_modifier(Modifier::REVERSED) } else { style };
        }
        let paint = if focus { self.colours.selection } else { self.colours.selection_idle };
        let style = Style::new().add_modifier(Modifier::BOLD);
        paint.0.map_or(style, |rgb| style.bg(rgb.color()))
    }

    /// Laid over a line that something else points at.
    pub fn linked(&self) -> Style {
        let style = Style::new();
        self.colours.selection_idle.0.map_or(style, |rgb| style.bg(rgb.color()))
    }

    /// The mark beside a selection.
    pub fn mark(&self) -> Style {
        self.colours.focus.style().add_modifier(Modifier::BOLD)
    }

    /// The name of a key.
    pub fn key(&self) -> Style {
        self.colours.key.style().add_modifier(Modifier::BOLD)
    }

    /// Text that matches a search.
    pub fn found(&self) -> Style {
        self.colours.found.style().add_modifier(Modifier::UNDERLINED)
    }

    /// The full part of a bar.
    pub fn bar(&self) -> Style {
        self.colours.bar.style()
    }

    /// A notice.
    pub fn notice(&self) -> Style {
        self.colours.notice.style().add_modifier(Modifier::BOLD)
    }

    /// A status.
    pub fn status(&self, status: Status) -> Style {
        let colours = &self.status;
        match status {
            Status::Direct => colours.direct,
            Status::Recipe => colours.recipe,
            Status::Incomplete => colours.incomplete,
            Status::Unsupported => colours.unsupported,
            Status::Container => colours.container,
            Status::Custom => colours.custom,
            Status::Unknown => colours.unknown,
        }
        .style()
    }

    /// A verdict.
    pub fn verdict(&self, verdict: Verdict) -> Style {
        let colours = &self.verdict;
        match verdict {
            Verdict::Exact => colours.exact,
            Verdict::Ok => colours.ok,
            Verdict::Drift => colours.drift,
            Verdict::Broken => colours.broken,
            Verdict::Failed => colours.failed,
            Verdict::NotRun => colours.not_run,
        }
        .style()
    }

    /// A verdict of a graph's node.
    pub fn verdict_of(&self, verdict: NodeVerdict) -> Style {
        match verdict {
            NodeVerdict::Compared(verdict) => self.verdict(verdict),
            NodeVerdict::Given => self.verdict(Verdict::NotRun),
            NodeVerdict::NotANumber | NodeVerdict::Infinite { overflow: true } => self.verdict(Verdict::Broken),
            NodeVerdict::Infinite { overflow: false } => self.verdict(Verdict::Ok),
            NodeVerdict::Refused => self.verdict(Verdict::Failed),
        }
    }

    /// What runs now.
    pub fn running(&self) -> Style {
        self.verdict.running.style()
    }

    /// How bad a blocker is.
    pub fn severity(&self, severity: Severity) -> Style {
        match severity {
            Severity::Breaks => self.severity.breaks,
            Severity::Differs => self.severity.differs,
            Severity::Harmless => self.severity.harmless,
        }
        .style()
    }

    /// Bring a finished buffer down to the colours the terminal has, on the theme's background where that is painted.
    pub fn adapt(&self, buffer: &mut Buffer) {
        if self.level == Level::True && !self.painted {
            return;
        }
        let (foreground, background) = self.ground();
        for cell in &mut buffer.content {
            cell.fg = shrink(cell.fg, self.level, self.dark);
            // Sixteen colours have no tint that could mark a selection, so it is reversed.
            cell.bg = if self.level <= Level::Ansi16 { Color::Reset } else { shrink(cell.bg, self.level, self.dark) };
            if cell.fg == Color::Reset {
                cell.fg = foreground;
            }
            if cell.bg == Color::Reset {
                cell.bg = background;
            }
        }
    }

    /// What stands for the terminal's own foreground and background.
    fn ground(&self) -> (Color, Color) {
        match (self.painted, self.level, self.dark) {
            (false, ..) | (_, Level::Never, _) => (Color::Reset, Color::Reset),
            (_, Level::Ansi16, true) => (Color::White, Color::Black),
            (_, Level::Ansi16, false) => (Color::Black, Color::White),
            (_, level, dark) => {
                let shade = |rgb: Rgb| shrink(rgb.color(), level, dark);
                (shade(self.foreground), shade(self.background))
            }
        }
    }

    /// A colour of highlighted code, nearer to the foreground where it could not be read on the theme's background or a selection. Of
    /// sixteen colours red is the blockers' alone.
    pub fn code(&self, (red, green, blue): (u8, u8, u8)) -> Color {
        let mut rgb = Rgb(red, green, blue);
        if self.level == Level::Ansi16 {
            return match nearest_16(rgb, self.dark) {
                Color::LightRed => Color::LightMagenta,
                Color::Red => Color::Magenta,
                other => other,
            };
        }
        let tints = [self.colours.selection.0, self.colours.selection_idle.0];
        for _ in 0..STEPS {
            let grounds = tints.into_iter().flatten().chain([self.background]);
            if grounds.map(|ground| rgb.contrast(ground)).fold(f64::INFINITY, f64::min) >= READABLE {
                break;
            }
            rgb = rgb.towards(self.foreground);
        }
        rgb.color()
    }
}

fn shrink(color: Color, level: Level, dark: bool) -> Color {
    match (color, level) {
        (_, Level::Never) => Color::Reset,
        (Color::Rgb(red, green, blue), Level::Ansi256) => Color::Indexed(nearest_256(Rgb(red, green, blue))),
        (Color::Rgb(red, green, blue), Level::Ansi16) => nearest_16(Rgb(red, green, blue), dark),
        (other, _) => other,
    }
}

/// The nearest of the 6×6×6 cube and the 24 greys of xterm's palette.
fn nearest_256(rgb: Rgb) -> u8 {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let step = |part: u8| {
        let distances = STEPS.iter().map(|&step| step.abs_diff(part)).zip(0u8..);
        distances.min().map_or((0, 0), |(_, index)| (index, STEPS.get(usize::from(index)).copied().unwrap_or(0)))
    };
    let ((red, red_value), (green, green_value), (blue, blue_value)) = (step(rgb.0), step(rgb.1), step(rgb.2));
    let cube = (distance(rgb, Rgb(red_value, green_value, blue_value)), 16 + 36 * red + 6 * green + blue);
    let greys = (0u8..24).map(|index| {
        let value = 8 + 10 * index;
        (distance(rgb, Rgb(value, value, value)), 232 + index)
    });
    greys.chain([cube]).min().map_or(7, |(_, index)| index)
}

fn distance(one: Rgb, two: Rgb) -> u32 {
    let square = |left: u8, right: u8| u32::from(left.abs_diff(right)).pow(2);
    square(one.0, two.0) + square(one.1, two.1) + square(one.2, two.2)
}

/// One of the sixteen by hue, since their exact colours are the user's.
fn nearest_16(rgb: Rgb, dark: bool) -> Color {
    let (red, green, blue) = (f64::from(rgb.0), f64::from(rgb.1), f64::from(rgb.2));
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let spread = most - least;
    if most == 0.0 || spread / most < 0.25 {
        // Muted greys would vanish on some palettes: only the faintest become dark grey.
        return match (dark, rgb.luminance()) {
            (true, light) if light < 0.13 => Color::DarkGray,
            (false, light) if light > 0.4 => Color::Gray,
            (false, light) if light > 0.1 => Color::DarkGray,
            _ => Color::Reset,
        };
    }
    let sector = if most == red {
        (green - blue) / spread
    } else if most == green {
        2.0 + (blue - red) / spread
    } else {
        4.0 + (red - green) / spread
    };
    let hue = (sector * 60.0).rem_euclid(360.0);
    match (hue, dark) {
        (hue, true) if hue < 28.0 => Color::LightRed,
        (hue, true) if hue < 75.0 => Color::LightYellow,
        (hue, true) if hue < 170.0 => Color::LightGreen,
        (hue, true) if hue < 195.0 => Color::LightCyan,
        (hue, true) if hue < 255.0 => Color::LightBlue,
        (hue, true) if hue < 340.0 => Color::LightMagenta,
        (_, true) => Color::LightRed,
        (hue, false) if hue < 33.0 => Color::Red,
        (hue, false) if hue < 75.0 => Color::Yellow,
        (hue, false) if hue < 170.0 => Color::Green,
        (hue, false) if hue < 195.0 => Color::Cyan,
        (hue, false) if hue < 255.0 => Color::Blue,
        (hue, false) if hue < 340.0 => Color::Magenta,
        (_, false) => Color::Red,
    }
}

#[cfg(test)]
#[path = "theme_tests.rs"]
mod tests;
