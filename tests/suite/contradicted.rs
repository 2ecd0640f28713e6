//! Rows that know a class by its name, and the source at hand that computes something else: it is told, and not followed.

use globset::GlobSet;
use t2m_tui::export::state_dict;
use t2m_tui::findings::idioms::idioms;
use t2m_tui::open::Opened;
use t2m_tui::registry::idioms::Kind;
use t2m_tui::triage::Status;

use crate::constructors::{module, opened, status};

/// A model with a norm of this class, in the module that transformers has it in.
fn with_norm(family: &str, class: &str, body: &str, bias: bool) -> Opened {
    let text = format!(
        "import torch\nfrom torch import nn\nclass {class}(nn.Module):\n    def __init__(self, width, eps=1e-6):\n        super().__init__()\n        \
         self.weight = nn.Parameter(torch.ones(width))\n        self.bias = nn.Parameter(torch.ones(width))\n        self.variance_epsilon = eps\n        self.eps = eps\n        \
         self.other = 1e-3\n{body}\n\
         class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.norm = {class}(8)\n        \
         self.head = nn.Linear(8, 2)\n    def forward(self, x):\n        return self.head(self.norm(x))\n"
    );
    let mut tensors: Vec<(&str, &[usize])> = vec![("norm.weight", &[8]), ("head.weight", &[2, 8]), ("head.bias", &[2])];
    tensors.extend(bias.then_some(("norm.bias", &[8usize] as &[usize])));
    opened(&tensors, &[(&format!("transformers/models/{family}/modeling_{family}.py"), &text)])
}

const PLAIN: &str = "    def forward(self, x):
        kind = x.dtype
        x = x.to(torch.float32)
        variance = x.pow(2).mean(-1, keepdim=True)
        x = x * torch.rsqrt(variance + self.variance_epsilon)
        return self.weight * x.to(kind)";

fn llama(body: &str) -> Opened {
    with_norm("llama", "LlamaRMSNorm", body, false)
}

#[test]
fn a_forward_that_the_row_describes_is_converted_by_it() {
    for body in [
        PLAIN.to_owned(),
        PLAIN.replace("self.weight * x.to(kind)", "(x * self.weight).to(kind)"),
        PLAIN.replace("self.variance_epsilon", "self.eps"),
        PLAIN.replace("self.variance_epsilon", "1e-6"),
        PLAIN.replace("        kind", "        batch = x.shape[0] + 1\n        kind"),
        "    def forward(self, x):\n        return torch.nn.functional.rms_norm(x, (8,), self.weight, self.variance_epsilon)".to_owned(),
    ] {
        let opened = llama(&body);
        assert_eq!(module(&opened, "norm").class, "transformers.models.llama.modeling_llama.LlamaRMSNorm");
        assert_eq!(status(&opened, "norm"), Status::Direct, "{body}");
    }
    let gemma = "    def _norm(self, x):\n        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)\n    \
                 def forward(self, x):\n        output = self._norm(x.float())\n        output = output * (1.0 + self.weight.float())\n        return output.type_as(x)";
    assert_eq!(status(&with_norm("gemma", "GemmaRMSNorm", gemma, false), "norm"), Status::Recipe);
}

#[test]
fn a_forward_that_contradicts_the_row_is_not_followed_silently() {
    let cases = [
        (PLAIN.replace("self.weight * x.to(kind)", "(1.0 + self.weight) * x.to(kind)"), "multiplies by 1 + weight"),
        (PLAIN.replace("self.weight * x.to(kind)", "x * (self.weight.float() + 1)"), "multiplies by 1 + weight"),
        (
            PLAIN.replace("        variance", "        x = x - x.mean(-1, keepdim=True)\n        variance"),
            "subtracts the mean",
        ),
        (PLAIN.replace("self.variance_epsilon", "self.other"), "has an eps of 0.001"),
        (PLAIN.replace("self.variance_epsilon", "1e-5"), "has an eps of 0.00001"),
        (
            PLAIN.replace("x * torch.rsqrt(variance + self.variance_epsilon)", "x / (torch.sqrt(variance) + 1e-6)"),
            "adds eps to the root",
        ),
    ];
    for (body, told) in cases {
        let opened = llama(&body);
        let id = opened.model.find("norm").unwrap();
        let triaged = &opened.triage.modules[id];
        assert!(triaged.contradicted && triaged.plan.is_none(), "{body}");
        assert_eq!(triaged.status, Status::Custom, "{body}");
        assert!(triaged.reason.contains(told) && triaged.reason.contains("modeling_llama.py:"), "{}", triaged.reason);
    }
    let bias = PLAIN.replace("x.to(kind)", "x.to(kind) + self.bias");
    let opened = with_norm("llama", "LlamaRMSNorm", &bias, true);
    let reason = &opened.triage.modules[opened.model.find("norm").unwrap()].reason;
    assert!(reason.contains("adds a bias"), "{reason}");
    let gemma = with_norm("gemma", "GemmaRMSNorm", &PLAIN.replace("self.variance_epsilon", "self.eps"), false);
    assert!(
        gemma.triage.modules[gemma.model.find("norm").unwrap()]
            .reason
            .contains("by the weight, and the row by 1 + weight")
    );
}

#[test]
fn such_weights_are_listed_by_convert_and_the_idiom_is_told() {
    let one = PLAIN.replace("self.weight * x.to(kind)", "(1.0 + self.weight) * x.to(kind)");
    for (opened, certain) in [(llama(&one), false), (llama(PLAIN), true)] {
        let map = state_dict::map(&opened, &GlobSet::empty()).unwrap();
        let doubtful = map.copied().any(|(_, doubt)| format!("{doubt:?}").contains("multiplies by 1 + weight"));
        assert_eq!(doubtful, !certain);
        let kinds: Vec<Kind> = idioms(&opened).iter().map(|found| found.row.kind).collect();
        assert_eq!(kinds, if certain { vec![] } else { vec![Kind::NormPlusOne] });
    }
}
