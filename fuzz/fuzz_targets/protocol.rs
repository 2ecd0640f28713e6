//! Frames of the engine protocol, as an engine reads requests and the program reads replies.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use t2m_engine::protocol::{Reply, Request, read_frame, split_payload};
use t2m_tui_fuzz::within_bound;

fuzz_target!(|data: &[u8]| {
    within_bound(data.len(), || {
        let mut requests = Cursor::new(data);
        while let Ok(Some((request, payload))) = read_frame::<Request>(&mut requests) {
            match request {
                Request::Load { tensors, .. } => drop(split_payload(&tensors, payload)),
                Request::Run { inputs, .. } => drop(split_payload(&inputs, payload)),
                Request::Hello { .. } | Request::Cancel { .. } => {}
            }
        }
        let mut replies = Cursor::new(data);
        while let Ok(Some((reply, payload))) = read_frame::<Reply>(&mut replies) {
            if let Reply::Ran { outputs, .. } = reply {
                let _ = split_payload(&outputs, payload);
            }
        }
    });
});
