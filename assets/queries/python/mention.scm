; A call, or a dotted name that is no call: a dtype handed on.
(call function: [(identifier) @name (attribute attribute: (identifier) @name)]) @blocker
(attribute attribute: (identifier) @name) @blocker
