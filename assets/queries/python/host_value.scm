; An array taken to Python or NumPy as a whole.
((call
   function: (attribute attribute: (identifier) @name)
   arguments: (argument_list . "(" . ")" .)) @blocker
  (#any-of? @name "tolist" "numpy"))
