; `memory_format=`
((keyword_argument name: (identifier) @name) @blocker
  (#eq? @name "memory_format"))
