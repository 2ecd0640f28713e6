//! What a write does to the other values in the same storage.

use super::super::alias::scattered;
use super::super::judge::Inherited;
use super::super::plan::Form;
use super::super::special::Special;
use super::{Keys, Live, Lockstep, Stop, Values};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::graph::{Node, ValueId};
use t2m_engine::client::Step;
use t2m_engine::graph::{Call, Run};

impl Lockstep<'_> {
    /// A node wrote into its first argument: every value in the same storage is another now.
    pub(in crate::graph) fn written(&mut self, node: &Node, values: &mut Values) -> Result<(), Stop> {
        let target = node.arguments.first().and_then(|(_, argument)| argument.values().first().copied());
        let (Some(target), Some(Some(output))) = (target, node.outputs.first()) else { return Ok(()) };
        let (Some(before), Some(result)) = (values.get(&target).cloned(), values.get(output).cloned()) else {
            return Ok(());
        };
        let Some(place) = before.place.clone() else { return Ok(()) };
        let others: Vec<ValueId> = values
            .iter()
            .filter(|(id, live)| {
                **id != target && **id != *output && live.place.as_ref().is_some_and(|own| own.storage == place.storage)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in others {
            let Some(live) = values.get(&id).cloned() else { continue };
            let data = self.fetch(live.keys.torch)?;
            // It may die while it makes the value anew.
            let (copy, start) = (self.key(), self.starts);
            let special = Special::of(&data);
            self.pending.push((copy, data));
            let own = self.rewritten(&live, &before, &result)?.unwrap_or(copy);
            if let Some(changed) = values.get_mut(&id) {
                (changed.keys.copy, changed.keys.own, changed.special) = (copy, own, special);
                changed.start = start;
                changed.nan = changed.nan.take().or_else(|| result.nan.clone()).filter(|_| special.nan);
                changed.inherited = Inherited::all([live.inherited, result.inherited].into_iter());
            }
            self.drop_mlx(live.keys, values);
        }
        if let Some(changed) = values.get_mut(&target) {
            let old = changed.keys;
            (changed.keys.copy, changed.keys.own, changed.special) =
                (result.keys.copy, result.keys.own, result.special);
            (changed.inherited, changed.start) = (result.inherited, result.start);
            (changed.nan, changed.half) = (result.nan, result.half);
            self.drop_mlx(old, values);
        }
        Ok(())
    }

    pub(super) fn drop_mlx(&mut self, keys: Keys, values: &Values) {
        let is_held = |key: u64| values.values().any(|live| [live.keys.copy, live.keys.own].contains(&key));
        let drops = [keys.copy, keys.own].into_iter().filter(|key| !is_held(*key) && !self.outside.contains(key));
        let drops: Vec<u64> = drops.collect();
        self.pending.retain(|(key, _)| !drops.contains(key));
        self.mlx_drops.extend(drops);
    }

    /// MLX's own value of a view, after `written` was written where `target` was. `None` where it has none.
    fn rewritten(&mut self, view: &Live, target: &Live, written: &Live) -> Result<Option<u64>, Stop> {
        let (Some(view_place), Some(target_place)) = (&view.place, &target.place) else { return Ok(None) };
        let (Form::Tensor { shape: view_shape, .. }, Form::Tensor { shape: target_shape, .. }) =
            (&view.form, &target.form)
        else {
            return Ok(None);
        };
        // What a program held that is gone is not made anew from it.
        if view.start < self.starts || written.start < self.starts {
            return Ok(None);
        }
        let Some(program) = scattered((view_shape, view_place), (target_shape, target_place)) else { return Ok(None) };
        let own = self.key();
        let pending = std::mem::take(&mut self.pending);
        let run = Run {
            compute: Dtype::Float32,
            takes: vec![view.keys.own, written.keys.own],
            gives: vec![own],
            returns: false,
        };
        let step = Step {
            values: pending.iter().map(|(key, data)| (*key, data)).collect(),
            call: Call::Program { program, dtypes: vec![None] },
            runs: vec![run],
            drops: std::mem::take(&mut self.mlx_drops),
        };
        let ran = match self.mlx.start_step(self.generation, &step).and_then(|()| self.mlx.finish_step()) {
            Ok(ran) => ran,
            Err(error) => {
                self.mlx_gone(error)?;
                return Ok(None);
            }
        };
        Ok(ran.first().is_some_and(|ran| ran.results.is_ok()).then_some(own))
    }
}
