"""Draw digits as people do: an oracle for the model that reads what people draw.

Ten writers (`HANDS`) with habits of their own. A digit is a few strokes; a stroke is one or more smooth runs through
anchors, and where two runs meet there is a corner. Each drawing shifts the anchors, stretches, slants, turns and
places the digit anew. The shapes were judged by eye alone, from contact sheets: ``python tests/handwriting.py FILE``.
"""

import math
import sys
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Run = list[tuple[float, float]]
Form = list[list[Run]]  # strokes of runs of anchors (x, y) in a unit square, y down; a run goes on from the last

# fmt: off
FORMS: dict[str, Form] = {
    "0 oval": [[[(.58, .01), (.22, .09), (.03, .48), (.2, .9), (.52, 1), (.86, .84), (.98, .47), (.83, .11), (.5, 0)]]],
    "0 overlap": [[[(.7, .1), (.4, 0), (.1, .25), (.04, .65), (.3, .97), (.68, .95), (.95, .62), (.9, .25), (.62, .04),
                    (.36, .06)]]],
    "1 bar": [[[(.5, 0), (.5, 1)]]],
    "1 flag": [[[(.12, .34), (.37, .19), (.58, 0)], [(.58, 1)]]],
    "1 long flag": [[[(.02, .44), (.36, .24), (.64, 0)], [(.62, 1)]]],
    "1 tick": [[[(.3, .21), (.55, 0)], [(.53, 1)]]],
    "1 base": [[[(.22, .22), (.52, 0)], [(.52, 1)]], [[(.12, 1), (.92, .99)]]],
    "2 plain": [[[(.06, .26), (.22, .06), (.52, 0), (.84, .13), (.85, .36), (.55, .68), (.05, 1)], [(.97, .98)]]],
    "2 loop": [[[(.08, .22), (.3, .02), (.64, .02), (.86, .22), (.74, .5), (.4, .82), (.15, .97), (.05, .87), (.2, .79),
                 (.5, .93), (.76, 1), (.98, .92)]]],
    "2 swan": [[[(.05, .2), (.3, .01), (.68, .03), (.87, .25), (.7, .55), (.35, .85), (.06, .98)],
                [(.4, .93), (.7, .99), (.98, .93)]]],
    "3 round": [[[(.08, .14), (.4, 0), (.78, .08), (.83, .28), (.62, .43), (.34, .47)],
                 [(.7, .5), (.95, .7), (.8, .93), (.43, 1), (.03, .87)]]],
    "3 flat": [[[(.1, .02), (.9, 0)], [(.42, .4)], [(.78, .46), (.97, .68), (.8, .93), (.4, 1), (.03, .88)]]],
    "3 loose": [[[(.1, .1), (.5, 0), (.85, .17), (.7, .39), (.42, .47), (.72, .51), (.93, .72), (.65, .97), (.3, .99),
                  (.04, .85)]]],
    "4 open": [[[(.22, .02), (.15, .35), (.06, .6)], [(.97, .57)]], [[(.7, .22), (.66, 1)]]],
    "4 closed": [[[(.68, 0), (.36, .35), (.0, .68)], [(1, .68)]], [[(.68, 0), (.68, 1)]]],
    "4 round": [[[(.14, .03), (.08, .32), (.2, .5), (.5, .52), (.8, .43)]], [[(.82, 0), (.8, .5), (.78, 1)]]],
    "5 cap last": [[[(.2, .02), (.15, .43)], [(.5, .36), (.86, .48), (.94, .72), (.72, .95), (.38, 1), (.04, .9)]],
                   [[(.2, .02), (.9, 0)]]],
    "5 one go": [[[(.9, .01), (.2, .03)], [(.14, .45)],
                  [(.45, .37), (.82, .46), (.95, .7), (.76, .94), (.4, 1), (.03, .91)]]],
    "5 soft": [[[(.88, .02), (.55, .02), (.25, .05)],
                [(.17, .4), (.5, .4), (.88, .55), (.88, .83), (.5, 1), (.06, .93)]]],
    "6 curl": [[[(.78, .02), (.42, .15), (.13, .45), (.05, .75), (.28, .98), (.66, .98), (.92, .78), (.8, .56),
                 (.48, .52), (.18, .66), (.09, .8)]]],
    "6 straight": [[[(.62, 0), (.3, .34), (.08, .68), (.16, .92), (.5, 1), (.86, .88), (.9, .66), (.6, .53), (.27, .6),
                     (.1, .76)]]],
    "7 plain": [[[(.05, .03), (.93, 0)], [(.62, .48), (.42, 1)]]],
    "7 crossed": [[[(.05, .04), (.5, .04), (.95, 0)], [(.62, .45), (.4, 1)]], [[(.24, .53), (.88, .48)]]],
    "7 serif": [[[(.07, .2), (.07, .03)], [(.95, .02)], [(.6, .46), (.48, 1)]]],
    "8 twist": [[[(.84, .14), (.5, 0), (.16, .13), (.24, .36), (.54, .48), (.86, .64), (.88, .86), (.5, 1), (.12, .87),
                  (.14, .65), (.46, .48), (.76, .33), (.84, .14)]]],
    "8 snowman": [[[(.5, 0), (.2, .08), (.16, .34), (.48, .46), (.82, .34), (.8, .09), (.47, 0)]],
                  [[(.5, .46), (.12, .58), (.06, .84), (.48, 1), (.93, .85), (.88, .58), (.47, .46)]]],
    "9 straight": [[[(.86, .13), (.52, 0), (.13, .14), (.13, .4), (.48, .53), (.8, .38), (.88, .1)], [(.82, 1)]]],
    "9 curved": [[[(.85, .16), (.5, 0), (.12, .14), (.14, .42), (.5, .53), (.83, .34), (.9, .12)],
                  [(.93, .5), (.8, .85), (.5, 1), (.12, .93)]]],
    "9 leaning": [[[(.9, .12), (.56, 0), (.15, .17), (.17, .43), (.5, .49), (.82, .28), (.92, .08)],
                   [(.8, .5), (.55, 1)]]],
}
# fmt: on


@dataclass(frozen=True)
class Hand:
    """A writer's habits.

    Attributes
    ----------
    forms : str
        How this writer makes the digits 0 to 9: the second words of `FORMS`, in order.
    slant : float
        Degrees to the right of upright.
    aspect : float
        Width of an open digit such as 0, as a part of its height.
    height, pen : tuple of float
        Least and most: the longer side as a part of the pad's, and the width in cells of a pad of 32.
    wobble : float
        How far anchors stray, as a part of the height.
    hurry : float
        How much of a corner is cut: at 1 what is nearer than 0.12 of the height.
    facets : int
        Straight pieces between two anchors: 2 for a hand that draws slowly, bit by bit.
    tremble : float
        How far the pen strays between the anchors, as a part of the height.
    """

    name: str
    forms: str
    slant: float = 0.0
    aspect: float = 0.66
    height: tuple[float, float] = (0.55, 0.85)
    pen: tuple[float, float] = (2.5, 3.5)
    wobble: float = 0.022
    hurry: float = 0.0
    facets: int = 8
    tremble: float = 0.0
    shapes: list[Form] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = [f"{digit} {form.strip()}" for digit, form in enumerate(self.forms.split(","))]
        object.__setattr__(self, "shapes", [FORMS[name] for name in names])


HANDS = (
    Hand("American school", "oval, bar, plain, round, open, cap last, curl, plain, twist, straight"),
    Hand("European school", "oval, long flag, plain, round, closed, cap last, curl, crossed, twist, curved", slant=4),
    Hand("form filler", "oval, base, plain, flat, closed, one go, straight, serif, snowman, straight",
         aspect=0.7, height=(0.45, 0.7), pen=(2, 2.8), wobble=0.016),
    Hand("right leaner", "overlap, tick, loop, loose, open, one go, straight, plain, twist, leaning",
         slant=16, aspect=0.56),
    Hand("upright and wide", "oval, base, swan, round, closed, cap last, curl, serif, snowman, curved",
         aspect=0.88, height=(0.55, 0.78)),
    Hand("left-hander", "overlap, tick, plain, round, round, one go, curl, plain, twist, straight",
         slant=-11, aspect=0.64),
    Hand("in a hurry", "overlap, bar, loop, loose, open, soft, straight, plain, twist, leaning",
         slant=9, aspect=0.58, wobble=0.032, hurry=0.8),
    Hand("careful child", "oval, tick, plain, round, closed, cap last, curl, plain, snowman, straight",
         aspect=0.74, height=(0.65, 0.9), pen=(3, 4), wobble=0.03, facets=2, tremble=0.018),
    Hand("thick marker", "oval, flag, plain, flat, open, cap last, curl, plain, twist, curved",
         height=(0.78, 0.92), aspect=0.74, pen=(3.8, 4.5)),
    Hand("fine and small", "overlap, flag, swan, loose, round, one go, straight, crossed, twist, curved",
         slant=6, height=(0.42, 0.55), pen=(2, 2.3), wobble=0.018),
)  # fmt: skip


def draw_digit(digit: int, hand: Hand, rng: np.random.Generator) -> list[Points]:
    """Return the strokes of one drawing: for each the points, shape (k, 2), x and y in a unit square, y down."""
    strokes = [_stroke(runs, hand, rng) for runs in hand.shapes[digit]]
    return _placed(strokes, hand, rng)


def _stroke(runs: list[Run], hand: Hand, rng: np.random.Generator) -> Points:
    """Return the line that a hand draws for some runs: astray, smooth between corners, corners cut in a hurry."""
    astray = [np.array(run) + rng.normal(0, hand.wobble, (len(run), 2)) for run in runs]
    pieces, last = [], np.empty((0, 2))
    for run in astray:
        anchors = np.vstack([last, run])
        pieces.append(_smooth(anchors, hand.facets))
        last = anchors[-1:]
    line = pieces[0]
    for piece in pieces[1:]:
        line = _joined(line, piece, hand.hurry)
    return line + _tremor(len(line), rng) * hand.tremble


def _smooth(anchors: Points, facets: int) -> Points:
    """Return a curve of cubic Bézier pieces through the anchors (Catmull and Rom's choice of tangents)."""
    if len(anchors) == 2:
        return anchors[0] + np.linspace(0, 1, 2 * facets + 1)[:, None] * (anchors[1] - anchors[0])
    tangents = np.gradient(anchors, axis=0)
    t = np.linspace(0, 1, facets + 1)[:-1, None]
    line = []
    for start, end, leave, arrive in zip(anchors, anchors[1:], tangents, tangents[1:], strict=False):
        b, c = start + leave / 3, end - arrive / 3
        line.append((1 - t) ** 3 * start + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * end)
    return np.vstack([*line, anchors[-1:]])


def _joined(before: Points, after: Points, hurry: float) -> Points:
    """Join two runs at their corner; in a hurry what lies near the corner is left out."""
    corner, near = after[0], 0.12 * hurry
    leave = _tail(before, corner, near)
    return np.vstack([before[:leave], after[len(after) - _tail(after[::-1], corner, near) :]])


def _tail(line: Points, corner: NDArray[np.float64], near: float) -> int:
    """Return how many points of a line come before it draws near the corner that it ends in."""
    far = np.flatnonzero(np.linalg.norm(line - corner, axis=1) >= near)
    return int(far[-1]) + 1 if len(far) else 1


def _tremor(count: int, rng: np.random.Generator) -> Points:
    """Return a slow stray of about 1: white noise averaged over three neighbours."""
    noise = rng.normal(size=(count + 2, 2))
    return (noise[:-2] + noise[1:-1] + noise[2:]) / math.sqrt(3)


def _placed(strokes: list[Points], hand: Hand, rng: np.random.Generator) -> list[Points]:
    """Stretch, slant, turn, size and place a drawing somewhere on the pad, a pen's width from its rim."""
    slant = math.tan(math.radians(hand.slant + rng.normal(0, 3)))
    turn = math.radians(rng.normal(0, 2.5))
    wide = hand.aspect * math.exp(rng.normal(0, 0.07))
    shear = np.array([[wide, -slant], [0.0, 1.0]])
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) @ shear
    drawn = [stroke @ turned.T for stroke in strokes]
    low, high = np.vstack(drawn).min(axis=0), np.vstack(drawn).max(axis=0)
    rim = hand.pen[1] / 64
    size = min(rng.uniform(*hand.height), 1 - 2 * rim) / max(high - low)
    room = np.maximum(1 - 2 * rim - size * (high - low), 0)
    corner = rim + room * rng.random(2)
    return [(stroke - low) * size + corner for stroke in drawn]


def rasterise(strokes: list[Points], size: int = 32, pen: float = 3.0) -> NDArray[np.uint8]:
    """Return the ink that a round pen leaves on a pad of size × size cells, 0 to 255.

    `pen` is its width in cells of a pad of 32. A cell's ink falls from full to none over one cell's width around the
    line's edge, by the distance of its centre from the nearest piece of a stroke.
    """
    lines = [size * (stroke[:, 0] + 1j * stroke[:, 1]) for stroke in strokes]  # a plane is quick in complex numbers
    starts, ways = np.concatenate([line[:-1] for line in lines]), np.concatenate([np.diff(line) for line in lines])
    rows, columns = np.mgrid[:size, :size] + 0.5
    to_cell = (columns + 1j * rows)[:, :, None] - starts
    along = (to_cell * ways.conj()).real / np.maximum(np.abs(ways) ** 2, 1e-12)
    distance = np.abs(to_cell - np.clip(along, 0, 1) * ways).min(axis=-1)
    ink = np.clip(pen * size / 64 + 0.5 - distance, 0, 1)
    return np.round(255 * ink).astype(np.uint8)


def drawing(digit: int, hand: Hand, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a pad of 32 × 32 cells with one digit in one hand."""
    return rasterise(draw_digit(digit, hand, rng), pen=rng.uniform(*hand.pen))


def contact_sheet(pads: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Return the pads side by side, dark ink on white with grey lines between."""
    framed = [255 - np.pad(pad, 1, constant_values=96) for pad in pads]
    blank = np.full_like(framed[0], 255)
    framed += [blank] * (-len(framed) % columns)
    return np.vstack([np.hstack(framed[i : i + columns]) for i in range(0, len(framed), columns)])


if __name__ == "__main__":
    from PIL import Image

    random = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else None)
    sheet = contact_sheet([drawing(d, hand, random) for hand in HANDS for d in (*range(10), *range(10))], columns=20)
    Image.fromarray(sheet).resize((sheet.shape[1] * 2, sheet.shape[0] * 2)).save(sys.argv[1])
