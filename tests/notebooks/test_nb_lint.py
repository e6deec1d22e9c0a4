"""The linter: a lesson within the limits passes, and each limit that is passed is named."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_output

from inferkit.plots import FIGURE_MIME
from notebooks.lesson import SECTIONS, lint_exercises, lint_lesson, lint_outputs, prose_lines
from notebooks.source import from_text

LESSON = """# %% [markdown] tags=["slide", "title"]
# # A title
#
# **A question?**

# %%
1 + 1

# %% [markdown] tags=["skip", "objectives"]
# You will be able to
# - do
# - re
# - mi
#
# 20 minutes to teach, 25 to practise. Needs nothing.
#
# **Needs:** a keyboard.

# %% [markdown] tags=["notes"]
# Ask first.

""" + "\n".join(
    f'# %% [markdown] tags=["slide", "{section}"]\n# ## On {section}\n\n# %%\n{n}\n'
    for n, section in enumerate(SECTIONS)
)
EXERCISE = """# %% [markdown] tags=["slide", "{0}"]
# ## {0}

# %%
# >>> solution
x = 1
# <<< solution
check("x", x == 1)
"""
EXERCISES = "\n".join(EXERCISE.format(part) for part in ("core", "stretch", "diagnose"))


def lint(text):
    return lint_lesson(from_text(text))


def test_a_lesson_within_the_limits_passes():
    assert lint(LESSON) == []


FAULTS = {
    "code lines": ("\n1 + 1\n", "\n" + "1\n\n" * 13, r"cell 2 \(1\): 13 lines of code; at most 12"),
    "code columns": ("\n1 + 1\n", "\nx = '" + "x" * 100 + "'\n", "a line of 106 characters"),
    "an empty cell": ("\n1 + 1\n", "\n", "an empty cell"),
    "alt text": ("\n1 + 1\n", "\nplots.show(fig)\n", "show.* without alt="),
    "plt.show": ("\n1 + 1\n", "\nplt.show()\n", "gives no alt text"),
    "exclamation": ("# ## On why", "# ## Why!", "'!' has no place"),
    "banned": ("# ## On why", "# ## Why simply\n# x", "'simply' has no place"),
    "important": ("# ## On why", "# ## Why\n# It is important to note that", "important to note' has no place"),
    "first cell": ('["slide", "title"]', '["title"]', "the first cell is tagged slide"),
    "after skip": ('tags=["notes"]\n# Ask first.', "\n# Ask first.", "cell 4 .*comes after a skipped cell"),
    "notes are text": ('[markdown] tags=["notes"]\n# Ask first.', 'tags=["notes"]\n1', "speaker notes are text"),
    "no notes": ('tags=["notes"]\n# Ask', 'tags=["slide"]\n# Ask', "no speaker notes"),
    "title": ('["slide", "title"]', '["slide"]', "tagged title"),
    "question": ("A question?", "A statement.", "question mark"),
    "objectives": (', "objectives"', "", "no cell tagged objectives before"),
    "two objectives": ("# - do\n# - re\n", "# - do\n", "2 objectives; 3 to 5"),
    "six objectives": ("# - do\n", "# - do\n# - fa\n# - so\n# - la\n", "6 objectives; 3 to 5"),
    "minutes": ("20 minutes", "Long", "how many minutes"),
    "needs": ("**Needs:** a", "A", "what does it need"),
    "no section": ('"why"', '"reason"', "expected one section why, got 0"),
    "twice": ('"why"', '"why", "figure"', "expected one section figure, got 2"),
    "order": ('"why"', '"textbook"', "expected one section textbook, got 2"),
    "heading": ("# ## On why", "# On why", "the section why opens with a '## heading'"),
    "a late start": ("# %%\n1 + 1\n\n", "", "no code cell among the first three"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_of_a_lesson_is_named(name):
    old, new, complaint = FAULTS[name]
    assert LESSON.count(old) == 1
    assert [line for line in lint(LESSON.replace(old, new)) if re.search(complaint, line)]


def test_sections_out_of_order_are_named():
    swapped = LESSON.replace('"play"', '"swap"').replace('"break-it"', '"play"').replace('"swap"', '"break-it"')
    assert lint(swapped) == ["cell 19 (## On break-it): the section play comes before break-it"]


def paragraph(length):
    return "x" * length


@pytest.mark.parametrize(
    ("tag", "lines", "fault"),
    [("skip", 5, False), ("skip", 6, True), ("notes", 9, False), ('skip", "sources', 9, False)],
)
def test_prose_between_code_cells(tag, lines, fault):
    cells = "\n\n".join(f'# %% [markdown] tags=["{tag}"]\n# One line.' for _ in range(lines))
    found = [line for line in lint(f"{LESSON}\n{cells}") if "lines of prose" in line]
    assert bool(found) == fault
    assert all("6 lines of prose with no code between them; at most 5" in line for line in found)


def test_code_ends_a_stretch_of_prose():
    three = "# a\n#\n# b\n#\n# c\n"
    for kind, faults in (('tags=["skip"]', 0), ('[markdown] tags=["skip"]', 1)):
        cells = [f'[markdown] tags=["skip"]\n{three}', f"{kind}\n1", f'[markdown] tags=["skip"]\n{three}']
        assert len(lint("\n\n".join([LESSON, *(f"# %% {cell}" for cell in cells)]))) == faults


@given(st.lists(st.integers(1, 500)))
def test_a_line_of_prose_has_160_characters(lengths):
    text = "\n\n".join("x" * length for length in lengths)
    assert prose_lines(text) == sum(-(-length // 160) for length in lengths)


@pytest.mark.parametrize(
    ("text", "lines"),
    [("# H\n\n## H2", 0), ("| a |\n|---|\n| b |", 0), ("$$\nx\n\ny\n$$", 0), ("- a\n- b\n1. c", 3), ("a\nb", 1),
     ("", 0), ("```\nx\n```", 0), (f"[word](https://{paragraph(300)})", 1), ("![alt](a.png)", 0),
     ("> quoted\n\n*it*", 2)],
)  # fmt: skip
def test_what_counts_as_prose(text, lines):
    assert prose_lines(text) == lines


def test_exercises_within_the_limits_pass():
    assert lint_exercises(from_text(EXERCISES)) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"core"', '"easy"', "expected one section core, got 0"),
        ("# ## stretch", "# stretch", "opens with a '## heading'"),
        ("# >>> solution\nx = 1\n# <<< solution\n", "x = 1\n", "no solution between markers"),
        ('check("x", x == 1)\n', "print(x)\n", r"no check\("),
        ("x = 1\n", "x = 1\n" * 13, "14 lines of code"),  # the marker lines don't count
    ],
)
def test_each_fault_of_exercises_is_named(old, new, complaint):
    assert [line for line in lint_exercises(from_text(EXERCISES.replace(old, new, 1))) if re.search(complaint, line)]


# -- outputs ----------------------------------------------------------------------------------------------------

CODE = '# %%\ntable\n\n# %%\nfigure\n\n# %% tags=["measured"]\ntime\n\n# %%\na\n\n# %%\nprint(slow > 2 * fast)\n'
TABLE = {"text/html": "<table></table>"}
FIGURE = {FIGURE_MIME: {}, "image/png": "", "text/html": '<img alt="what it shows" src="">'}
OUTPUTS = [TABLE, FIGURE, {"text/plain": "1 s"}, {"text/plain": "1"}, {"text/plain": "True"}]


def lint_built(code=CODE, outputs=OUTPUTS, counts=(1, 2, 3, 4, 5)):
    notebook = from_text(code)
    for cell, count, data in zip(notebook.cells, counts, outputs, strict=True):
        cell.execution_count = count
        cell.outputs = [new_output("display_data", data=data)] if data else []
    return lint_outputs(notebook)


def test_outputs_within_the_rules_pass():
    assert lint_built() == []


def put(place, data):
    return {"outputs": [*OUTPUTS[:place], data, *OUTPUTS[place + 1 :]]}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"counts": (1, 2, 4, 3, 5)}, r"cell 3 \(time\): its execution count is 4, not 3"),
        ({"counts": (1, 2, 3, 4, None)}, "its execution count is None"),
        (put(0, {"text/plain": "1"}), "no table among"),
        (put(1, {"text/plain": "1"}), "no figure among"),
        (put(1, {FIGURE_MIME: {}, "image/png": ""}), "did not go through show"),
        (put(1, {**FIGURE, "text/html": '<img src="">'}), "an image without alt text"),
        (put(1, {**FIGURE, "text/html": '<img alt="" src="">'}), "an image without alt text"),
        (put(2, None), "tagged measured, with no output"),
        (put(4, None), r"cell 3 \(time\): none of the next two code cells"),
        ({"code": CODE.replace("slow > 2 * fast", "slow")}, "none of the next two code cells"),
        ({"code": CODE.replace("# %%\nprint", '# %% tags=["measured"]\nprint')}, r"cell 3 .*: none of the next two"),
        ({"code": CODE.replace("# %%\na", '# %% tags=["measured"]\na').replace("# %%\nt", '# %% tags=["measured"]\nt')},
         "2 of 5 cells with an output are compared; at least 60 %"),
    ],
)  # fmt: skip
def test_each_fault_of_the_outputs_is_named(changes, complaint):
    assert [line for line in lint_built(**changes) if re.search(complaint, line)]


def test_three_of_five_is_enough():
    code = CODE.replace("# %%\na", '# %% tags=["measured"]\na')
    assert lint_built(code) == []


def test_a_table_in_markdown_is_a_table():
    assert lint_built(**put(0, {"text/markdown": "| a | b |\n|---|--:|\n| 1 | 2 |"})) == []


def test_stderr_in_a_built_notebook_is_named():
    notebook = from_text("# %%\n1")
    notebook.cells[0].outputs = [new_output("stream", name="stderr", text="oh")]
    assert "cell 1 (1): it wrote to stderr" in lint_outputs(notebook)
