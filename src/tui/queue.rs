//! A thread that does one job after the other and reports: behind conversions and the statistics of tensors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;

/// The thread, and the jobs that wait for it. Dropping it stops the job at hand and waits for its end.
#[derive(Debug)]
pub(super) struct Queue<J> {
    jobs: Sender<J>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<J: Send + 'static> Queue<J> {
    /// Start it. `work` does a job, looks whether it is to stop, and returns the last that is told of it.
    pub fn start<E: Send + 'static>(
        events: Sender<E>,
        work: impl Fn(J, &Sender<E>, &AtomicBool) -> E + Send + 'static,
    ) -> Queue<J> {
        let (jobs, waiting) = crossbeam_channel::unbounded::<J>();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for job in waiting {
                if events.send(work(job, &events, &stopped)).is_err() {
                    return;
                }
            }
        });
        Queue { jobs, stop, thread: Some(thread) }
    }

    /// Ask for a job that takes no notice of a stop.
    pub fn ask(&self, job: J) {
        // The thread ends with this handle, so there is somebody to receive it.
        let _ = self.jobs.send(job);
    }

    /// Ask for a job that goes on until it is stopped.
    pub fn begin(&self, job: J) {
        self.stop.store(false, Ordering::SeqCst);
        self.ask(job);
    }

    /// Stop the job at hand.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

impl<J> Drop for Queue<J> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.jobs = crossbeam_channel::unbounded().0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
