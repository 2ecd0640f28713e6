"""Write schemas.txt, the schemas of torch's ops that take or give a tensor: `python assets/registry/schemas.py`. Needs torch.

What is left out never stands in a model that is run: ops that write into a tensor given as `out`, gradients, and those of one
backend.
"""

import pathlib

import torch

LEFT_OUT = (
    "backward _foreach _fused cudnn mkldnn miopen fbgemm quantize fake_quant sparse _nested _copy.int _jagged _cslt _spdiags vulkan "
    "_coalesc _efficientzero _functional_ xnnpack _cuda _cufft _amp _test _validate _segment nccl _thnn _grad _autocast "
    "hacked_twin _mps _mkl _lazy qint q_ int_repr _symint dense_dim _dimI _dimV _use_ set_ record_stream rename align_ names refine"
).split()


def main():
    known = set(torch._C._dispatch_get_all_op_names())
    lines = []
    for schema in torch._C._jit_get_all_schemas():
        name = schema.name.removeprefix("aten::")
        full = f"{schema.name}.{schema.overload_name}" if schema.overload_name else schema.name
        values = [*schema.arguments, *schema.returns]
        if not schema.name.startswith("aten::") or full not in known or any(part in full for part in LEFT_OUT):
            continue
        if any(value.is_out for value in schema.arguments) or not any("Tensor" in str(value.type) for value in values):
            continue
        if any("Dimname" in str(value.type) or "..." in str(schema) for value in values):
            continue
        lines.append((name, str(schema).removeprefix("aten::")))
    # The order of a name's overloads is torch's own: the first that fits is the one.
    lines.sort(key=lambda line: line[0])
    text = "".join(f"{line}\n" for _, line in lines)
    pathlib.Path(__file__).with_name("schemas.txt").write_text(text)
    print(len(lines), len(text))


if __name__ == "__main__":
    main()
