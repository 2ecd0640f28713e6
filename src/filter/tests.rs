#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::keys::{self, Key, Kind};
use super::term::quoted;
use super::*;
use crate::triage::Status;

fn parse(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The error of a text: where, and the words.
fn wrong(text: &str) -> (std::ops::Range<usize>, String, bool) {
    let error = Filter::parse(text).unwrap_err();
    (error.at, error.message, error.open)
}

#[test]
fn terms_are_read_and_written() {
    for (text, written) in [
        ("", ""),
        ("  class:Conv2d   params>1M ", "class:Conv2d params>1M"),
        ("status:recipe,incomplete", "status:recipe|incomplete"),
        ("params:>=1500", "params>=1.5k"),
        ("params<=2k depth:3 depth=0|1", "params<=2k depth=3 depth=0|1"),
        ("err>0.5tol err>1e-6 time>2", "err>0.5tol err>1e-6 time>2"),
        ("!class:Conv2d -attn", "-class:Conv2d -attn"),
        ("conv | class:Linear status:direct", "conv | class:Linear status:direct"),
        ("conv|linear \"a b\"", "conv|linear \"a b\""),
        ("note:\"in two words\" note:any mark:none", "note:\"in two words\" note:any mark:none"),
        ("mark:\"any\"", "mark:\"any\""),
        ("dtype:bf16 dtype:torch.float16 dtype:half", "dtype:bfloat16 dtype:float16 dtype:float16"),
        ("evidence:inferred assumed:yes stale:no", "evidence:inferred assumed:yes stale:no"),
        ("verdict:bad|none|not-run", "verdict:bad|none|not-run"),
        ("path:layer1.* blocker:item lines>100", "path:layer1.* blocker:item lines>100"),
        ("\"class:x\" \"-x\"", "\"class:x\" \"-x\""),
    ] {
        assert_eq!(parse(text).to_string(), written, "{text}");
        assert_eq!(parse(written), parse(text), "{text}");
    }
}

#[test]
fn mistakes_have_their_column_and_a_guess() {
    assert_eq!(wrong("conv statsu:recipe"), (5..11, "no key is called statsu; did you mean status?".to_owned(), false));
    assert_eq!(wrong("status:recpie").0, 7..13);
    assert!(wrong("status:recpie").1.ends_with("did you mean recipe?"));
    assert!(wrong("-verdict:drifts").1.contains("did you mean drift?"));
    assert_eq!(wrong("größe:3").0, 0..5, "in characters, not in bytes");
    assert_eq!(wrong("class>3").0, 5..6);
    assert!(wrong("class>3").1.contains("class is no number"));
    assert_eq!(wrong("params>big").0, 7..10);
    assert_eq!(wrong("params>1|2").0, 9..10);
    assert!(wrong("params>2tol").1.contains("tolerances are of errors alone"));
    assert!(wrong("assumed:maybe").1.contains("write yes, no"));
    assert!(wrong(":x").1.contains("a key is missing"));
    assert_eq!(
        Filter::parse("a statsu:b").unwrap_err().to_string(),
        "column 3: no key is called statsu; did you mean status?"
    );
    for number in ["inf", "nan", "-1", "1e999", "infinity"] {
        assert!(Filter::parse(&format!("err>{number}")).is_err(), "{number}");
    }
    // What may become right by typing on is told apart.
    for open in ["class:", "-", "note:\"two wo", "a |", "status:rec", "params>", "err>1e-", "class:Conv2d,", "class:[a"]
    {
        assert!(wrong(open).2, "{open}: {:?}", wrong(open));
    }
}

#[test]
fn every_example_and_every_choice_of_the_table_is_read() {
    for key in Key::ALL {
        assert_eq!(Key::from_name(key.name()), Some(key));
        assert!(!key.examples().is_empty() && !key.help().is_empty());
        for example in key.examples() {
            assert_eq!(parse(example).to_string().replace("bfloat16", "bf16"), *example);
        }
        for choice in key.choices() {
            parse(&format!("{}:{choice}", key.name()));
        }
    }
}

#[test]
fn the_documentation_is_the_table() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/filter.md");
    if std::env::var_os("T2M_WRITE_DOCS").is_some() {
        std::fs::write(&path, keys::page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(written, keys::page(), "T2M_WRITE_DOCS=1 writes docs/filter.md anew");
    for line in keys::page().lines().filter_map(|line| line.strip_prefix("    ")) {
        parse(line);
    }
}

#[test]
fn a_tick_writes_its_term() {
    let mut filter = parse("class:Conv2d -status:custom");
    filter.toggle(Tick::Status(Status::Recipe));
    filter.toggle(Tick::Status(Status::Direct));
    filter.toggle(Tick::Bad);
    assert_eq!(filter.to_string(), "class:Conv2d -status:custom status:recipe|direct verdict:bad");
    assert!(filter.is_ticked(Tick::Status(Status::Direct)) && !filter.is_ticked(Tick::Status(Status::Custom)));
    assert_eq!(filter.without(Tick::Bad).to_string(), "class:Conv2d -status:custom status:recipe|direct");
    filter.toggle(Tick::Status(Status::Recipe));
    filter.toggle(Tick::Status(Status::Direct));
    filter.toggle(Tick::Bad);
    assert_eq!(filter.to_string(), "class:Conv2d -status:custom");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9_.*?]{1,6}", "\\PC{0,5}", Just("any".to_owned()), Just("-x".to_owned())]
}

fn any_test() -> impl Strategy<Value = String> {
    let numbers = Key::ALL.into_iter().filter(|key| key.kind() == Kind::Number).collect::<Vec<_>>();
    let texts = Key::ALL.into_iter().filter(|key| key.kind() == Kind::Text).collect::<Vec<_>>();
    let choices =
        Key::ALL.into_iter().filter(|key| matches!(key.kind(), Kind::Choice | Kind::Flag)).collect::<Vec<_>>();
    let sign = prop::sample::select(vec!["=", "<", ">", "<=", ">=", ":", ":>"]);
    prop_oneof![
        (prop::sample::select(numbers), sign, any::<f64>()).prop_map(|(key, sign, number)| {
            let unit = if key == Key::Err && number > 1.0 { "tol" } else { "" };
            format!("{}{sign}{}{unit}", key.name(), number.abs())
        }),
        (prop::sample::select(texts), text()).prop_map(|(key, text)| format!("{}:{}", key.name(), quoted(&text))),
        (prop::sample::select(choices), any::<prop::sample::Index>()).prop_map(|(key, at)| {
            let choices = key.choices();
            format!("{}:{}", key.name(), choices[at.index(choices.len())])
        }),
        text().prop_map(|word| quoted(&word)),
        "[a-zA-Z0-9_.*?]{1,6}".prop_map(|name| format!("class:{name}|path.{name}")),
    ]
}

proptest! {
    #[test]
    fn nothing_that_is_typed_makes_the_parser_panic(text in "\\PC{0,40}", cursor in 0usize..50) {
        match Filter::parse(&text) {
            Ok(filter) => prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter.clone())),
            Err(error) => prop_assert!(error.at.start <= text.chars().count() && error.at.start <= error.at.end),
        }
        complete::Values::default().complete(&text, cursor);
    }

    #[test]
    fn nearly_a_filter_makes_it_panic_neither(text in "([!-]?(class|status|err|params|note|x)?[:<>=]{0,2}[\"|, a1.M-]{0,4} ?){0,4}") {
        if let Ok(filter) = Filter::parse(&text) {
            prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter.clone()));
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same(terms in prop::collection::vec((any::<bool>(), any::<bool>(), any_test()), 0..5)) {
        let terms: Vec<String> = terms.into_iter().enumerate().map(|(at, (not, join, test))| {
            format!("{}{}{test}", if join && at > 0 { "| " } else { "" }, if not { "-" } else { "" })
        }).collect();
        let text = terms.join(" ");
        if let Ok(filter) = Filter::parse(&text) {
            prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter.clone()), "{}", filter);
        } else {
            prop_assert!(text.contains("e3") || text.contains("inf") || text.contains("NaN") || text.contains(['[', '{', '*', '?']), "{}", text);
        }
    }
}

#[test]
fn every_choice_is_read_and_written_as_it_is() {
    for key in Key::ALL {
        for choice in key.choices() {
            let term = format!("{}:{choice}", key.name());
            assert_eq!(parse(&term).to_string(), term);
            // In quotes the words that are none of a list are text.
            if key.kind() == Kind::Text {
                let quoted = format!("{}:\"{choice}\"", key.name());
                assert_eq!(parse(&quoted).to_string(), quoted);
                assert_ne!(parse(&quoted), parse(&term));
            }
        }
    }
}
