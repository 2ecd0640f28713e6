; Hooks around backward: of a module, of every module, or of a tensor.
((call function: [(identifier) @name (attribute attribute: (identifier) @name)]) @blocker
  (#match? @name "^register_((module_)?(full_)?backward_(pre_)?|post_accumulate_grad_)?hook$"))
