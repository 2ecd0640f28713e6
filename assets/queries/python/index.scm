; Every index of a subscript: `x[i]`, and each of `x[i, j]`.
(subscript subscript: (_) @value) @blocker
