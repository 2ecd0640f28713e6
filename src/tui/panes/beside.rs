//! What is run beside the right conversion, and elsewhere: a plain rename, MLX's default, another device.

use ratatui::text::{Line, Span};

use super::live::{against_tolerance, paragraph};
use crate::compare::Verdict;
use crate::tui::action::Effect;
use crate::tui::context::Context;
use crate::tui::glyphs;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::verify::Layer;
use t2m_checkpoint::escape::sentence;
use t2m_engine::{Device, Side};

/// What a plain rename gives, if the run included naive twins.
pub(super) fn twins(theme: &Theme, layer: &Layer, columns: usize, lines: &mut Vec<Line<'static>>) {
    for twin in &layer.twins {
        let error = match &twin.trial {
            Some(trial) => against_tolerance(trial),
            None => twin.reason.clone().unwrap_or_default(),
        };
        lines.push(row(theme, "plain rename", twin.verdict, &error, columns));
        paragraph(lines, &twin.name, columns, theme.muted());
    }
}

/// What MLX gives by default, if the run was of that too: beside the error of the exact run, and what it costs.
pub(super) fn by_default(theme: &Theme, layer: &Layer, columns: usize, lines: &mut Vec<Line<'static>>) {
    let Some(trial) = layer.worst_by_default() else { return };
    let reason = layer.judged().find_map(|trial| trial.tf32.as_ref()?.reason.clone());
    let error = reason.unwrap_or_else(|| against_tolerance(&trial));
    lines.push(row(theme, "MLX's default", trial.verdict, &error, columns));
    let exact = layer.worst().and_then(|trial| trial.max_abs());
    if exact == trial.max_abs() {
        paragraph(lines, "no TF32 in it: the same as the exact run", columns, theme.muted());
    }
}

fn row(theme: &Theme, label: &str, verdict: Verdict, words: &str, columns: usize) -> Line<'static> {
    let room = columns.saturating_sub(label.len() + 11);
    Line::from(vec![
        Span::styled(format!("{label} "), theme.muted()),
        Span::styled(format!("{} {:<7}", glyphs::verdict(verdict), verdict.name()), theme.verdict(verdict)),
        Span::styled(text::clip(&sentence(words), room), theme.text()),
    ])
}

/// Let MLX compute on the other device from here on: its program starts there, and says whether it can.
pub(super) fn other_device(context: &mut Context<'_>) {
    let view = &mut *context.view;
    if view.measured.requests > 0 || view.ran.is_running() {
        return context.say("something runs: x cancels it, and the device can be changed then");
    }
    let said = view.measured.greeting(Side::Mlx).and_then(|info| Device::named(&info.device));
    // Before MLX has said it: a Mac's default is its GPU.
    let usual = if cfg!(target_os = "macos") { Device::Gpu } else { Device::Cpu };
    let other = context.trials.device.or(said).unwrap_or(usual).other();
    context.trials.device = Some(other);
    view.measured.queue(&[]);
    context.effects.push(Effect::Submit(context.trials.request(Vec::new())));
    context.say(match other {
        Device::Cpu => "MLX computes on the CPU from here on",
        Device::Gpu => "MLX computes on the GPU from here on, where there is one: the same key goes back",
    });
}
