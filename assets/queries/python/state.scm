; An assignment to an attribute or to an element of one, plain or with an operator.
(assignment left: [(attribute) (subscript)] @target right: (_) @value) @blocker
(augmented_assignment left: [(attribute) (subscript)] @target right: (_) @value) @blocker
