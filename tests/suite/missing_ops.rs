//! Ops that MLX lacks are blockers with a way out; `none` is said of nothing that it has, and of nothing that is merely unknown.

use t2m_tui::registry::Registry;
use t2m_tui::registry::ops::OpStatus;
use t2m_tui::source::{ClassSource, Severity, Sources};

const HEAD: &str = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n";

fn net(body: &str) -> ClassSource {
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    let text = format!("{HEAD}class Net(nn.Module):\n    def forward(self, x: torch.Tensor, y: torch.Tensor):\n{body}");
    let mut sources = Sources::default();
    sources.add_text("m", "m.py", "from a test", &text);
    sources.class("m.Net").unwrap()
}

/// Patterns that are found in one line.
fn patterns(line: &str) -> Vec<String> {
    net(line).blockers.iter().map(|blocker| blocker.pattern.clone()).collect()
}

/// The status of the op of a line that comes last in the text.
fn status(registry: &Registry, line: &str) -> OpStatus {
    let net = net(line);
    let used = net.ops.last().unwrap_or_else(|| panic!("no op in {line}"));
    registry.op(&used.name).map_or(OpStatus::Unknown, |row| row.status_of(&used.call))
}

#[test]
fn what_mlx_lacks_is_a_blocker_with_a_way_out() {
    let lines = [
        ("torch.stft(x, 16, return_complex=True)", "short-time Fourier transform"),
        ("torch.istft(x, 16, 4, 16, window=y)", "short-time Fourier transform"),
        ("x.stft(16)", "short-time Fourier transform"),
        ("F.grid_sample(x, y, align_corners=False)", "grid sampling"),
        ("F.affine_grid(x, y.shape)", "grid sampling"),
        ("torch.cdist(x, y)", "pairwise distances"),
        ("torch.bucketize(x, y)", "bucketize"),
        ("torch.linalg.lstsq(x, y).solution", "linear algebra that MLX lacks"),
        ("torch.linalg.matrix_exp(x)", "linear algebra that MLX lacks"),
        ("F.ctc_loss(x, y, x, y)", "CTC loss"),
        ("torch.angle(x)", "angle"),
        ("x.angle()", "angle"),
        ("torch.polar(x, y)", "complex views"),
        ("torch.view_as_real(x)", "complex views"),
        ("torch.special.i0(x)", "special functions"),
        ("torch.lgamma(x)", "special functions"),
        ("torch.unique(x)", "unique"),
        ("torch.bincount(x)", "counts by value"),
        ("x.masked_select(y)", "masked_select"),
        ("torch.multinomial(x, 2)", "random numbers"),
        ("F.embedding_bag(x, y)", "functions that MLX lacks"),
        ("F.max_unpool2d(x, y, 2)", "functions that MLX lacks"),
    ];
    for (line, pattern) in lines {
        assert_eq!(patterns(line), [pattern], "{line}");
        let blocker = &net(line).blockers[0];
        assert!(blocker.hint.len() > 20 && blocker.severity != Severity::Harmless, "{line}");
    }
    let registry = Registry::load(&[]).unwrap();
    for (line, _) in lines {
        let status = status(&registry, line);
        assert!(matches!(status, OpStatus::None | OpStatus::Recipe | OpStatus::Trap), "{line}: {status:?}");
    }
}

#[test]
fn what_mlx_has_is_neither_a_blocker_nor_none() {
    let registry = Registry::load(&[]).unwrap();
    for line in [
        "torch.searchsorted(x, y)",
        "torch.cummax(x, 0)",
        "torch.fft.rfft(x)",
        "torch.fft.irfft(x, n=8)",
        "x.amax(dim=1)",
        "torch.amin(x)",
        "torch.linalg.inv(x)",
        "torch.linalg.svd(x)",
        "x.scatter_add(0, y, x)",
        "x.unfold(1, 2, 1)",
        "F.fold(x, (4, 4), (2, 2))",
        "x.new_zeros((2, 3))",
        "x.clone()",
        "x.type_as(y)",
        "torch.nan_to_num(x)",
        "F.conv2d(x, y)",
        "torch.special.expit(x)",
        "x[[0, 1], [1, 0]].abs()",
    ] {
        assert_eq!(patterns(line), Vec::<String>::new(), "{line}");
        let status = status(&registry, line);
        assert!(!matches!(status, OpStatus::None | OpStatus::Unknown), "{line}: {status:?}");
    }
}

#[test]
fn what_the_registry_does_not_know_is_unknown_and_not_none() {
    let registry = Registry::load(&[]).unwrap();
    assert_eq!(status(&registry, "torch.no_such_op(x)"), OpStatus::Unknown);
    assert_eq!((OpStatus::Unknown.name(), OpStatus::Unknown.words()), ("unknown", "unknown here"));
}

/// A loss with masks: reading by one is refused, writing by one as the only index works.
#[test]
fn masks_and_counts_of_a_loss() {
    let body = "\
empty = torch.any(y == 0, dim=1)
gap = torch.zeros_like(x)
gap[empty] = -y[empty] * torch.log(x[empty])
kept = x.masked_select(y > 0.5)
wave = torch.stft(x.flatten(), n_fft=8, return_complex=True)
count = torch.bincount(y.argmax(1), minlength=4)
some = x[[0, 1], [1, 0]]
row = x[0]
return gap.sum() + kept.sum() + wave.abs().mean() + count.max() + some.sum() + row[2]";
    let found: Vec<(usize, String)> =
        net(body).blockers.iter().map(|blocker| (blocker.line - 5, blocker.pattern.clone())).collect();
    let expected = [
        (3, "boolean mask as an index"),
        (3, "boolean mask as an index"),
        (4, "masked_select"),
        (5, "short-time Fourier transform"),
        (6, "counts by value"),
    ];
    let expected: Vec<(usize, String)> = expected.iter().map(|(line, name)| (*line, (*name).to_owned())).collect();
    assert_eq!(found, expected);
}

/// A vocoder's end: back from a spectrum, with noise.
#[test]
fn the_inverse_transform_names_its_normalisation() {
    let body = "\
size = torch.exp(x[:, :9])
turn = torch.sin(x[:, 9:])
wave = torch.istft(size * torch.exp(turn * 1j), 16, 4, 16, window=self.window)
return wave.unsqueeze(-2) + 0.003 * torch.randn_like(wave)";
    let found = net(body).blockers;
    let patterns: Vec<&str> = found.iter().map(|blocker| blocker.pattern.as_str()).collect();
    assert_eq!(patterns, ["short-time Fourier transform", "random numbers"]);
    assert!(found[0].hint.contains("windows' squares"), "{}", found[0].hint);
}
