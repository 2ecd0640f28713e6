//! What is said of a tensor's numbers is what NumPy says of them, whatever their type and however they lie in the file.
//! `tests/fixtures/statistics/make.py` makes the files and asks NumPy.

use std::path::Path;

use serde_json::Value;
use t2m_checkpoint::Checkpoint;
use t2m_tui::statistics::of_tensor;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/statistics");

#[test]
fn numbers_are_numpys() {
    let expected = std::fs::read_to_string(Path::new(FOLDER).join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let mut compared = 0;
    for (file, tensors) in expected.as_object().unwrap() {
        let checkpoint = Checkpoint::open(&Path::new(FOLDER).join(file)).unwrap();
        for (name, wanted) in tensors.as_object().unwrap() {
            let id = checkpoint.tensors.iter().position(|tensor| tensor.name == name.as_str()).unwrap();
            let found = of_tensor(&checkpoint, id, |_| true).unwrap().unwrap();
            let whole = |key: &str| wanted[key].as_u64().unwrap();
            let number = |key: &str| wanted[key].as_f64().unwrap();
            let counts = ["count", "nan", "infinite", "minus_infinite", "zeros"].map(whole);
            assert_eq!(
                [found.count, found.nan, found.infinite, found.minus_infinite, found.zeros],
                counts,
                "{file} {name}"
            );
            assert_eq!(found.range, Some((number("min"), number("max"))), "{file} {name}");
            let scale = number("max").abs().max(number("min").abs());
            for (own, key) in [(found.mean(), "mean"), (found.deviation(), "std")] {
                let apart = (own.unwrap() - number(key)).abs();
                assert!(apart <= 1e-14 * scale, "{file} {name}: {key} is {own:?} and not {}", number(key));
            }
            let bins = &wanted["histogram"];
            let [start, width] = ["start", "width"].map(|key| bins[key].as_f64().unwrap());
            assert_eq!((found.histogram.start(), found.histogram.width()), (start, width), "{file} {name}");
            let counts: Vec<u64> = bins["counts"].as_array().unwrap().iter().map(|at| at.as_u64().unwrap()).collect();
            assert_eq!(found.histogram.counts(), counts, "{file} {name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 19);
}
