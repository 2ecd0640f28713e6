; `target += value`. Whether the target can be an array is found out from what was assigned to it.
(augmented_assignment left: (_) @target operator: "+=" right: (_) @value) @blocker
