; A call that is told where to write.
((call
   function: [(identifier) @name (attribute attribute: (identifier) @name)]
   arguments: (argument_list (keyword_argument name: (identifier) @_keyword))) @blocker
  (#eq? @_keyword "out"))
