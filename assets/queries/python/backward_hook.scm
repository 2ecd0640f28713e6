; Hooks around backward, set on a module or on every module.
((call function: [(identifier) @name (attribute attribute: (identifier) @name)]) @blocker
  (#match? @name "^register_(module_)?(full_)?backward_(pre_)?hook$"))
