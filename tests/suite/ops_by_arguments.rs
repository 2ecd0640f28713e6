//! A trap fires where a call has it: for every row with conditions a call in which it does and one in which it does not.

use t2m_tui::registry::Registry;
use t2m_tui::registry::ops::OpStatus;
use t2m_tui::source::Sources;

/// The row, a line in which its trap fires, and one in which it does not.
const CALLS: [(&str, &str, &str); 49] = [
    ("F.softmax", "F.softmax(x)", "F.softmax(x, dim=-1)"),
    ("F.softmax", "x.softmax(dim=None)", "x.softmax(-1)"),
    ("x.view", "x.view(torch.int32)", "x.view(3, -1)"),
    ("x.view", "x.view(dtype=y.dtype)", "x.view(b, *x.shape[1:])"),
    ("x.to", "x.to(torch.float16)", "x.to(device)"),
    ("x.to", "x.to(y)", "x.to('cuda')"),
    ("x.to", "x.to(x.device, torch.float16)", "x.to(x.device, non_blocking=True)"),
    ("F.gelu", "F.gelu(x, approximate='tanh')", "F.gelu(x)"),
    ("torch.matmul", "torch.matmul(x.long(), y)", "q @ k.transpose(-2, -1)"),
    ("x.squeeze", "x.squeeze(1)", "x.squeeze()"),
    ("x.sum", "x.half().sum(1)", "x.sum(dim=1, keepdim=True)"),
    ("x.mean", "x.mean(1, dtype=torch.float32)", "x.mean(dim=(2, 3))"),
    ("x.max", "x.max(dim=1)", "x.max()"),
    ("x.min", "torch.min(x, y)", "torch.min(x)"),
    ("torch.arange", "torch.arange(n)", "torch.arange(n, dtype=torch.float32)"),
    ("torch.full", "torch.full((2, 3), 1)", "torch.full((2, 3), float('-inf'))"),
    ("torch.where", "torch.where(m)", "torch.where(m, x, y)"),
    ("F.layer_norm", "F.layer_norm(x, (4, 5))", "F.layer_norm(x, (n,), w, b)"),
    ("F.rms_norm", "F.rms_norm(x, (n,), w)", "F.rms_norm(x, (n,), w, 1e-6)"),
    ("F.pad", "F.pad(x, (1, 1), mode='circular')", "F.pad(x, (1, 1), mode='reflect')"),
    ("F.pad", "F.pad(x, (0, -1))", "F.pad(x, (0, 1), value=0.5)"),
    ("x.argsort", "x.argsort(1, True)", "x.argsort(dim=1)"),
    ("x.cumsum", "x.half().cumsum(1)", "x.cumsum(1)"),
    ("x.cumprod", "torch.cumprod(x)", "x.cumprod(dim=1)"),
    ("x.index_select", "x.index_select(index=i)", "x.index_select(0, i)"),
    ("x.expand", "x.expand(b, -1, -1)", "x.expand(b, n)"),
    ("x.expand", "x.expand((-1, n))", "x.expand(*shape)"),
    ("x.var", "x.var(1)", "x.var(1, unbiased=False)"),
    ("x.std", "torch.std(x, dim=1)", "torch.std(x, dim=1, correction=0)"),
    ("torch.meshgrid", "torch.meshgrid(x, y)", "torch.meshgrid(x, y, indexing='ij')"),
    ("torch.add", "torch.add(x, y, alpha=2)", "x + y"),
    ("torch.add", "x.add(y, alpha=scale)", "x.add(y, alpha=1)"),
    ("torch.sub", "torch.sub(x, y, alpha=2)", "x - y"),
    ("F.softplus", "F.softplus(x, beta=2.0)", "F.softplus(x)"),
    ("F.log_softmax", "F.log_softmax(x)", "F.log_softmax(x, dim=1)"),
    ("F.glu", "F.glu(x, dim=1)", "F.glu(x)"),
    ("F.dropout", "F.dropout(x, 0.1)", "F.dropout(x, 0.1, training=self.training)"),
    ("F.dropout", "F.dropout(x, p=0.1, training=True)", "F.dropout(x, p=0.1, training=training)"),
    ("F.dropout", "F.dropout(x, p=0.1, training=True)", "F.dropout(x, p=0.1, training=module.training)"),
    ("x.transpose", "x.transpose(0, 1)", "x.transpose(1, 2)"),
    ("x.transpose", "x.transpose(-2, -1)", "torch.transpose(x, 0, 2)"),
    (
        "F.scaled_dot_product_attention",
        "F.scaled_dot_product_attention(q, k, x, attn_mask=y)",
        "F.scaled_dot_product_attention(q, k, x, attn_mask=None)",
    ),
    (
        "F.scaled_dot_product_attention",
        "F.scaled_dot_product_attention(q, k, x, is_causal=causal)",
        "F.scaled_dot_product_attention(q, k, x, dropout_p=0.0, is_causal=False)",
    ),
    ("F.nll_loss", "F.nll_loss(x, i)", "F.nll_loss(x, i, reduction='sum')"),
    (
        "F.binary_cross_entropy_with_logits",
        "F.binary_cross_entropy_with_logits(x, y, pos_weight=w)",
        "F.binary_cross_entropy_with_logits(x, y)",
    ),
    ("F.huber_loss", "F.huber_loss(x, y)", "F.huber_loss(x, y, 'mean')"),
    ("torch.hann_window", "torch.hann_window(9)", "torch.hann_window(9, False)"),
    ("torch.fft.rfft", "torch.fft.rfft(x, norm='ortho')", "torch.fft.rfft(x, n=6)"),
    ("torch.linalg.vector_norm", "torch.linalg.vector_norm(x, 1)", "torch.linalg.vector_norm(x, dim=1)"),
];

/// Beginnings of the names of rows whose conditions are those of another.
const ALIKE: [&str; 3] = ["torch.hamming_window", "torch.fft.", "torch.movedim"];

/// How the op of this row stands in a line of a forward.
fn status(registry: &Registry, row: &str, line: &str) -> OpStatus {
    let text = format!(
        "import torch\nimport torch.nn.functional as F\nclass Net(torch.nn.Module):\n    def forward(self, x: torch.Tensor, y: torch.Tensor, q: torch.Tensor, k: torch.Tensor):\n        return {line}\n"
    );
    let mut sources = Sources::default();
    sources.add_text("m", "m.py", "from a test", &text);
    let net = sources.class("m.Net").unwrap();
    let row = registry.op(row).unwrap();
    let used = net.ops.iter().find(|used| registry.op(&used.name).is_some_and(|op| op.torch == row.torch));
    row.status_of(&used.unwrap_or_else(|| panic!("no {} in {line}: {:?}", row.torch, net.ops)).call)
}

#[test]
fn every_row_with_conditions_fires_where_it_should_and_nowhere_else() {
    let registry = Registry::load(&[]).unwrap();
    for (row, hit, miss) in CALLS {
        assert_eq!(status(&registry, row, hit), OpStatus::Trap, "{hit}");
        assert_eq!(status(&registry, row, miss), OpStatus::Direct, "{miss}");
    }
    for op in registry.ops().iter().filter(|op| !(op.when.is_empty() && op.unless.is_empty())) {
        let held =
            CALLS.iter().any(|(row, ..)| *row == op.torch) || ALIKE.iter().any(|alike| op.torch.starts_with(alike));
        assert!(held, "{} has conditions and no test", op.torch);
    }
}

#[test]
fn a_row_without_conditions_always_fires() {
    let registry = Registry::load(&[]).unwrap();
    let always =
        registry.ops().iter().filter(|op| op.status == OpStatus::Trap && op.when.is_empty() && op.unless.is_empty());
    let mut count = 0;
    for op in always {
        assert_eq!(op.status_of(&Default::default()), OpStatus::Trap, "{}", op.torch);
        count += 1;
    }
    assert!(count > 30, "{count}");
}
