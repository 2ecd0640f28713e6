//! Torch's overloads, as graphs have them.

use std::fmt::Write;

use super::{Matrix, code_cell, cuda_cells, distances, error, share};
use crate::certify::record::Measured;
use crate::registry::aten::{Given, Row, Table};

pub(super) fn aten(out: &mut String, matrix: &Matrix<'_>) {
    let measured = &matrix.measured.aten;
    let mut rows: Vec<&Row> = Table::built_in().rows().collect();
    rows.sort_by(|a, b| a.schema.name.cmp(&b.schema.name));
    let run = |row: &&&Row| measured.get(&row.schema.name).is_some_and(|record| record.float32.is_some());
    let _ = write!(
        out,
        "\n## Overloads in graphs\n\n{} overloads of torch's ops have a row, {} of them run in both engines on examples of their own; \
         {} have nothing to compare, as their numbers are drawn at random or not set, and {} are refused with a reason. An op that \
         writes in place has the row of the one that does not.\n\n\
         | Overload | Examples | f32 error | of tolerance | torch / mlx vs f64 | To be said | CUDA f32 error | CUDA of tolerance | TF32 |\n|---|---|---|---|---|---|---|---|---|\n",
        rows.len(),
        rows.iter().filter(run).count(),
        rows.iter().filter(|row| row.given.is_some()).count(),
        rows.iter().filter(|row| row.refusal().is_some()).count(),
    );
    for row in rows {
        let record = measured.get(&row.schema.name);
        let on = |other: &Measured| other.aten.get(&row.schema.name).and_then(|record| record.float32.clone());
        let figures = record.and_then(|record| record.float32.as_ref());
        let examples = record.map_or(0, |record| record.examples);
        let said = match (row.given, row.refusal(), record.and_then(|record| record.refused.as_deref())) {
            (Some(Given::Drawn), ..) => "drawn at random: MLX is given torch's numbers".to_owned(),
            (Some(Given::Unset), ..) => "not set: MLX is given torch's numbers".to_owned(),
            (_, Some(reason), _) => format!("refused: {reason}"),
            (.., Some(reason)) => format!("refused in some calls: {reason}"),
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            code_cell(&row.schema.name),
            if examples == 0 { "–".to_owned() } else { examples.to_string() },
            error(figures),
            share(figures),
            distances(figures),
            said.replace('|', "\\|"),
            cuda_cells(on(&matrix.cuda).as_ref(), on(&matrix.by_default).as_ref()),
        );
    }
}
