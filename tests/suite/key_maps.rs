//! Key maps are somebody else's text: whatever stands in one, the way back refuses it with a sentence or gives what it foretold.

use std::path::Path;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use t2m_checkpoint::{Bytes, Checkpoint};
use t2m_tui::export::reverse::Reversal;
use t2m_tui::export::state_dict::key_map;
use t2m_tui::export::writer::Source;

/// `b` is tied to `t`.
const TIED: &str = r#"{"t":"b"}"#;
/// Maps that are tried, each a sound one with a few changes.
const MAPS: usize = 20_000;

/// `a` [2, 3], `b` [6], `c` [2, 1, 2, 3] of float32, with the tied tensors that the metadata is to name.
fn mlx(tied: &str) -> Checkpoint {
    let header = json!({
        "__metadata__": {"format": "mlx", "tied": tied},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F32", "shape": [6], "data_offsets": [24, 48]},
        "c": {"dtype": "F32", "shape": [2, 1, 2, 3], "data_offsets": [48, 96]},
    });
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend((0..24).flat_map(|at| (at as f32).to_le_bytes()));
    Checkpoint::from_bytes(Path::new("mlx.safetensors"), Bytes::Owned(bytes)).unwrap()
}

fn row(from: &[&str], shape: &[u64], from_shapes: &[&[u64]], fold: Value, layout: Value) -> Value {
    json!({"from": from, "rule": "x", "shape": shape, "from_shapes": from_shapes, "dtype": "float32", "fold": fold,
        "layout": layout, "known": "plan"})
}

/// Sound maps with every fold and layout.
fn sound() -> Vec<String> {
    let (a, b, c): (&[u64], &[u64], &[u64]) = (&[2, 3], &[6], &[2, 1, 2, 3]);
    let keep = || json!("keep");
    let axes = |axes: &[u64], groups: u64| json!({"axes": {"axes": axes, "groups": groups}});
    let maps = [
        json!({
            "a": row(&["a"], a, &[a], json!("one"), keep()),
            "b": row(&["b"], b, &[a], json!("one"), json!("flatten")),
            "c": row(&["c"], c, &[&[2, 3, 1, 2]], json!("one"), axes(&[0, 2, 3, 1], 1)),
        }),
        json!({
            "a": row(&["a"], a, &[&[2, 3]], json!({"part": {"index": 0, "of": 1}}), keep()),
            "b": row(&["p", "q"], b, &[b, b], json!("sum"), keep()),
            "c": row(&["c"], c, &[&[2, 2, 1, 3]], json!("one"), axes(&[0, 2, 1, 3], 2)),
        }),
        json!({
            "a": row(&["g", "v"], a, &[&[2, 1], a], json!({"weight_norm": {"dim": 0}}), keep()),
            "b": row(&["i", "h"], b, &[b, b], json!("gru_bias"), keep()),
            "c": row(&["c"], c, &[c], json!("one"), keep()),
        }),
    ];
    maps.iter().map(Value::to_string).collect()
}

/// One change: a number, a name, a byte, or a run that is missing or there twice.
fn change(text: &mut Vec<u8>, random: &mut impl Rng) {
    let digits: Vec<usize> = (0..text.len()).filter(|&at| text[at].is_ascii_digit()).collect();
    match random.random_range(0..6) {
        0..3 if !digits.is_empty() => {
            let numbers = ["0", "1", "2", "3", "7", "4294967296", "9223372036854775807", "18446744073709551615", "-1"];
            let at = *digits.choose(random).unwrap();
            text.splice(at..=at, numbers.choose(random).unwrap().bytes());
        }
        3 => {
            let words = [
                ("\"a\"", "\"b\""),
                ("\"one\"", "\"sum\""),
                ("\"one\"", "{\"offset\":1e308}"),
                ("\"one\"", "{\"zeros\":[9]}"),
                ("\"one\"", "{\"standardised\":{\"eps\":0,\"scale\":1}}"),
                ("\"keep\"", "\"flatten\""),
                ("\"float32\"", "\"complex64\""),
                ("[\"c\"]", "[]"),
                ("[\"c\"]", "[\"c\",\"a\",\"b\"]"),
                ("0,2,3,1", "0,0,9,1"),
                ("0,2,3,1", ""),
            ];
            let (old, new) = words.choose(random).unwrap();
            let changed = String::from_utf8_lossy(text).replacen(old, new, 1);
            *text = changed.into_bytes();
        }
        4 => {
            let at = random.random_range(0..text.len());
            text[at] = random.random();
        }
        _ => {
            let from = random.random_range(0..text.len());
            let run = text[from..(from + random.random_range(1..20)).min(text.len())].to_vec();
            if random.random_bool(0.5) {
                text.drain(from..from + run.len());
            } else {
                text.splice(from..from, run);
            }
        }
    }
}

#[test]
fn tied_tensors_that_cannot_be_read_are_an_error_with_the_way_out() {
    let map = key_map::parse(Path::new("map.json"), sound()[0].as_bytes()).unwrap();
    assert_eq!(Reversal::by_map(&mlx(TIED), &map).unwrap().count(), 4);
    for tied in ["", "{\"t\":", "[1]", "{\"t\":1}"] {
        let error = Reversal::by_map(&mlx(tied), &map).unwrap_err().to_string();
        assert!(error.contains("`tied` in the MLX file's metadata") && error.contains("remove the entry"), "{error}");
    }
}

#[test]
fn a_changed_key_map_is_refused_or_gives_what_it_foretold() {
    let (mlx, sound) = (mlx(TIED), sound());
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let (mut read, mut reversed, mut made) = (0, 0, 0);
    for number in 0..MAPS {
        let mut text = sound[number % sound.len()].clone().into_bytes();
        if number >= sound.len() {
            (0..random.random_range(1..4)).for_each(|_| {
                if !text.is_empty() {
                    change(&mut text, &mut random)
                }
            });
        }
        let map = match key_map::parse(Path::new("map.json"), text.as_slice()) {
            Ok(map) => map,
            Err(error) => {
                assert!(error.to_string().starts_with("map.json: is no key map") && error.to_string().len() < 1_000);
                continue;
            }
        };
        read += 1;
        let Ok(reversal) = Reversal::by_map(&mlx, &map) else { continue };
        reversed += 1;
        for at in 0..reversal.count() {
            let done = reversal.each(at, &mut |data| {
                assert_eq!(data.shape, reversal.tensor(at).shape);
                assert_eq!(data.bytes.len(), data.shape.iter().product::<usize>() * data.dtype.size());
                Ok(())
            });
            made += usize::from(done.is_ok());
            assert!(done.is_ok() || number >= sound.len(), "{number}: {done:?}");
        }
    }
    println!("{MAPS} maps, {read} of them read, {reversed} fit the file, {made} tensors made");
    assert!(read > MAPS / 10 && reversed > MAPS / 20 && made > MAPS / 10, "{read} {reversed} {made}");
}
