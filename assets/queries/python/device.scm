; What tells where an array is. Counts in the condition of a branch.
((attribute attribute: (identifier) @name) @blocker
  (#any-of? @name "device" "is_cuda" "is_cpu" "is_mps" "is_xpu" "is_meta"))
((attribute object: (identifier) @name attribute: (identifier) @_type) @blocker
  (#match? @name "device$")
  (#eq? @_type "type"))
((call function: (attribute attribute: (identifier) @name)) @blocker
  (#eq? @name "is_available"))
