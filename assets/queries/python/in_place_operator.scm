; The other operators that write into their target.
(augmented_assignment
  left: (_) @target
  operator: ["-=" "*=" "/=" "//=" "%=" "**=" "@=" "&=" "|=" "^=" "<<=" ">>="]
  right: (_) @value) @blocker
