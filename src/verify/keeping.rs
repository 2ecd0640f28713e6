//! Results of a run without a screen, put on record as the screen does it.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Request, Results, recorded::basis};
use crate::compare::WeightSource;
use crate::model::ModuleId;
use crate::open::Opened;
use crate::session::{Change, Keeper, Place, Setting, Told};

/// Keeps what is measured. Dropping it writes what is not written yet.
pub struct Record {
    keeper: Option<Keeper>,
    setting: Setting,
    unkept: Arc<Mutex<Option<String>>>,
}

impl Record {
    /// Of a run of the checkpoint, where it is kept at all. Only a run with the checkpoint's own weights is: one with random weights
    /// says less, and would take the place of what is on record.
    pub fn begin(opened: &Opened, place: &Place, request: &Request) -> Record {
        let setting = Setting {
            weights: request.weights,
            dtypes: request.dtypes.clone(),
            trials: request.trials,
            seed: request.seed,
            twins: request.naive,
            tf32: request.tf32,
        };
        let unkept = Arc::new(Mutex::new(None));
        let store = match request.weights {
            WeightSource::Checkpoint => opened.kept.store_at(&opened.checkpoint, place),
            WeightSource::Random => Ok(None),
        };
        let keeper = match store {
            Ok(store) => store.map(|store| {
                let why = Arc::clone(&unkept);
                let hear = move |told: Told| {
                    let told = if let Told::Unkept(reason) = told { Some(reason) } else { None };
                    *why.lock().unwrap_or_else(PoisonError::into_inner) = told;
                };
                Keeper::start(Some(store), opened.kept.session.clone(), hear)
            }),
            Err(reason) => {
                *unkept.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
                None
            }
        };
        Record { keeper, setting, unkept }
    }

    /// A layer has finished.
    pub fn finished(&self, opened: &Opened, results: &mut Results, id: ModuleId) {
        let Some(keeper) = &self.keeper else { return };
        results.note_basis(id, self.setting.clone(), basis(&opened.model, &opened.triage, id));
        if let (Some(kept), Some(module)) = (results.to_keep(id), opened.model.modules.get(id)) {
            keeper.keep(Change::Measured(module.path.to_string(), Box::new(kept)));
        }
    }

    /// Write what is not written yet. Returns why it is not kept, in a sentence, if it is not.
    pub fn end(&mut self) -> Option<String> {
        self.keeper = None;
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
