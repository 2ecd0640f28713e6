; A call with one argument and no keyword.
(call
  function: [(identifier) @name (attribute attribute: (identifier) @name)]
  arguments: (argument_list . [(identifier) (attribute) (call) (subscript) (comparison_operator) (unary_operator)
    (binary_operator) (parenthesized_expression) (not_operator)] .)) @blocker
