//! Both engines by shared memory and by the pipe: what they give is the same to the bit, and memory is what was used.

use std::time::Duration;

use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::{CancelToken, Client, Output, Step};
use t2m_engine::graph::{Argument, Call, Op, Ran, Run};
use t2m_engine::{ModuleSpec, Side};

fn client(side: Side) -> Client {
    Client::new(side, Duration::from_secs(120), CancelToken::default(), Box::new(|_, _| {}))
}

/// Numbers that look random, and a NaN and an infinity among them.
fn numbers(shape: &[usize], seed: u32) -> TensorData {
    let count = shape.iter().product::<usize>() as u32;
    let mut values: Vec<f32> =
        (0..count).map(|at| (at.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8) as f32 / 8e6 - 1.0).collect();
    if seed == 99 {
        (values[7], values[1000]) = (f32::NAN, f32::INFINITY);
    }
    TensorData::from_f32(shape, &values)
}

/// A layer whose weights, input and output each are more than goes behind a header, and one of a few bytes.
fn layer(client: &mut Client, kind: &str, compute: Dtype) -> Vec<Output> {
    let module = ModuleSpec { kind: kind.to_owned(), ..ModuleSpec::default() };
    let tensors = [("weight".to_owned(), numbers(&[300, 200], 1)), ("bias".to_owned(), numbers(&[300], 2))];
    client.start_load(0, &module, &tensors).unwrap();
    client.finish_load().unwrap();
    let inputs = [numbers(&[50, 200], 3), numbers(&[1, 200], 4), numbers(&[60, 200], 99), numbers(&[50, 200], 3)];
    let run = |input: &TensorData| {
        client.start_run(0, std::slice::from_ref(input), compute).unwrap();
        Output { milliseconds: 0.0, ..client.finish_run().unwrap() }
    };
    inputs.iter().map(run).collect()
}

/// A step of a graph with a value of each kind of size, run twice.
fn step(client: &mut Client) -> Vec<Ran> {
    let values = [numbers(&[50, 200], 5), numbers(&[1, 200], 6)];
    let op = Op {
        name: "aten::add".to_owned(),
        overload: "Tensor".to_owned(),
        arguments: vec![("self".to_owned(), Argument::Value(0)), ("other".to_owned(), Argument::Value(1))],
    };
    let run = |compute| Run { compute, takes: vec![1, 2], gives: vec![3], returns: true };
    let step = Step {
        values: vec![(1, &values[0]), (2, &values[1])],
        call: Call::Op(op),
        runs: vec![run(Dtype::Float32), run(Dtype::Float64)],
        drops: vec![1, 2, 3],
    };
    client.start_step(0, &step).unwrap();
    let ran = client.finish_step().unwrap();
    assert!(ran.iter().all(|ran| ran.results.is_ok()), "{ran:?}");
    // Where a value lies in memory is another place each time.
    ran.into_iter().map(|ran| Ran { milliseconds: 0.0, ..ran }).collect()
}

/// The bytes of what came of a step.
fn bytes(ran: &[Ran]) -> Vec<Vec<u8>> {
    use t2m_engine::graph::Outcome;
    let tensor = |outcome: &Outcome| match outcome {
        Outcome::Tensor { data: Some(data), .. } => data.bytes.clone(),
        other => panic!("{other:?}"),
    };
    ran.iter().flat_map(|ran| ran.results.as_ref().unwrap()).map(tensor).collect()
}

#[test]
fn memory_and_pipe_give_the_same_to_the_bit() {
    for (side, kind, computes) in [
        (Side::Torch, "torch.nn.modules.linear.Linear", &[Dtype::Float32, Dtype::Float64, Dtype::BFloat16][..]),
        (Side::Mlx, "nn.Linear", &[Dtype::Float32, Dtype::BFloat16]),
    ] {
        let (mut shared, mut piped) = (client(side), client(side).by_pipe());
        for &compute in computes {
            let outputs = [layer(&mut shared, kind, compute), layer(&mut piped, kind, compute)];
            let [shared, piped] = outputs.map(|outputs| outputs.into_iter().flat_map(|output| output.tensors));
            for (a, b) in shared.zip(piped) {
                assert_eq!((a.dtype, &a.shape, a.bytes == b.bytes), (b.dtype, &b.shape, true), "{kind} {compute:?}");
            }
        }
        if side == Side::Torch {
            let (shared, piped) = (bytes(&step(&mut shared)), bytes(&step(&mut piped)));
            assert!(shared == piped && shared.iter().map(Vec::len).eq([40_000, 80_000]));
        }
        assert!(shared.shares_memory(), "{kind} took it");
        assert!(!piped.shares_memory());
    }
}
