; An array taken to NumPy: `force` is the only argument there is.
((call
   function: (attribute attribute: (identifier) @name)
   arguments: (argument_list . "(" . (keyword_argument)? . ")" .)) @blocker
  (#eq? @name "numpy"))
