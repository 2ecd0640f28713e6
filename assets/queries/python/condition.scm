; Conditions that Python itself decides.
(if_statement condition: (_) @value @blocker)
(elif_clause condition: (_) @value @blocker)
(while_statement condition: (_) @value @blocker)
(conditional_expression . (_) . (_) @value @blocker)
(assert_statement . (_) @value @blocker)
(if_clause . (_) @value @blocker)
