//! What is said of a whole model in a few words. Three facts, never one: which weights can be moved, which layers are known in
//! full and convert, and what was measured, which whoever runs them adds. None of them says that the forwards are ported.

use super::{Blockers, Forwards, Severities};
use crate::figures::percent;
use crate::model::Model;
use crate::triage::{Status, Triage};

/// The facts of a model, but for what was measured, which changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headline {
    /// Share of the parameters whose move to MLX is known, 0 to 1; `None` where there are none.
    pub weights: Option<f64>,
    /// Share of the layers whose class and hyper-parameters are all known, and which convert; `None` where there are none.
    pub behaviour: Option<f64>,
    /// Layers, each counted that does not convert.
    pub layers: usize,
    /// Layers that are their own reference, the identity on both sides: there is nothing to measure.
    pub by_definition: usize,
    /// Layers that no run can measure: nothing is known of them that both engines could compute.
    pub unmeasurable: usize,
    /// Layers that do not convert, by status.
    pub others: Vec<(Status, usize)>,
    /// What is left to port.
    pub forwards: Forwards,
    /// Places in source that stand in the way.
    pub blockers: Severities,
}

impl Headline {
    /// Those of a model; `weights` takes the whole checkpoint to know.
    pub fn of(model: &Model, triage: &Triage, weights: Option<f64>) -> Headline {
        let mut headline = Headline {
            weights,
            forwards: Forwards::of(model, triage),
            blockers: Blockers::of(model, triage).severities(),
            ..Headline::default()
        };
        let mut counts = [0; Status::ALL.len()];
        for id in triage.layers(model) {
            let triaged = &triage.modules[id];
            headline.layers += 1;
            headline.by_definition += usize::from(triaged.is_by_definition());
            headline.unmeasurable += usize::from(!triaged.can_run());
            if !triaged.status.converts() {
                counts[triaged.status as usize] += 1;
            }
        }
        headline.others = Status::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect();
        headline.behaviour = (headline.layers > 0).then_some(triage.coverage.layers);
        headline
    }

    /// Layers that a run has to measure, and can.
    pub fn to_measure(&self) -> usize {
        self.layers.saturating_sub(self.by_definition + self.unmeasurable)
    }

    /// `100 % of the parameters have a known move to MLX`
    pub fn weights_words(&self) -> String {
        match self.weights {
            Some(_) => format!("{} of the parameters have a known move to MLX", percent_or_dash(self.weights)),
            None => "–, as there are no parameters".to_owned(),
        }
    }

    /// `94 % of the layers, 50 of 53, are known in full and convert; 1 incomplete, 2 unknown`
    pub fn behaviour_words(&self) -> String {
        let share = percent_or_dash(self.behaviour);
        if self.layers == 0 {
            return "–, as there are no layers".to_owned();
        }
        let others: usize = self.others.iter().map(|(_, count)| count).sum();
        let known = self.layers - others;
        let mut words = format!("{share} of the layers, {known} of {}, are known in full and convert", self.layers);
        let mut asides: Vec<String> =
            self.others.iter().map(|(status, count)| format!("{count} {}", status.name())).collect();
        if self.by_definition > 0 {
            asides.push(format!("{} exact by definition", self.by_definition));
        }
        if !asides.is_empty() {
            words += &format!("; {}", asides.join(", "));
        }
        words
    }

    /// What is left to port, by name.
    pub fn forwards_words(&self) -> String {
        self.forwards.listed().unwrap_or_else(|| "no forward: every module is a layer or a container".to_owned())
    }

    /// What stands in the way, and how much source was not there to be looked through.
    pub fn blockers_words(&self) -> String {
        let (mut words, unread) = (self.blockers.words(), self.forwards.unread());
        if self.blockers == Severities::default() && !self.is_all_read() {
            words = "none known".to_owned();
        }
        if unread > 0 {
            words += &match (unread, self.forwards.to_port()) {
                (1, 1) => "; its source was not found".to_owned(),
                (unread, all) if unread == all => format!("; the source of these {all} classes was not found"),
                (unread, all) => format!("; the source of {unread} of {all} classes was not found"),
            };
        }
        words
    }

    /// Whether the source of every forward to port was looked through: without it none is known to be in the way.
    pub fn is_all_read(&self) -> bool {
        self.forwards.unread() == 0 && self.forwards.unsaid == 0
    }
}

/// A share as `99 %`; a dash for a share of nothing.
pub fn percent_or_dash(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{} %", percent(share)))
}
