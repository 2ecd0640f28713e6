#!/usr/bin/env python3
"""Print what CHANGELOG.md says of one version: `release_notes.py 0.1.0`, or `Unreleased`."""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def notes(text, version):
    """The section of a version, without its heading; None where there is none, or it is empty."""
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    for section in sections:
        heading, _, body = section.partition("\n")
        if heading.split(" ")[0].strip("[]") == version:
            return body.strip() or None
    return None


if __name__ == "__main__":
    found = notes(CHANGELOG.read_text(), sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__)
    if found is None:
        sys.exit(f"{CHANGELOG.name} says nothing of {sys.argv[1]}: add a section for it")
    print(found)
