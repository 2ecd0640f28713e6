//! Two pieces of work at once.

use std::thread;

/// What both give: `other` is done on a thread of its own, if the system has one to give, `own` on this one.
pub(crate) fn both<A: Send, B>(other: impl Fn() -> A + Sync, own: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let Ok(beside) = thread::Builder::new().spawn_scoped(scope, &other) else { return (other(), own()) };
        let own = own();
        // A thread that panicked would do so again, where it is seen.
        (beside.join().unwrap_or_else(|_| other()), own)
    })
}

#[cfg(test)]
mod tests {
    use super::both;

    #[test]
    fn both_are_done() {
        assert_eq!(both(|| 1, || "two"), (1, "two"));
    }
}
