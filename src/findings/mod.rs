//! What a port has to deal with, found without running anything: layers by status, blockers by place, ops. The screen and
//! every report list and count it from here.

pub mod blockers;
pub mod idioms;
pub mod ops;

use std::collections::{HashMap, HashSet};

pub use blockers::{BlockerPlace, Blockers, Severities};

use crate::model::Model;
use crate::triage::{Coverage, Status, Triage};

/// Number of modules of each status, in the order the screen lists them; those that do not occur are left out.
pub fn status_counts(triage: &Triage) -> Vec<(Status, usize)> {
    let mut counts: HashMap<Status, usize> = HashMap::new();
    triage.modules.iter().for_each(|triaged| *counts.entry(triaged.status).or_default() += 1);
    Status::ALL.iter().filter_map(|status| Some((*status, *counts.get(status)?))).collect()
}

/// Forwards that no layer of MLX replaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forwards {
    /// Modules with a forward of their own.
    pub own: usize,
    /// Their classes: each has one forward, which is ported once.
    pub to_port: usize,
}

impl Forwards {
    /// Those of a model: of modules that are custom, and whose class is known.
    pub fn of(model: &Model, triage: &Triage) -> Forwards {
        let custom = model.modules.iter().zip(&triage.modules).filter(|(_, triaged)| triaged.status == Status::Custom);
        let classes = custom.map(|(module, _)| module.class.as_str()).filter(|class| !class.is_empty());
        let (mut own, mut distinct) = (0, HashSet::new());
        for class in classes {
            own += 1;
            distinct.insert(class);
        }
        Forwards { own, to_port: distinct.len() }
    }

    /// `4 forwards to port, of 25 modules`; `None` where there are none.
    pub fn words(self) -> Option<String> {
        let Forwards { own, to_port } = self;
        let plural = if to_port == 1 { "" } else { "s" };
        let modules = if own > to_port { format!(", of {own} modules") } else { String::new() };
        (to_port > 0).then(|| format!("{to_port} forward{plural} to port{modules}"))
    }
}

/// How much of a model converts; `None` where it has neither layers nor parameters, and a share would be of nothing.
pub fn coverage(model: &Model, triage: &Triage) -> Option<Shares> {
    let Coverage { layers, parameters } = triage.coverage;
    let layers = triage.layers(model).next().map(|_| layers);
    let parameters = (model.parameters() > 0).then_some(parameters);
    (layers.is_some() || parameters.is_some()).then_some(Shares { layers, parameters })
}

/// Shares of a model that convert, from 0 to 1; `None` where the share would be of nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Of the layers.
    pub layers: Option<f64>,
    /// Of the parameters.
    pub parameters: Option<f64>,
}
