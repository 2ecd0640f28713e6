; An array taken to Python as a list.
((call
   function: (attribute attribute: (identifier) @name)
   arguments: (argument_list . "(" . ")" .)) @blocker
  (#eq? @name "tolist"))
