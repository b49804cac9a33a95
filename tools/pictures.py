"""Draws the pictures of docs/concepts.md: `python tools/pictures.py` writes docs/pictures/*.svg.

Each stands on a light panel of its own, so that it reads on light and dark pages alike.
"""

from html import escape
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs/pictures"
INK, FAINT = "#1f2933", "#7b8794"
PLAIN, PURPLE, GREEN, ORANGE, BLUE = "#ffffff", "#e6def7", "#d5efe3", "#fbe3cc", "#d6e6fa"
CHARACTER = 7.3
"""Width of a character of the fixed-width font."""


class Picture:
    """An SVG that grows by boxes, words and arrows; lengths are in pixels."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
            f' role="img" aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="14">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
            f' orient="auto"><path d="M0 0 8 4 0 8z" fill="{INK}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="8" fill="#f7f9fb"/>',
        ]

    def box(
        self, x: float, y: float, width: float, text: str, fill: str = PLAIN, *, height: float = 30
    ) -> None:
        """A box with its text, one line of it or several, in its middle."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" fill="{fill}" stroke="{INK}"/>'
        )
        lines = text.split("\n")
        top = y + height / 2 + 5 - 9 * (len(lines) - 1)
        for number, line in enumerate(lines):
            self.words(x + width / 2, top + 18 * number, line, anchor="middle")

    def words(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        fixed: bool = False,
        faint: bool = False,
    ) -> None:
        """Words whose line stands at y."""
        style = ' font-family="monospace" font-size="12"' if fixed else ""
        colour = FAINT if faint else INK
        self.parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}"{style}>{escape(text)}</text>'
        )

    def tokens(self, x: float, y: float, pieces: list[tuple[str, str]]) -> list[float]:
        """Pieces of text side by side, each in its colour; returns the middles."""
        middles = []
        for text, fill in pieces:
            width = CHARACTER * len(text) + 8
            self.parts.append(
                f'<rect x="{x}" y="{y}" width="{width}" height="24" fill="{fill}" stroke="{FAINT}"/>'
            )
            self.words(x + width / 2, y + 16, text, anchor="middle", fixed=True)
            middles.append(x + width / 2)
            x += width
        return middles

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line through points, with a tip at the last."""
        path = " ".join(f"{x},{y}" for x, y in points)
        dashes = ' stroke-dasharray="4 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{INK}"{dashes} marker-end="url(#tip)"/>'
        )

    def svg(self) -> str:
        """The picture as a file has it."""
        return "\n".join([*self.parts, "</svg>", ""])


def prompt() -> str:
    """The compression prompt of a note: what stands where, and what is read at which token."""
    picture = Picture(820, 300, "The compression prompt of a note")
    picture.words(20, 32, "instruction")
    picture.tokens(
        130, 16, [("Extract the note information in json format, compress it into one word ...", PURPLE)]
    )
    picture.words(20, 76, "note")
    note = [(" {'title':", PLAIN), ("Rainy day hikes", BLUE), (", 'topic':", PLAIN), ("hiking, rain", BLUE)]
    picture.tokens(130, 60, note)
    picture.tokens(
        130, 88, [(", 'content':", PLAIN), ("Three short trails that drain well ...", BLUE), ("}.", PLAIN)]
    )
    picture.words(20, 136, "compression")
    picture.tokens(130, 120, [(' The compression word is:"', PLAIN), ("[EMB]", ORANGE), ('".', PLAIN)])
    picture.words(20, 176, "answer")
    answer = picture.tokens(130, 160, [(" The category is:", PLAIN), ("Outdoors", GREEN), ("</s>", GREEN)])
    left = 130 + CHARACTER * len(' The compression word is:"') + 4
    picture.arrow((left, 144), (left, 150), (500, 150), (500, 132), (530, 132))
    picture.words(540, 137, "this state becomes the embedding")
    picture.arrow((answer[1], 184), (answer[1], 232))
    picture.words(answer[1] - 60, 250, "only these are labels: the model learns to write them")
    picture.words(
        20, 284, "white: words of the template; blue: the note's own words, cut field by field", faint=True
    )
    return picture.svg()


def forest() -> str:
    """A packed batch as a segment forest."""
    picture = Picture(820, 330, "A segment forest: shared beginnings are computed once")
    picture.box(40, 30, 190, "instruction (category)", PURPLE)
    picture.box(480, 30, 190, "instruction (hashtags)", PURPLE)
    for x, name in ((20, "note 1"), (150, "note 2"), (460, "note 1"), (590, "note 3")):
        picture.box(x, 110, 110, name, BLUE)
        top = 135 if x < 400 else 575
        picture.arrow((x + 55, 110), (top, 62))
    for x, name in ((20, "its category"), (150, "its category")):
        picture.box(x, 190, 110, name, GREEN)
        picture.arrow((x + 55, 190), (x + 55, 142))
    picture.box(460, 190, 110, "its hashtags", GREEN)
    picture.arrow((515, 190), (515, 142))
    picture.words(590, 208, "note 3 is only embedded", faint=True)
    picture.words(285, 50, "root: attends to itself,")
    picture.words(285, 68, "causally")
    picture.words(285, 122, "child: attends to itself")
    picture.words(285, 140, "causally, and fully to")
    picture.words(285, 158, "all its ancestors")
    picture.words(285, 208, "leaf: grows while")
    picture.words(285, 226, "an answer is written")
    picture.words(20, 264, "as the tokens lie in memory, without padding:")
    row = [("instruction", PURPLE), ("note 1", BLUE), ("cat.", GREEN), ("note 2", BLUE), ("cat.", GREEN)]
    row += [("instruction", PURPLE), ("note 1", BLUE), ("hashtags", GREEN), ("note 3", BLUE)]
    picture.tokens(20, 278, row)
    return picture.svg()


def one_pass() -> str:
    """One forward pass, two losses."""
    picture = Picture(820, 400, "One forward pass, two losses")
    picture.box(20, 330, 170, "note A, its prompt", BLUE)
    picture.box(210, 330, 170, "note B, its prompt", BLUE)
    picture.words(400, 350, "A and B: a related pair, mined from behaviour", faint=True)
    picture.box(20, 240, 360, "language model, all prompts of the batch at once", PURPLE, height=44)
    for x in (105, 295):
        picture.arrow((x, 330), (x, 286))
    picture.box(20, 160, 170, "states before [EMB]", ORANGE)
    picture.box(210, 160, 170, "states at labels", GREEN)
    for x in (105, 295):
        picture.arrow((x, 240), (x, 192))
    picture.box(20, 90, 170, "projection: (2B, d)", ORANGE)
    picture.box(210, 90, 170, "LM head, in tiles", GREEN)
    for x in (105, 295):
        picture.arrow((x, 160), (x, 122))
    picture.box(20, 20, 170, "contrastive loss, eq. 2", ORANGE)
    picture.box(210, 20, 170, "generative loss, eq. 3", GREEN)
    for x in (105, 295):
        picture.arrow((x, 90), (x, 52))
    picture.box(450, 20, 200, "joint loss, eq. 4", PLAIN)
    picture.arrow((380, 35), (448, 35))
    picture.arrow((105, 20), (105, 8), (550, 8), (550, 18))
    picture.words(400, 92, "pull a pair together, push the others apart;")
    picture.words(400, 110, "the sum is over all notes of the step")
    picture.words(400, 168, "only these rows reach the LM head, and their")
    picture.words(400, 186, "logits exist one tile at a time")
    picture.arrow((550, 50), (550, 62), (740, 62), (740, 262), (384, 262), dashed=True)
    picture.words(400, 240, "the gradients of both go back together", faint=True)
    return picture.svg()


def flow() -> str:
    """From behaviour to recommendations."""
    picture = Picture(820, 190, "From notes and behaviour to related notes")
    for x, text, fill in (
        (20, "notes\nlog of events", BLUE),
        (180, "related pairs\n(eq. 1)", PLAIN),
        (340, "training:\ntwo losses", PURPLE),
        (500, "a vector\nfor each note", ORANGE),
        (660, "nearest notes\n(exact, FAISS)", PLAIN),
    ):
        picture.box(x, 30, 140, text, fill, height=56)
        if x < 660:
            picture.arrow((x + 140, 58), (x + 158, 58))
    picture.box(500, 120, 140, "category,\nhashtags", GREEN, height=50)
    picture.arrow((410, 86), (410, 145), (498, 145))
    picture.words(160, 150, "the same model does both", faint=True)
    return picture.svg()


PICTURES = {"prompt": prompt, "forest": forest, "pass": one_pass, "flow": flow}


def main() -> None:
    """Writes all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
