; Wherever a class can be used: called, looked into, handed on, or given a name.
; Which of the names stand for a torch.autograd.Function is found out from the imports and classes of the file.
(call function: [(identifier) (attribute)] @name) @blocker
(attribute) @name @blocker
(argument_list (identifier) @name @blocker)
(keyword_argument value: (identifier) @name @blocker)
(assignment right: (identifier) @name @blocker)
