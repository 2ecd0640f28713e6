; Any call. Which function it is follows from the imports of the file, and is compared with the row's `calls`.
(call function: [(identifier) @name (attribute attribute: (identifier) @name)]) @blocker
