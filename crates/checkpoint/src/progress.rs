//! How far the reading of a checkpoint is, for somebody who waits for it.
//!
//! The thread that reads is told whom to tell: no reader need hand it on, and who does not ask pays a comparison.

use std::cell::RefCell;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Bytes of a pickle.
    Bytes,
    /// Tensors that a pickle describes.
    Tensors,
    /// Files of a checkpoint in several.
    Files,
    /// Modules of the model.
    Modules,
}

/// So much of something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What.
    pub of: Of,
    /// How much of it.
    pub done: u64,
    /// Of how much.
    pub total: u64,
}

type Listener = Box<dyn Fn(Progress)>;

thread_local! {
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// How much is done between two words: some milliseconds of work.
pub const STEP: u64 = 1 << 14;

/// Do some work; how far it is, is told from this thread to `listen`.
pub fn told<T>(listen: impl Fn(Progress) + 'static, work: impl FnOnce() -> T) -> T {
    let before = LISTENER.replace(Some(Box::new(listen)));
    let done = work();
    LISTENER.replace(before);
    done
}

/// Tell whoever waits.
pub fn tell(of: Of, done: u64, total: u64) {
    LISTENER.with_borrow(|listener| {
        if let Some(listen) = listener {
            listen(Progress { of, done, total });
        }
    });
}

/// The same of a count that goes up one by one: each so many of it.
pub fn step(of: Of, done: u64, total: u64) {
    if done.is_multiple_of(STEP) {
        tell(of, done, total);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn who_listens_hears_what_is_told_meanwhile() {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let listener = Rc::clone(&heard);
        tell(Of::Bytes, 1, 2);
        let done = told(
            move |progress| listener.borrow_mut().push(progress),
            || {
                (0..=STEP).for_each(|done| step(Of::Tensors, done, STEP));
                tell(Of::Files, 2, 3);
                "done"
            },
        );
        tell(Of::Bytes, 2, 2);
        let progress = |of, done, total| Progress { of, done, total };
        let tensors = [progress(Of::Tensors, 0, STEP), progress(Of::Tensors, STEP, STEP)];
        assert_eq!(done, "done");
        assert_eq!(*heard.borrow(), [&tensors[..], &[progress(Of::Files, 2, 3)]].concat());
    }
}
