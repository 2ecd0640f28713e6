//! What goes on and takes time: how far it is, how fast, and how long it will take yet.

use std::time::Duration;

use crate::figures;
use t2m_checkpoint::progress::Of;

/// Shortest time after which a rate is told: before that it says nothing.
const SETTLED: Duration = Duration::from_millis(800);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Layers that are measured.
    Layers,
    /// Nodes of the graph.
    Nodes,
    /// Bytes that are written and compared.
    Bytes,
    /// Of the opening, each step by itself: bytes that are read, tensors, files and modules.
    Opening(Of),
}

/// One job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// What it counts.
    pub unit: Unit,
    /// When it began, by the screen's clock.
    pub since: Duration,
    /// How much of it is done.
    pub done: u64,
    /// Of how much; 0 while that is not known.
    pub total: u64,
}

/// A job that has ended, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The job as it was last.
    pub job: Job,
    /// From its beginning to its end.
    pub took: Duration,
}

/// All that go on.
#[derive(Debug, Clone, Default)]
pub struct Jobs {
    /// Layers, the graph and the file, in this order.
    going: [Option<Job>; 3],
}

impl Unit {
    const ALL: [Unit; 3] = [Unit::Layers, Unit::Nodes, Unit::Bytes];

    fn is_of_bytes(self) -> bool {
        matches!(self, Unit::Bytes | Unit::Opening(Of::Bytes))
    }

    fn verb(self) -> &'static str {
        match self {
            Unit::Layers => "running",
            Unit::Nodes => "graph",
            Unit::Bytes => "writing",
            Unit::Opening(Of::Bytes) => "reading",
            Unit::Opening(Of::Tensors) => "tensors",
            Unit::Opening(Of::Files) => "files",
            Unit::Opening(Of::Modules) => "modules",
        }
    }
}

impl Job {
    /// Units in a second so far; `None` while that says nothing.
    pub fn rate(&self, now: Duration) -> Option<f64> {
        let took = now.saturating_sub(self.since);
        (took >= SETTLED && self.done > 0).then(|| self.done as f64 / took.as_secs_f64())
    }

    /// How long it takes yet at that rate.
    pub fn left(&self, now: Duration) -> Option<Duration> {
        let left = self.total.checked_sub(self.done).filter(|_| self.total > 0)? as f64 / self.rate(now)?;
        Duration::try_from_secs_f64(left).ok()
    }

    /// `12/54`, `34 %`
    fn count(&self) -> String {
        match (self.unit.is_of_bytes(), self.total) {
            (false, _) => format!("{}/{}", self.done, self.total),
            (true, 0) => "0 %".to_owned(),
            (true, _) => format!("{} %", figures::percent(figures::share(self.done, self.total))),
        }
    }

    /// In words, from all of them to what must not be missing: `running 12/54 · 8.2/s · 5 s left`, `12/54 5 s`, `12/54`.
    pub fn words(&self, now: Duration) -> [String; 3] {
        let rate = self.rate(now).map_or(String::new(), |rate| match self.unit {
            unit if unit.is_of_bytes() => format!(" · {}/s", figures::bytes(rate as u64)),
            _ if rate >= 10.0 => format!(" · {rate:.0}/s"),
            _ => format!(" · {rate:.1}/s"),
        });
        let left = self.left(now).map(figures::time);
        let long = left.as_ref().map_or(String::new(), |left| format!(" · {left} left"));
        let short = left.map_or(String::new(), |left| format!(" {left}"));
        let count = self.count();
        [format!("{} {count}{rate}{long}", self.unit.verb()), format!("{count}{short}"), count]
    }
}

impl Jobs {
    /// Those that go on.
    pub fn going(&self) -> impl Iterator<Item = &Job> {
        self.going.iter().flatten()
    }

    /// How much is left of a kind now, and how much there is of it altogether where that is known; `None` where it does not
    /// go on. Returns the job if that ended it.
    pub fn note(&mut self, unit: Unit, left: Option<(u64, Option<u64>)>, now: Duration) -> Option<Ended> {
        let at = Unit::ALL.iter().position(|of| *of == unit)?;
        let slot = self.going.get_mut(at)?;
        let Some((left, all)) = left else {
            return slot.take().map(|job| Ended { job, took: now.saturating_sub(job.since) });
        };
        let job = slot.get_or_insert(Job { unit, since: now, done: 0, total: left });
        // What is asked for while it goes on comes on top.
        let total = all.unwrap_or_else(|| job.total.max(job.done + left));
        *job = Job { done: total.saturating_sub(left), total, ..*job };
        None
    }

    /// What was given up has no end to be told of.
    pub fn forget(&mut self, unit: Unit) {
        if let Some(slot) = Unit::ALL.iter().position(|of| *of == unit).and_then(|at| self.going.get_mut(at)) {
            *slot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rate_and_time_left_follow_from_what_is_done() {
        let mut jobs = Jobs::default();
        assert_eq!(jobs.note(Unit::Layers, Some((50, None)), at(10)), None);
        assert_eq!(jobs.going().next().unwrap().words(at(10)), ["running 0/50", "0/50", "0/50"]);
        jobs.note(Unit::Layers, Some((40, None)), at(15));
        let words = jobs.going().next().unwrap().words(at(15));
        assert_eq!(words, ["running 10/50 · 2.0/s · 20 s left", "10/50 20 s", "10/50"]);
        // More is asked for.
        jobs.note(Unit::Layers, Some((60, None)), at(15));
        assert_eq!(jobs.going().next().unwrap().total, 70);
        let ended = jobs.note(Unit::Layers, None, at(30)).unwrap();
        assert_eq!((ended.took, ended.job.done), (at(20), 10));
        assert_eq!(jobs.note(Unit::Layers, None, at(31)), None);
    }

    #[test]
    fn bytes_are_told_as_a_share() {
        let mut jobs = Jobs::default();
        jobs.note(Unit::Bytes, Some((0, Some(0))), at(0));
        assert_eq!(jobs.going().next().unwrap().words(at(9))[0], "writing 0 %");
        jobs.note(Unit::Bytes, Some((3 << 30, Some(4 << 30))), at(2));
        let words = jobs.going().next().unwrap().words(at(2));
        assert_eq!(words, ["writing 25 % · 512.0 MiB/s · 6 s left", "25 % 6 s", "25 %"]);
        jobs.forget(Unit::Bytes);
        assert_eq!(jobs.going().count(), 0);
    }
}
