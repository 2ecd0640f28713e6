"""Writes mono.z: the outlines of DejaVu Sans Mono that a picture of the screen (PNG) is drawn with.

    pip install fonttools
    python assets/font/make.py DejaVuSansMono.ttf DejaVuSansMono-Bold.ttf

One line a glyph: its code point in hexadecimal, and its outline as SVG's path data (M, L, Q, Z) in whole units of the font, y upwards.
A line `bold` stands before the glyphs of the bold font. The whole is compressed by zlib. The fonts' licence is beside it.
"""

import sys
import zlib
from pathlib import Path

from fontTools.pens.basePen import BasePen
from fontTools.ttLib import TTFont

LETTERS = [*range(0x21, 0x7F), *range(0xA1, 0x180), *range(0x370, 0x400), *range(0x400, 0x460)]
SIGNS = [
    *range(0x2010, 0x2028), *range(0x2030, 0x203B), *range(0x2070, 0x209D), *range(0x2190, 0x21A0), *range(0x2200, 0x2270),
    *range(0x2295, 0x22A0), *range(0x2500, 0x25A0), *range(0x25A0, 0x2600), *range(0x2600, 0x2620), 0x2605, 0x2610, 0x2611, 0x2691,
    0x2713, 0x2714, 0x2717, 0x2718, 0x20AC, 0x2260, 0xFFFD,
]
# Of the bold font what a screen has in bold.
BOLD = [*range(0x21, 0x7F), *range(0xA1, 0x100), 0x2013, 0x2014, 0x2026, 0x2192, 0x2194, 0x00D7]


class Path_(BasePen):
    """Collects the outline."""

    def __init__(self, glyphs):
        super().__init__(glyphs)
        self.words = []

    def put(self, letter, *points):
        self.words.append(letter + " ".join(f"{round(x)} {round(y)}" for x, y in points))

    def _moveTo(self, point):
        self.put("M", point)

    def _lineTo(self, point):
        self.put("L", point)

    def _qCurveToOne(self, control, point):
        self.put("Q", control, point)

    def _closePath(self):
        self.words.append("Z")


def glyphs(path, wanted):
    font = TTFont(path)
    assert font["head"].unitsPerEm == 2048 and font["hmtx"]["a"][0] == 1233, "another font"
    names, outlines = font.getBestCmap(), font.getGlyphSet()
    for code in sorted(set(wanted)):
        if code in names:
            pen = Path_(outlines)
            outlines[names[code]].draw(pen)
            yield f"{code:x} {''.join(pen.words)}\n"


def main():
    plain, bold = sys.argv[1:]
    text = "".join(glyphs(plain, LETTERS + SIGNS)) + "bold\n" + "".join(glyphs(bold, BOLD))
    out = Path(__file__).with_name("mono.z")
    out.write_bytes(zlib.compress(text.encode(), 9))
    print(f"{out}: {text.count(chr(10)) - 1} glyphs, {len(text)} bytes, compressed {out.stat().st_size}")


main()
