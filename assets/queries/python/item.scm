; A call of `item` without arguments: `d.item("key")` is somebody's own method.
((call
   function: (attribute attribute: (identifier) @name)
   arguments: (argument_list . "(" . ")" .)) @blocker
  (#eq? @name "item"))
