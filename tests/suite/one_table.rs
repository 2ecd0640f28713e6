//! Ops of forwards (ops.toml) and overloads of graphs (aten.toml) say the same of what MLX has.

use std::collections::BTreeMap;

use t2m_tui::registry::Registry;
use t2m_tui::registry::aten::Table;
use t2m_tui::registry::ops::OpStatus;

/// Ops whose result is as large as its values say: a node of a graph knows how large it is, a forward does not.
const SIZES: [&str; 3] = ["x.masked_select", "torch.nonzero", "torch.unique"];

/// Names that an op of a forward may have among the overloads.
fn names(torch: &str) -> Vec<String> {
    let parts: Vec<&str> = torch.split('.').collect();
    match parts.as_slice() {
        ["torch", space, name] => vec![format!("{space}_{name}"), (*name).to_owned()],
        [.., name] => vec![(*name).to_owned()],
        [] => Vec::new(),
    }
}

#[test]
fn an_op_that_a_row_computes_is_not_said_to_be_none() {
    let table = Table::built_in();
    let mut rows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in table.rows().filter(|row| row.given.is_none() && row.refusal().is_none()) {
        let name = row.schema.name.as_str();
        rows.entry(name.split('.').next().unwrap()).or_default().push(name);
    }
    let registry = Registry::load(&[]).unwrap();
    let mut composed = 0;
    for op in registry.ops() {
        let found = names(&op.torch).into_iter().find_map(|name| rows.get(name.as_str()));
        if op.status == OpStatus::None && !SIZES.contains(&op.torch.as_str()) {
            assert_eq!(found, None, "{} is none, and graphs have a row of it", op.torch);
        }
        // What is said to be measured as a row has one that computes.
        let told = op.unmeasured.as_deref().and_then(|words| words.strip_prefix("Measured as the row aten."));
        if let Some(name) = told.and_then(|words| words.split(' ').next()) {
            assert!(found.is_some_and(|found| found.contains(&name)), "{}: {name}", op.torch);
            assert_eq!((op.status, op.mlx.as_str()), (OpStatus::Recipe, "composed"), "{}", op.torch);
            composed += 1;
        }
    }
    assert!(composed >= 40, "{composed}");
}
