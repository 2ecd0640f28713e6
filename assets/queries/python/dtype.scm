; What tells an array's dtype. Counts in the condition of a branch.
((attribute attribute: (identifier) @name) @blocker
  (#any-of? @name "dtype" "is_floating_point" "is_complex"))
