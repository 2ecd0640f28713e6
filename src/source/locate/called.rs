//! What a forward calls, as it is listed behind it.

use std::collections::HashMap;
use std::sync::Arc;

use super::Found;
use crate::source::listing::{Called, MOST_CALLED};
use crate::source::python::Module;
use crate::source::reach::{Lineage, Reached};
use crate::source::reading::Reading;

/// What the entry calls: it comes first of what is reached.
pub(super) fn of(lineage: &Lineage<'_>, family: &[Found], readings: &[Reading<'_, '_>]) -> Vec<Called> {
    let mut files: HashMap<*const Module, Arc<str>> = HashMap::new();
    let called = readings.iter().skip(1).take(MOST_CALLED).filter_map(|reading| {
        let Reached { owner, module, method } = reading.reached;
        let found = family.iter().find(|found| std::ptr::eq(&*found.module, module))?;
        let file = files.entry(std::ptr::from_ref(module)).or_insert_with(|| found.file.as_str().into());
        let name = module.slice(method.node.child_by_field_name("name")?);
        // A function has no receiver, and its first parameter is no module.
        let is_method = lineage.members.get(owner).is_some_and(|member| {
            std::ptr::eq(member.module, module) && member.class.methods().any(|own| own.node.id() == method.node.id())
        });
        let class = family.get(owner).filter(|_| is_method).map(|found| found.name.as_str());
        Some(Called {
            name: class.map_or_else(|| name.to_owned(), |class| format!("{class}.{name}")).into(),
            file: Arc::clone(file),
            text: Arc::clone(module.text()),
            lines: method.lines(),
            mentions: if is_method { module.mentions(method.node) } else { Vec::new() },
        })
    });
    called.collect()
}
