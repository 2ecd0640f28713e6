#!/usr/bin/env python3
"""Print the Homebrew formula of a release: `formula.py HOMEPAGE URL SHA256`, of the archive of its source.

It builds the program alone. The engines come with pip, since Homebrew's libraries of torch and mlx are of other versions than those that
every number here was measured with; `t2m-tui --python` and an active environment are looked in for them.
"""

import re
import sys

FORMULA = '''class T2mTui < Formula
  desc "Triage PyTorch checkpoints for MLX with every conversion measured"
  homepage "{homepage}"
  url "{url}"
  sha256 "{sha256}"
  license any_of: ["Apache-2.0", "MIT"]

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args
    generate_completions_from_executable(bin/"t2m-tui", "completions")
    (man1/"t2m-tui.1").write Utils.safe_popen_read(bin/"t2m-tui", "man")
  end

  def caveats
    <<~EOS
      Measuring needs the two engines, which pip brings into a Python environment:
        python3 -m venv ~/t2m && ~/t2m/bin/pip install t2m-torch t2m-mlx
        t2m-tui --python ~/t2m/bin/python model.safetensors
    EOS
  end

  test do
    assert_match "weights", shell_output("#{{bin}}/t2m-tui inspect demo")
  end
end
'''


def formula(homepage, url, sha256):
    """The formula's text.

    Raises ValueError where an argument could not stand in it."""
    for word, pattern in [(homepage, r"https://[\w./-]+"), (url, r"https://[\w./-]+\.tar\.gz"), (sha256, "[0-9a-f]{64}")]:
        if not re.fullmatch(pattern, word):
            raise ValueError(f"{word} does not look like {pattern}")
    return FORMULA.format(homepage=homepage, url=url, sha256=sha256)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        print(formula(*sys.argv[1:]), end="")
    except ValueError as error:
        sys.exit(f"formula: {error}")
