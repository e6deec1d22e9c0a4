"""Sources: ids, tags, slide types, and the two faces of an exercise."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit import InputError
from notebooks.source import blank, first_line, from_text, pick, read, solution, tags, write_text

LESSON = """# %% [markdown] tags=["slide", "title"]
# # A title
#
# A question?

# %% tags=["measured"]
# a comment
x = 1

# %% tags=["fragment"]
x
"""
EXERCISE = """# %% [markdown]
# ## Core

# %%
a = 2
# >>> solution: twice a
b = 2 * a
unused = 5
# <<< solution


def double(x):
    # >>> solution
    result = x * 2
    # <<< solution
    return result


# %% [markdown] tags=["solution"]
# Because two is two.

# %%
# >>> solution
print("only here")
# <<< solution
check("b", b == 4)
"""
words = st.text("abcxyz", min_size=1, max_size=6)


def codes(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_cells_tags_and_slide_types():
    title, code, last = from_text(LESSON).cells
    assert (title.cell_type, title.source) == ("markdown", "# A title\n\nA question?")
    assert (title.metadata.slideshow.slide_type, tags(title)) == ("slide", ["title"])
    assert (code.cell_type, code.metadata) == ("code", {"tags": ["measured"]})
    assert (last.source, last.metadata) == ("x", {"slideshow": {"slide_type": "fragment"}})


def test_nothing_of_the_machine_or_the_tool_is_in_the_metadata():
    notebook = from_text(LESSON)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)


def test_two_slide_tags_are_refused():
    with pytest.raises(InputError, match=r"lesson\.py, cell 1: expected at most one .* got slide, skip"):
        from_text('# %% tags=["slide", "skip"]\n1', name="lesson.py")


@given(st.lists(words, min_size=1, max_size=8), words, st.data())
def test_ids_are_unique_and_those_of_other_cells_stay(codes, new, data):
    def ids(lines):
        return [cell.id for cell in from_text("\n\n".join(f"# %%\n{line}" for line in lines)).cells]

    place = data.draw(st.integers(0, len(codes)))
    before, after = ids(codes), ids([*codes[:place], f"{new}_new", *codes[place:]])
    assert len(set(before)) == len(codes)
    assert [*after[:place], *after[place + 1 :]] == before


def test_an_id_follows_what_its_cell_says():
    one, two, text = (from_text(s).cells[0].id for s in ("# %%\na", "# %%\nb", "# %% [markdown]\n# a"))
    assert len({one, two, text}) == 3


def test_the_solution_is_the_source_without_its_markers():
    first, second = codes(solution(from_text(EXERCISE)))
    assert first.splitlines()[:3] == ["a = 2", "b = 2 * a", "unused = 5"]
    assert second == 'print("only here")\ncheck("b", b == 4)'
    assert "Because two is two." in write_text(solution(from_text(EXERCISE)))


def test_the_blank_asks_for_what_is_used_elsewhere():
    first, second = codes(blank(from_text(EXERCISE)))
    assert first.splitlines()[:3] == ["a = 2", "# Your code here: twice a", "b = ..."]
    assert "    # Your code here\n    result = ...\n    return result" in first
    assert second == '# Your code here\n...\ncheck("b", b == 4)'
    for secret in ("2 * a", "unused", "only here", "Because", "solution"):
        assert secret not in write_text(blank(from_text(EXERCISE)))


def test_cells_keep_their_ids_in_blank_and_solution():
    whole = from_text(EXERCISE)
    assert [cell.id for cell in solution(whole).cells] == [cell.id for cell in whole.cells]
    assert [cell.id for cell in blank(whole).cells] == [c.id for c in whole.cells if "solution" not in tags(c)]


@given(st.lists(st.tuples(st.booleans(), words), min_size=1, max_size=9))
def test_no_line_of_a_solution_reaches_the_blank_and_all_others_do(lines):
    code = "".join(
        f"# >>> solution\nsecret_{word} = 1\n# <<< solution\n" if secret else f"open_{word} = 1\n"
        for secret, word in lines
    )
    made = codes(blank(from_text(f"# %%\n{code}")))[0]
    ast.parse(made)
    assert "secret_" not in made
    assert [line for line in made.splitlines() if line.startswith("open")] == [
        f"open_{w} = 1" for s, w in lines if not s
    ]


@pytest.mark.parametrize(
    "code",
    ["# >>> solution\nx = 1", "x = 1\n# <<< solution", "# >>> solution\n# >>> solution\nx = 1\n# <<< solution",
     "# >>> solution\nx = 1\n# <<< solution\n# <<< solution"],
)  # fmt: skip
@pytest.mark.parametrize("face", [blank, solution])
def test_a_lonely_marker_is_refused(face, code):
    with pytest.raises(InputError, match=r"cell 1 .* in pairs"):
        face(from_text(f"# %%\n{code}\n"))


def test_a_solution_that_defines_a_function_is_refused():
    with pytest.raises(InputError, match="defines f; put its first line outside the markers"):
        blank(from_text("# %%\n# >>> solution\ndef f(): ...\n# <<< solution\n"))


def test_pick(tmp_path):
    for name in ("01_one.py", "02_two.py", "notes.py"):
        (tmp_path / name).write_text(LESSON)
    assert [p.name for p in pick([], tmp_path)] == ["01_one.py", "02_two.py"]
    assert [p.name for p in pick(["2"], tmp_path)] == ["02_two.py"]
    assert read(tmp_path / "01_one.py") == from_text(LESSON)
    with pytest.raises(InputError, match="got 03; the lessons are: 01, 02"):
        pick(["01", "3"], tmp_path)


def test_first_line_skips_empty_lines_and_shortens():
    assert first_line(from_text(f"# %%\n\n{'long ' * 30}").cells[0]).endswith("long ...")
