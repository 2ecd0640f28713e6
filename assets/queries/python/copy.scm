; A call of `copy_` on anything.
((call function: (attribute attribute: (identifier) @name)) @blocker
  (#eq? @name "copy_"))
