; A Python number made of one argument.
((call function: (identifier) @name arguments: (argument_list . (_) @value .)) @blocker
  (#any-of? @name "int" "float" "bool"))
