#![allow(clippy::unwrap_used)]
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
        styles.extend([Severity::Breaks, Severity::Differs, Severity::Harmless].map(|at| theme.severity(at)));
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
