"""Breaks between scenes: lines of stars, dashes or ornaments that are a pause, not words.

"One.\\n\\n* * *\\n\\nTwo."  ->  "One."  (pause)  "Two."
"""

import re

from fishs2.text.normalize import is_readable

_ORNAMENTS = re.compile(r"[*#_~·•∙●○■□▪▫◆◇❖★☆✦✧✱✲✳✴✶✻✽❀❦❧☙⁂⁎⁑⁕※—–―‒‐‑…–⸺⸻ー-]+")
# Emoji that print uses as ornaments; so many of them, as in "⚜ ⚜ ⚜", are said by nobody.
_CARDS = re.compile("[⚜♠♣♥♦]{3,}")
# "[* * *]" and "<hr>".
_ENCLOSED = re.compile(r"[(\[{]((?:\\?[*•⁂❦◆·~#-])+)[)\]}]")
_RULER = re.compile(r"<hr/?>", re.IGNORECASE)
# Brackets may be a smile or a remark, and question and exclamation marks are said by somebody.
_NO_DRAWING = re.compile(r"[()\[\]{}?!¿¡؟！？]")
_LEAST_DRAWN = 3
"""So many marks of any other kind draw a line."""


def is_scene_break(line: str) -> bool:
    """Tell whether nothing on a line is to be read, and it is there to be seen.

    A star or another ornament is enough; other marks, such as "= = =", have to be three.
    """
    marks = "".join(line.split())
    if _CARDS.fullmatch(marks) or _RULER.fullmatch(marks):
        return True
    enclosed = _ENCLOSED.fullmatch(marks)
    if enclosed:
        return len(enclosed[1]) >= _LEAST_DRAWN
    if not marks or is_readable(marks) or _NO_DRAWING.search(marks):
        return False
    return len(marks) >= _LEAST_DRAWN or _ORNAMENTS.fullmatch(marks) is not None


def split_scenes(text: str) -> list[str]:
    """Return the parts of `text` between its breaks, without them; at least one, perhaps blank."""
    scenes: list[list[str]] = [[]]
    for line in text.split("\n"):
        if is_scene_break(line):
            scenes.append([])
        else:
            scenes[-1].append(line)
    parts = ["\n".join(scene) for scene in scenes]
    return [part for part in parts if part.strip()] or [""]
