#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

fn themes() -> [Theme; 2] {
    ["dark", "light"].map(|name| Theme::load(name, |_| None).unwrap())
}

fn foreground(style: Style, theme: &Theme) -> Rgb {
    match style.fg {
        Some(Color::Rgb(red, green, blue)) => Rgb(red, green, blue),
        _ => theme.foreground,
    }
}

#[test]
fn everything_that_is_read_stands_out_from_the_background_and_from_a_selection() {
    for theme in themes() {
        let mut styles = vec![theme.text(), theme.muted(), theme.key(), theme.found(), theme.running(), theme.notice()];
        styles.extend(Status::ALL.map(|status| theme.status(status)));
        styles.extend(Verdict::ALL.map(|verdict| theme.verdict(verdict)));
        styles.extend(Severity::ALL.map(|at| theme.severity(at)));
        styles.extend([theme.title(true), theme.title(false), theme.mark(), theme.bar()]);
        let selection = theme.colours.selection.0.unwrap();
        for background in [theme.background, selection] {
            for style in &styles {
                let contrast = foreground(*style, &theme).contrast(background);
                assert!(contrast >= 4.5, "{style:?} on {background:?}: {contrast:.2}");
            }
        }
        let border = foreground(theme.border(false), &theme).contrast(theme.background);
        assert!(border >= 1.5, "borders can be seen: {border:.2}");
    }
}

#[test]
fn contrast_is_the_one_of_wcag() {
    assert!((Rgb(0, 0, 0).contrast(Rgb(255, 255, 255)) - 21.0).abs() < 1e-9);
    assert!((Rgb(119, 119, 119).contrast(Rgb(255, 255, 255)) - 4.48).abs() < 0.01);
}

#[test]
fn no_two_statuses_look_alike() {
    for theme in themes() {
        for (index, one) in Status::ALL.into_iter().enumerate() {
            for two in Status::ALL.into_iter().skip(index + 1) {
                assert_ne!(theme.status(one), theme.status(two), "{one:?} and {two:?}");
            }
        }
    }
}

#[test]
fn mistakes_in_a_theme_are_named() {
    let error = |text: String| Theme::parse("mine", &text).unwrap_err().to_string();
    assert!(error(DARK.replace("muted", "mutde")).contains("unknown field `mutde`"));
    assert!(error(DARK.replace("#949dab", "grey")).contains("\"grey\" is no colour"));
    assert!(error(DARK.replace("dark = true\n", "")).contains("missing field `dark`"));
    assert!(Theme::load("/no/such/theme.toml", |_| None).unwrap_err().to_string().contains("/no/such/theme.toml"));
}

#[test]
fn the_level_comes_from_the_environment() {
    let level = |pairs: &[(&str, &str)]| {
        Level::detect(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    };
    assert_eq!(level(&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]), Level::True);
    assert_eq!(level(&[("TERM", "xterm-256color")]), Level::Ansi256);
    assert_eq!(level(&[("TERM", "xterm")]), Level::Ansi16);
    assert_eq!(level(&[("TERM", "dumb"), ("COLORTERM", "truecolor")]), Level::Never);
    assert_eq!(level(&[("NO_COLOR", "1"), ("COLORTERM", "truecolor")]), Level::Never);
    assert_eq!(level(&[("NO_COLOR", ""), ("COLORTERM", "truecolor")]), Level::True, "empty is not set");
}

#[test]
fn light_terminals_are_told_by_colorfgbg() {
    let theme = |value: &'static str| Theme::load("auto", |_| Some(value.to_owned())).unwrap();
    assert!(!theme("0;15").dark);
    assert!(theme("15;0").dark);
    assert!(theme("nonsense").dark);
}

#[test]
fn colours_shrink_to_their_neighbours() {
    assert_eq!(nearest_256(Rgb(255, 0, 0)), 196);
    assert_eq!(nearest_256(Rgb(0, 0, 0)), 16);
    assert_eq!(nearest_256(Rgb(128, 128, 128)), 244);
    assert_eq!(nearest_16(Rgb(0x56, 0xb4, 0xe9), true), Color::LightBlue);
    assert_eq!(nearest_16(Rgb(0x2f, 0xc3, 0x9a), true), Color::LightGreen);
    assert_eq!(nearest_16(Rgb(0xf0, 0x80, 0x3c), true), Color::LightRed);
    assert_eq!(nearest_16(Rgb(0xe6, 0x9f, 0), true), Color::LightYellow);
    assert_eq!(nearest_16(Rgb(0x4d, 0x56, 0x63), true), Color::DarkGray);
}

/// Code with everything that a highlighter colours.
const CODE: &str = "import torch\n\n@cache\nclass Net(nn.Module):\n    \"\"\"What it is.\"\"\"\n    def forward(self, x: int = 3):\n        # why\n        if not self.training and x is None:\n            return self.conv(x, 'same', f\"{x!r}\\n\") + 1e-5\n        raise ValueError(True, lambda: None)\n";

#[test]
fn code_can_be_read_on_the_background_of_its_theme() {
    for theme in themes() {
        let runs = crate::source::highlight::python(CODE, 1..11, theme.dark);
        let selection = theme.colours.selection_idle.0.unwrap();
        let mut seen = 0;
        for run in runs.iter().flatten().filter(|run| !run.bytes.is_empty()) {
            let Color::Rgb(red, green, blue) = theme.code(run.colour) else { panic!("no colour") };
            for background in [theme.background, selection] {
                let contrast = Rgb(red, green, blue).contrast(background);
                assert!(contrast >= 4.5, "{:?} on {background:?}: {contrast:.2}", run.colour);
            }
            seen += 1;
        }
        assert!(seen > 30, "{seen}");
    }
}

#[test]
fn of_sixteen_colours_no_code_has_the_blockers() {
    for theme in themes().map(|theme| theme.at(Level::Ansi16)) {
        let shown = |style: Style| match style.fg {
            Some(color) => shrink(color, Level::Ansi16, theme.dark),
            None => Color::Reset,
        };
        let breaks = shown(theme.severity(Severity::Breaks));
        assert!(matches!(breaks, Color::Red | Color::LightRed), "{breaks:?}");
        for run in crate::source::highlight::python(CODE, 1..11, theme.dark).iter().flatten() {
            assert_ne!(theme.code(run.colour), breaks, "{:?}", run.colour);
        }
    }
}

#[test]
fn a_theme_that_was_asked_for_paints_its_ground_and_auto_does_not() {
    let area = ratatui::layout::Rect::new(0, 0, 3, 1);
    let ground = |theme: Theme| {
        let mut buffer = Buffer::empty(area);
        theme.adapt(&mut buffer);
        let cell = &buffer[(1, 0)];
        (cell.fg, cell.bg)
    };
    for theme in themes() {
        let both = (theme.foreground.color(), theme.background.color());
        assert_eq!(ground(theme.clone()), (Color::Reset, Color::Reset));
        assert_eq!(ground(theme.clone().painted()), both);
        assert!(matches!(ground(theme.clone().painted().at(Level::Ansi256)), (Color::Indexed(_), Color::Indexed(_))));
        let sixteen = ground(theme.clone().painted().at(Level::Ansi16));
        let expected = if theme.dark { (Color::White, Color::Black) } else { (Color::Black, Color::White) };
        assert_eq!(sixteen, expected);
        assert_eq!(
            ground(theme.painted().at(Level::Never)),
            (Color::Reset, Color::Reset),
            "without colours nothing is painted"
        );
    }
    let known = |value: Option<&'static str>| Theme::background(|_| value.map(str::to_owned));
    assert_eq!([known(Some("0;15")), known(Some("15;0")), known(None)], [Some(false), Some(true), None]);
}
