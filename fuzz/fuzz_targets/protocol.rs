//! Frames of the engine protocol, as an engine reads requests and the program reads replies.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::graph::{Ran, RanHeader};
use t2m_engine::memory::Memory;
use t2m_engine::protocol::{Reply, Request, read_frame_in};
use t2m_tui_fuzz::within_bound;

fuzz_target!(|data: &[u8]| {
    // What lies in memory are the bytes themselves.
    let memory = Memory::new().expect("there is memory");
    let whole = TensorData { dtype: Dtype::UInt8, shape: vec![data.len()], bytes: data.to_vec() };
    memory.put(&[&whole]).expect("there is room");
    within_bound(data.len(), || {
        let mut requests = Cursor::new(data);
        while let Ok(Some((request, payload))) = read_frame_in::<Request>(&mut requests) {
            match request {
                Request::Load { tensors, .. } | Request::Step { tensors, .. } => drop(payload.tensors(&tensors, Some(&memory))),
                Request::Run { inputs, .. } => drop(payload.tensors(&inputs, Some(&memory))),
                Request::Hello { .. } | Request::Cancel { .. } => {}
            }
        }
        let mut replies = Cursor::new(data);
        while let Ok(Some((reply, payload))) = read_frame_in::<Reply>(&mut replies) {
            match reply {
                Reply::Ran { outputs, .. } => drop(payload.tensors(&outputs, Some(&memory))),
                Reply::Stepped { runs, .. } => {
                    let sent: Vec<_> = runs.iter().flat_map(RanHeader::sent).cloned().collect();
                    if let Ok(tensors) = payload.tensors(&sent, Some(&memory)) {
                        let mut tensors = tensors.into_iter();
                        runs.into_iter().for_each(|run| drop(Ran::from_header(run, &mut tensors)));
                    }
                }
                Reply::Hello(_) | Reply::Loaded { .. } | Reply::Failed { .. } => {}
            }
        }
    });
});
