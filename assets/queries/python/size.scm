; Where Python or torch wants a size: the end of a range, an edge of a slice, an argument of what makes an array.
((call function: (identifier) @name arguments: (argument_list (_) @value)) @blocker
  (#eq? @name "range"))
(slice (_) @value) @blocker
((call
   function: (attribute object: (identifier) @_torch attribute: (identifier) @name)
   arguments: (argument_list [(_) @value (tuple (_) @value) (list (_) @value)])) @blocker
  (#eq? @_torch "torch")
  (#any-of? @name "arange" "zeros" "ones" "empty" "eye"))
