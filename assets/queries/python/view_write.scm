; An assignment to an element, or to `.data`. Whether the target is a view is found out from what its name stands for.
(assignment left: (subscript) @target right: (_) @value) @blocker
((assignment left: (attribute attribute: (identifier) @_data) @target right: (_) @value) @blocker
  (#eq? @_data "data"))
