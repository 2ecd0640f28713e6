; `kernel[grid](…)`
(call function: (subscript value: (identifier) @name)) @blocker
