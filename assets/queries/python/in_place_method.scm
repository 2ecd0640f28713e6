; A method whose name ends in one underscore: torch's mark of writing into the receiver.
((call function: (attribute attribute: (identifier) @name)) @blocker
  (#match? @name "^[a-z][a-z0-9_]*[a-z0-9]_$")
  (#not-any-of? @name "copy_" "requires_grad_"))
