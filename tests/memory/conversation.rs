//! The client's side of a conversation, whatever the engine says and when: a wait ends by the clock, an answer is the one
//! that was asked for, and memory is what has arrived.

use crate::common::conversation::{MEMORY, MEMORY_RATIO, play};
use crate::{alone, memory};
use proptest::prelude::*;

/// A step, and the numbers that it may take.
fn script() -> impl Strategy<Value = Vec<u8>> {
    let well = prop_oneof![
        // A load and its answer, a run and its answer.
        Just(vec![0, 0, 0, 100, 3]),
        (1u8..255).prop_map(|bound| vec![0, 0, bound, 100, 3]),
    ];
    let near = (0u8..3, 0u8..3, 0u8..20, any::<[u8; 3]>())
        .prop_map(|(id, generation, length, [kind, claim, cut])| vec![1, id, generation, length, kind, claim, cut]);
    // A run that may give 250 MiB, and an answer that says it will.
    let large = (0u8..3, 0u8..15, any::<u8>()).prop_map(|(generation, size, cut)| {
        vec![0, generation, 250, 100, 1, 1, generation, 254, 0, 0, 0, size, 4, 0, cut]
    });
    let step = prop_oneof![
        1 => large,
        3 => well,
        3 => near,
        1 => (0u8..40).prop_map(|time| vec![5, time]),
        1 => (0u8..40).prop_map(|time| vec![6, time]),
        1 => prop::collection::vec(any::<u8>(), 1..12),
        1 => Just(vec![3]),
    ];
    prop::collection::vec(step, 0..30).prop_map(|steps| [vec![3], steps.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_ends_takes_no_other_answer_and_holds_what_has_arrived(script in script(), raw in prop::collection::vec(any::<u8>(), 0..200)) {
        let _alone = alone();
        for script in [script, raw] {
            let (played, peak) = memory::peak_of(|| play(&script));
            let bound = MEMORY + MEMORY_RATIO * (played.heard + script.len());
            prop_assert!(peak <= bound, "{peak} bytes for {} heard", played.heard);
        }
    }
}

/// What the properties are shown on has to happen: a greeting, a load and a run are answered, one request after the other.
#[test]
fn a_well_engine_is_understood() {
    let _alone = alone();
    let played = play(&[3, 0, 0, 0, 100, 3, 0, 1, 8, 100, 3]);
    assert_eq!((played.answers, played.over), (3, false));
    // The same with the run's time over before it answers, and with the run not wanted any more.
    assert_eq!(play(&[3, 0, 0, 0, 100, 3, 0, 1, 8, 100, 5, 120, 5, 11, 3]).answers, 2);
    let settled = play(&[3, 0, 0, 0, 100, 3, 0, 1, 8, 100, 6, 50, 3]);
    assert_eq!((settled.answers, settled.over), (3, false));
}
