; The counts of repeat_interleave: the first argument of the method, the second of the function.
((call
   function: (attribute object: (_) @_object attribute: (identifier) @name)
   arguments: (argument_list . (_) @value)) @blocker
  (#eq? @name "repeat_interleave")
  (#not-eq? @_object "torch"))
((call
   function: (attribute object: (identifier) @_object attribute: (identifier) @name)
   arguments: (argument_list . (_) . (_) @value)) @blocker
  (#eq? @name "repeat_interleave")
  (#eq? @_object "torch"))
