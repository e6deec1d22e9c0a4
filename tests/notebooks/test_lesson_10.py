"""What lesson 10 does by hand, held against the library and against what must be so; its figures and its verdicts."""

import ast
import gzip
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from inferkit import course, plots
from inferkit.datasets import load_signs
from inferkit.models import LiteRTModel, load_reference
from inferkit.optimize import cubic_sparsity, read_layers
from notebooks.source import SOURCES, read, solution, tags

SOURCE = SOURCES / "10_pruning.py"
CODE = [cell for cell in read(SOURCE).cells if cell.cell_type == "code"]
SHARED = {
    "np": np, "plt": plt, "slide_size": plots.slide_size, "COLOURS": plots.COLOURS, "LiteRTModel": LiteRTModel,
    "label_lines": plots.label_lines, "read_layers": read_layers, "gzip": gzip, "course": course, "sp": sp,
}  # fmt: skip
KERNELS = arrays(np.float32, array_shapes(min_dims=1, max_dims=4, max_side=5), elements=st.floats(-2, 2, width=32))


def cell_with(text: str) -> str:
    """Return the code of the only cell that holds a text."""
    (found,) = [cell.source for cell in CODE if text in cell.source]
    return found


def run(*texts: str, **names: Any) -> dict[str, Any]:
    """Run the cells with these texts; return what they leave behind."""
    space = SHARED | names
    for text in texts:
        exec(cell_with(text), space)
    return space


def definition(name: str, cells: Any = None, **names: Any) -> Any:
    """Return one function of the lesson, or of other cells, without what else stands in its cell."""
    (node,) = [
        node
        for cell in cells or CODE
        if cell.cell_type == "code"
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    space = SHARED | names
    exec(ast.unparse(node), space)
    return space[name]


to_zero = definition("to_zero")


@pytest.fixture(scope="module")
def dense() -> Any:
    return load_reference("signs-cnn")


def weights_of(model: Any) -> list[Any]:
    return [layer.weights.data for layer in read_layers(model) if layer.weights is not None]


# -- by hand ----------------------------------------------------------------------------------


@given(w=KERNELS, share=st.floats(0, 1))
def test_the_smallest_go_and_the_rest_stays(w, share):
    cut = to_zero(w, share)
    gone = np.flatnonzero((cut != w).ravel())
    assert (cut == 0).sum() >= round(share * w.size)
    assert len(gone) <= round(share * w.size)
    np.testing.assert_array_equal(cut[cut != 0], w[cut != 0])
    if (cut != 0).any() and len(gone):
        assert np.abs(w).ravel()[gone].max() <= np.abs(cut[cut != 0]).min()


def test_zeros_are_written_over_the_numbers_of_a_file_and_over_nothing_else(dense):
    content = definition("with_zeros", to_zero=to_zero)(dense.content, 0.8)
    assert len(content) == len(dense.content)
    cut = weights_of(content)
    assert [round(float((w == 0).mean()), 2) for w in cut] == [0.8] * 6
    for before, after in zip(weights_of(dense), cut, strict=True):
        np.testing.assert_array_equal(after, to_zero(before, 0.8))
    assert sum(a != b for a, b in zip(content, dense.content, strict=True)) <= 4 * sum(w.size for w in cut)
    assert definition("with_zeros", to_zero=to_zero)(dense.content, 0) == dense.content


@given(t=st.floats(0, 1), final=st.floats(0, 0.99))
def test_the_schedule_is_the_librarys(t, final):
    assert definition("cubic")(t, final) == pytest.approx(float(cubic_sparsity(t, final)), abs=1e-12)


def test_the_chain_of_filters_fits_itself_and_loses_the_weakest(dense):
    """What the loop keeps of a layer is what the next one reads."""
    layers = [layer for layer in read_layers(dense) if layer.op == "CONV_2D"]
    loop = cell_with("prune_filters(network, share=0.5)").partition("before, same")[2]
    half = SimpleNamespace()
    seen = []

    def fake(model):
        if model is dense:
            return layers
        return [SimpleNamespace(weights=SimpleNamespace(data=np.zeros(1, np.float32)))] * len(layers)

    class Watch(list):
        def append(self, value):
            seen.append((space["w"], space["kept"], space["by_hand"]))

    space = SHARED | {"dense": dense, "half": half, "read_layers": fake}
    space["np"] = SimpleNamespace(**{name: getattr(np, name) for name in ("abs", "sort", "argsort", "arange")})
    space["np"].allclose = lambda *_, **__: True
    space["Watch"] = Watch
    exec("before, same" + loop.replace("[]  #", "Watch()  #", 1), space)
    channels = np.arange(3)
    for w, kept, by_hand in seen:
        strength = np.abs(w).sum(axis=(1, 2, 3))
        assert strength[kept].min() >= np.delete(strength, kept).max()
        np.testing.assert_array_equal(by_hand, w[np.ix_(kept, range(w.shape[1]), range(w.shape[2]), channels)])
        channels = kept
    assert [one[2].shape for one in seen] == [(8, 5, 5, 3), (12, 3, 3, 8), (16, 3, 3, 12), (24, 3, 3, 16)]


# -- bytes ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def formats() -> dict[str, Any]:
    return run("formats = {")["formats"]


@pytest.mark.parametrize("bits", [8, 32])
def test_a_format_pays_from_where_it_needs_fewer_bits(formats, bits):
    pays_from = definition("pays_from")
    for always, each in formats.values():
        said, shares = pays_from(always, each, bits), np.linspace(0, 1, 100_001)
        better = shares[always + each * (1 - shares) < bits]
        if said in ("always", "–"):
            assert len(better) == (len(shares) if said == "always" else 0)
        else:
            assert float(said.rstrip("%")) / 100 == pytest.approx(better[0], abs=1e-3)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_the_bits_are_those_that_the_formats_take(formats, share):
    w = to_zero(np.random.default_rng(1).standard_normal((400, 400)).astype(np.float32), share)
    csr, stays = sp.csr_matrix(w), w != 0
    took = {
        "CSR: float32, 32-bit column": csr.data.nbytes + csr.indices.nbytes,
        "CSR: float32, 16-bit column": csr.data.nbytes + csr.indices.astype(np.uint16).nbytes,
        "bitmap and float32": np.packbits(stays).nbytes + w[stays].nbytes,
        "bitmap and int8": np.packbits(stays).nbytes + w[stays].astype(np.int8).nbytes,
    }
    for name, n_bytes in took.items():
        always, each = formats[name]
        assert 8 * n_bytes / w.size == pytest.approx(always + each * (1 - share))


def test_sparse_overtakes_where_it_is_first_faster():
    overtakes = definition("overtakes", shares=(0.5, 0.8, 0.9))
    assert overtakes({"dense": 10, 0.5: 20, 0.8: 9, 0.9: 4}) == "from 80% zeros"
    assert overtakes({"dense": 10, 0.5: 20, 0.8: 19, 0.9: 14}) == "not here"


@pytest.fixture(scope="module")
def clustered(dense) -> dict[str, Any]:
    return run("largest = max(", "bytes_of = {", dense=dense, Markdown=lambda text: text)


def test_clustering_by_hand_is_a_place_where_k_means_rests(clustered):
    w, centres, codes = clustered["w"], clustered["centres"], clustered["codes"]
    np.testing.assert_array_equal(np.abs(w[:, None] - centres).argmin(axis=1), codes)
    np.testing.assert_allclose([w[codes == k].mean() for k in range(16)], centres, rtol=1e-4)
    assert len(np.unique(clustered["shared"])) == 16


def test_codes_fit_into_half_a_byte_and_entropy_is_below(clustered):
    sizes, codes, both = clustered["bytes_of"], clustered["codes"], clustered["both"].astype(np.uint8)
    np.testing.assert_array_equal(np.stack([both >> 4, both & 15], axis=1).ravel(), codes)
    assert sizes["codebook and 4-bit codes"][0] == 16 * 4 + len(codes) // 2
    share = np.bincount(codes) / len(codes)
    entropy = 64 - len(codes) * (share * np.log2(share)).sum() / 8
    assert sizes["what the codes say (entropy)"][0] == pytest.approx(entropy, abs=1)
    assert entropy < sizes["codebook and 4-bit codes"][1]


# -- figures ----------------------------------------------------------------------------------

ZEROS = {"file": [100, 100], "gzip": [100, 30], "time": [100, 99], "right": [100, 95]}
FILTERS = {"file": [100, 30], "gzip": [100, 28], "time": [100, 45], "right": [100, 92]}


@pytest.fixture
def poster():
    plots.use_style()
    yield run("LOOKS = {", "def draw_levels(", "def poster(")["poster"]
    plt.close("all")


def test_the_poster_has_every_level_at_its_place_and_the_guess_as_a_time(poster):
    left, beside = poster(([0, 80], ZEROS), ([0, 74], FILTERS), guessed=5).axes
    for ax, x, levels in ((left, [0, 80], ZEROS), (beside, [0, 74], FILTERS)):
        drawn = {line.get_label(): line for line in ax.lines if line.get_label() in levels}
        assert {name: line.get_ydata().tolist() for name, line in drawn.items()} == levels
        assert all(line.get_xdata().tolist() == x for line in drawn.values())
    assert left.lines[-1].get_xydata().tolist() == [[80, 20]], "five times as fast takes a fifth of the time"
    assert "your guess" in {text.get_text() for text in left.texts}


def test_without_a_guess_none_is_marked_and_another_time_is_another_poster(poster):
    plain = poster(([0, 80], ZEROS), ([0, 74], FILTERS))
    assert "your guess" not in {text.get_text() for text in plain.axes[0].texts}
    frozen = plots.figure_data(plain)
    assert plots.compare_figure_data(frozen, plots.figure_data(poster(([0, 80], ZEROS), ([0, 74], FILTERS)))) == []
    quicker = ZEROS | {"time": [100, 90]}
    assert plots.compare_figure_data(frozen, plots.figure_data(poster(([0, 80], quicker), ([0, 74], FILTERS)))) != []


def test_levels_are_relative_to_the_first():
    model = {"dense": SimpleNamespace(content=b"x" * 200), "cut": SimpleNamespace(content=b"x" * 100)}
    row = {"dense": SimpleNamespace(p50_ms=4.0), "cut": SimpleNamespace(p50_ms=1.0)}
    answers = {"packed": lambda m: len(m.content) // 5, "right": lambda m: 0.4 + len(m.content) / 500}
    levels = run("LOOKS = {", **answers)["relative"](model, row)
    assert {name: values.round(6).tolist() for name, values in levels.items()} == {
        "file": [100, 50], "gzip": [100, 50], "time": [100, 25], "right": [100, 75]
    }  # fmt: skip


def test_the_opening_shows_every_answer_with_its_name():
    plots.use_style()
    answers = {share: np.eye(12)[k] for share, k in ((0, 2), (0.5, 2), (0.8, 5), (0.95, 11))}
    names = [f"sign {k}" for k in range(12)]
    draw = definition("opening_figure")
    picture, *panels = draw(np.zeros((32, 32, 3)), answers, dict.fromkeys(answers, 0.25), names).axes
    assert [ax.texts[0].get_text() for ax in panels] == [f"sign {k}\n100%" for k in (2, 2, 5, 11)]
    assert [ax.get_title(loc="left") or ax.get_title() for ax in panels] == [f"{share:.0%} zeros" for share in answers]
    assert len(picture.images) == 1
    plt.close("all")


# -- verdicts ---------------------------------------------------------------------------------


def verdicts(**changes: Any) -> list[str]:
    space = {
        "dense": 0.985, "gradual": {0.5: 0.975, 0.8: 0.93, 0.9: 0.6}, "filters": {0.25: 0.95, 0.5: 0.9},
        "faster": SimpleNamespace(value=1.0), "quicker": SimpleNamespace(value=2.3), "kept": [0.9], "fresh": [0.4],
        "right": lambda share: share, "packed": lambda share: 100 * share**30, "Markdown": lambda text: text,
    }  # fmt: skip
    return list(run("cheap = [", "said = {", **space | changes)["said"].values())


def test_verdicts_follow_what_was_measured():
    said = verdicts()
    assert said[0].startswith("no: 80 % zeros, 1.00 ×")
    assert said[1].startswith("holds: half of them, 2.30 ×")
    assert "up to 50% zeros; 80 %: 5.5, filters: 8.5" in said[2]
    assert said[3].startswith("holds after gzip: 5.6 ×")
    assert said[4] == "holds: +50.0 points"
    other = verdicts(
        faster=SimpleNamespace(value=3.0), quicker=SimpleNamespace(value=1.0), fresh=[0.95], packed=lambda share: 7,
        gradual={0.5: 0.9, 0.8: 0.8, 0.9: 0.6},
    )  # fmt: skip
    assert other[0].startswith("holds: 80 % zeros, 3.00 ×")
    assert other[1].startswith("no: ")
    assert "not even at 50%" in other[2]
    assert other[3].startswith("no after gzip: 1.0 ×")
    assert other[4] == "no: -5.0 points"


# -- play -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def widget(dense) -> Any:
    played = {s: (0.9 - s / 200, 116.0 - s, 56.0) for s in (0, 50, 95)}
    code = cell_with("def counts(").partition("from inferkit.widgets")[2]
    space = SHARED | {"played": played, "dense": dense, "to_zero": to_zero}
    exec("from inferkit.widgets" + code, space)
    for text in ("places = []", "def look("):
        exec(cell_with(text), space)
    return space


@pytest.mark.parametrize("zeros", [0, 50, 95])
def test_the_widget_draws_what_goes_and_says_what_was_measured(widget, zeros, dense):
    parts = widget["look"](zeros)
    hills = [part for part in parts if part.kind == "bars"]
    weights = weights_of(dense)
    within = sum(int((np.abs(w) <= 0.5).sum()) for w in weights)
    assert hills[0].y.sum() == pytest.approx(within / 1000)
    gone = sum(round(zeros / 100 * w.size) for w in weights)
    assert sum(hill.y.sum() for hill in hills[1:]) == pytest.approx(gone / 1000, rel=0.01)
    dots = [part for part in parts if part.kind == "points"]
    rings = sum(part.size for part in dots if part.hollow)
    assert sum(part.size for part in dots) == 16 * 25
    assert rings == (to_zero(weights[0], zeros / 100)[..., 1] == 0).sum()
    accuracy, kb, us = widget["played"][zeros]
    said = {part.label: part.words for part in parts if part.kind == "text"}
    assert said == {"right": f"{accuracy:.1%}", "gzip": f"{kb:.1f} kB", "one answer": f"{us:.1f} µs"}


def test_the_filters_stand_apart_and_clear_of_the_hill(widget):
    places = widget["places"].reshape(16, 25, 2)
    assert np.abs(places[..., 0]).max() < 0.5
    assert np.abs(places[..., 0]).min() > 0.18
    assert ((places[..., 1] > 0.5) & (places[..., 1] < 3)).all()
    boxes = [(one.min(axis=0), one.max(axis=0)) for one in places]
    for k, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[:k]:
            assert (high < other_low).any() or (low > other_high).any()


# -- break it ---------------------------------------------------------------------------------


def test_naming_the_mistakes_passes_and_a_blank_does_not(capsys):
    right = {"ash": "zeros filled up again", "beech": "the large ones went", "cherry": "other channels kept"}
    for suspicion, marks in ((right, "✓✓✓"), (dict.fromkeys(right, ...), "✗✗✗"), (right | {"beech": "x"}, "✓✗✓")):
        run("mistakes = {", suspicion=suspicion)
        assert "".join(line[0] for line in capsys.readouterr().out.splitlines()) == marks


def test_the_symptoms_tell_the_mistakes_apart(dense):
    """Beech has lost the large ones; cherry's next layer reads other channels, and its numbers are the same."""
    cut = dense.content
    for w in weights_of(dense):
        cut = cut.replace(w.tobytes(), (w - to_zero(w, 0.2)).tobytes())
    beech = weights_of(cut)
    for w, left in zip(weights_of(dense), beech, strict=True):
        assert (left == 0).mean() == pytest.approx(0.8, abs=0.01)
        assert np.abs(left).max() <= np.sort(np.abs(w), axis=None)[round(0.2 * w.size)]
    space = {"packed": lambda m: 1000, "right": lambda m: 0.08}
    said = definition("symptoms", **space)(LiteRTModel(cut)).split(" | ")
    assert said[1] == "80%"
    assert float(said[2]) == pytest.approx(max(np.abs(w).max() for w in beech), abs=0.006)
    assert said[3] == "1,860,384"


# -- exercises --------------------------------------------------------------------------------

EXERCISES = solution(read(SOURCES / "exercises" / SOURCE.name)).cells


@given(w=KERNELS)
def test_what_is_packed_comes_back(w):
    w = np.where(np.abs(w) < 0.5, np.float32(0), w)
    pack, unpack = definition("pack", EXERCISES), definition("unpack", EXERCISES)
    packed = pack(w)
    np.testing.assert_array_equal(unpack(packed, w.shape), w)
    assert len(packed) == -(-w.size // 8) + 4 * np.count_nonzero(w)


@given(share=st.floats(0.05, 0.95), data=st.data())
def test_one_threshold_cuts_the_smallest_of_all(share, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    weights = [rng.normal(0, scale, 200).astype(np.float32) for scale in (1, 0.2)]
    cut = definition("cut_all", EXERCISES, weights=weights)(share)
    every, left = np.abs(np.concatenate(weights)), np.concatenate(cut) != 0
    assert left.sum() == 400 - round(share * 400)
    if left.any() and not left.all():
        assert every[left].min() >= every[~left].max()


def test_one_threshold_spares_the_first_layer_of_the_signs(dense):
    cut = definition("cut_all", EXERCISES, weights=weights_of(dense))(0.7)
    shares = [float((w == 0).mean()) for w in cut]
    assert shares[0] < 0.4 < 0.6 < max(shares)
    assert load_signs().target.shape == (1152,)


# -- the whole --------------------------------------------------------------------------------


def test_what_gives_answers_away_is_folded_and_nothing_that_is_taught():
    folded = [cell for cell in CODE if cell.metadata.get("jupyter", {}).get("source_hidden")]
    giveaways = ("course.quiz(", "mistakes = {", "theirs = {", "def symptoms(")
    assert all(any(text in cell.source for text in giveaways) for cell in folded)
    assert len(folded) == 8
    assert all("measured" not in tags(cell) for cell in folded)
