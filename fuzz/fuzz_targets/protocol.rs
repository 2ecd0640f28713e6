//! Frames of the engine protocol, as an engine reads requests and the program reads replies.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use t2m_engine::graph::{Ran, RanHeader};
use t2m_engine::protocol::{Reply, Request, read_frame, split_payload};
use t2m_tui_fuzz::within_bound;

fuzz_target!(|data: &[u8]| {
    within_bound(data.len(), || {
        let mut requests = Cursor::new(data);
        while let Ok(Some((request, payload))) = read_frame::<Request>(&mut requests) {
            match request {
                Request::Load { tensors, .. } | Request::Step { tensors, .. } => drop(split_payload(&tensors, payload)),
                Request::Run { inputs, .. } => drop(split_payload(&inputs, payload)),
                Request::Hello { .. } | Request::Cancel { .. } => {}
            }
        }
        let mut replies = Cursor::new(data);
        while let Ok(Some((reply, payload))) = read_frame::<Reply>(&mut replies) {
            match reply {
                Reply::Ran { outputs, .. } => drop(split_payload(&outputs, payload)),
                Reply::Stepped { runs, .. } => {
                    let sent: Vec<_> = runs.iter().flat_map(RanHeader::sent).cloned().collect();
                    if let Ok(tensors) = split_payload(&sent, payload) {
                        let mut tensors = tensors.into_iter();
                        runs.into_iter().for_each(|run| drop(Ran::from_header(run, &mut tensors)));
                    }
                }
                Reply::Hello(_) | Reply::Loaded { .. } | Reply::Failed { .. } => {}
            }
        }
    });
});
