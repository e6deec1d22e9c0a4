import base64
import copy
import functools
import io
import itertools
import json
import math
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib import pyplot as plt
from PIL import Image, ImageOps

from inferkit import InputError, plots

X = np.linspace(0, 10, 101)
ALT = "Accuracy rises for four epochs, then levels off"


@pytest.fixture(autouse=True)
def _style():
    with matplotlib.rc_context():
        plots.use_style()
        yield
    plt.close("all")


Y = 1 - np.exp(-X / 2)


def curve(y=Y, **labels):
    fig, ax = plt.subplots()
    ax.plot(X, y, label="accuracy")
    ax.set(**{"title": "Accuracy", "xlabel": "epoch", "ylabel": "part right", "xlim": (0, 10), "ylim": (0, 1)} | labels)
    return fig


def bars():
    fig, ax = plt.subplots()
    ax.barh(["Keras predict", "model(x)", "tf.function", "LiteRT"], [39898, 2771, 432, 6.1])
    ax.set(xscale="log", xlabel="one answer (µs)", title="The latency ladder")
    return fig


def points():
    rng = np.random.default_rng(3)
    fig, ax = plt.subplots()
    shades = ax.scatter(*rng.normal(size=(2, 300)), c=rng.random(300))
    fig.colorbar(shades, label="share")
    return fig


def pictures():
    fig, axes = plt.subplots(2, 4)
    for ax, digit in zip(axes.flat, np.random.default_rng(4).random((8, 8, 8)), strict=True):
        ax.imshow(digit, vmin=0, vmax=1)
        ax.set_title("7")
    return fig


EVERY_FIGURE = (curve, bars, points, pictures)


class Notebook:
    """Stands in for the shell of a notebook, and keeps what is published."""

    def __init__(self):
        self.kernel, self.display_pub, self.published = object(), self, []

    def publish(self, data):
        self.published.append(data)


@pytest.fixture
def published(monkeypatch):
    import IPython

    shell = Notebook()
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    return shell.published


def shown(fig, published, alt=ALT):
    plots.show(fig, alt=alt)
    return published[-1]


class Images(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


# -- style ------------------------------------------------------------------------------------------------------


def linear_rgb(colour):
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(linear):
    """CIE L*a*b* of linear sRGB (D65)."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.maximum(to_xyz @ np.clip(linear, 0, 1) / [0.9505, 1, 1.089], 0.001))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# What is left of linear RGB without one kind of cone: Machado, Oliveira and Fernandes (2009), severity 1.
EYES = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def test_colours_stand_out_from_white():
    for colour in matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]:
        luminance = linear_rgb(colour) @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (luminance + 0.05) >= 3.0, colour  # WCAG 2.2, 1.4.11


@pytest.mark.parametrize("eye", EYES)
def test_colours_are_told_apart(eye):
    seen = [lab(np.asarray(EYES[eye]) @ linear_rgb(colour)) for colour in plots.COLOURS.values()]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15  # some 6 just noticeable steps


def test_named_colours_are_the_cycle():
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    assert [matplotlib.colors.to_hex(f"#{c.lstrip('#')}") for c in cycle] == list(plots.COLOURS.values())


def test_style_is_readable_and_brings_its_font():
    sizes = [matplotlib.rcParams[f"{name}.labelsize"] for name in ("axes", "xtick", "ytick")]
    sizes += [matplotlib.rcParams[name] for name in ("font.size", "axes.titlesize", "legend.fontsize")]
    assert min(sizes) >= 14
    assert matplotlib.get_data_path() in font_manager.findfont(font_manager.FontProperties())
    assert not matplotlib.rcParams["axes.spines.top"]
    assert tuple(matplotlib.rcParams["figure.figsize"]) == (8, 4.5)


def test_slide_size_is_a_part_of_the_slide():
    assert plots.slide_size() == (11, 5)
    assert plots.slide_size(0.5, height=0.4) == (5.5, 2)


@pytest.mark.parametrize("part", [0, -1, 1.01, math.nan])
def test_slide_size_refuses_what_does_not_fit(part):
    with pytest.raises(InputError, match="height: expected a part of a slide above 0 and at most 1"):
        plots.slide_size(height=part)


def test_line_labels_stand_at_the_end_in_their_colour():
    _, ax = plt.subplots()
    up = ax.plot([0, 1, 2], [0, 5, math.nan], label="up")[0]
    ax.plot([0, 1], [0, 1])
    ax.axhline(3, label="level", color="k")
    level, text = plots.label_lines(ax)
    assert (text.get_text(), text.xy, text.get_color()) == ("up", (1, 5), up.get_color())
    assert (level.get_text(), level.xy) == ("level", pytest.approx((ax.get_xlim()[1], 3)))


def test_line_labels_do_not_overlap():
    fig, ax = plt.subplots()
    for n in range(4):
        ax.plot([0, 1], [0, 1 + n / 1000], label=f"line {n}")
    texts = plots.label_lines(ax)
    fig.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in texts), key=lambda box: box.y0)
    assert [text.get_text() for text in texts] == ["line 0", "line 1", "line 2", "line 3"]
    assert all(low.y1 <= high.y0 + 1 for low, high in itertools.pairwise(boxes))


# -- show -------------------------------------------------------------------------------------------------------


def test_show_publishes_the_alt_text_the_picture_and_the_data(published):
    fig = curve()
    bundle = shown(fig, published)
    ((tag, attributes),) = Images(bundle["text/html"]).found
    assert (tag, attributes["alt"], attributes["width"]) == ("img", ALT, "768")
    assert attributes["src"] == "data:image/png;base64," + bundle["image/png"]
    assert bundle["text/plain"] == ALT
    assert bundle[plots.FIGURE_MIME] == plots.figure_data(fig)
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).size == (1152, 648)


def test_show_closes_the_figure(published):
    plots.show(curve(), alt=ALT)
    assert plt.get_fignums() == []


def test_show_returns_nothing(published):
    assert plots.show(curve(), alt=ALT) is None


@given(st.text().filter(lambda text: "\x00" not in text and "\r" not in text))
def test_alt_text_survives_html(text):
    alt = f'1 < 2 & "three" {text} four five'
    html = plots._show._bundle(EMPTY, plots._show._alt_text(alt))["text/html"]
    ((_, attributes),) = Images(html).found
    assert attributes["alt"] == " ".join(alt.split())
    assert set(attributes) == {"alt", "width", "style", "src"}


EMPTY = matplotlib.figure.Figure(figsize=(0.1, 0.1))


@pytest.mark.parametrize("figure", EVERY_FIGURE)
def test_the_same_figure_gives_the_same_small_bytes(figure, published):
    first = shown(figure(), published)
    drawn_before = figure()
    for _ in range(2):
        drawn_before.canvas.draw()
        plots.figure_data(drawn_before)
    assert shown(drawn_before, published) == first
    png = base64.b64decode(first["image/png"])
    assert len(png) < 80_000
    assert not set(Image.open(io.BytesIO(png)).info) & {"Software", "Creation Time", "date:create"}


def test_few_colours_are_kept_only_where_one_sees_no_loss():
    photo = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    kept = plots._show._few_colours(Image.fromarray(photo))
    np.testing.assert_array_equal(np.asarray(kept), photo)
    plain = Image.new("RGB", (64, 64), "#0072b2")
    assert plots._show._few_colours(plain).mode == "P"


def test_tight_boxes_do_not_change_the_size(published):
    with matplotlib.rc_context({"savefig.bbox": "tight"}):
        assert shown(curve(), published) == shown(curve(), published)
        assert Image.open(io.BytesIO(base64.b64decode(published[-1]["image/png"]))).size == (1152, 648)


@pytest.mark.parametrize("alt", ["", "   ", "figure", "A figure of the plot", "the chart", "accuracy chart", None, 3])
def test_show_refuses_an_alt_text_that_says_nothing(alt, published):
    fig = curve()
    with pytest.raises(InputError, match="alt: expected a sentence that says what the figure shows"):
        plots.show(fig, alt=alt)
    assert published == []
    assert plt.fignum_exists(fig.number)


def test_show_needs_an_alt_text():
    with pytest.raises(TypeError, match="alt"):
        plots.show(curve())


@pytest.mark.parametrize(("fig", "hint"), [(lambda: curve().axes[0], "pass ax.figure"), (lambda: plt, "plt.subplots")])
def test_show_refuses_what_is_no_figure(fig, hint):
    with pytest.raises(InputError, match=f"expected a matplotlib Figure, got .*{hint}"):
        plots.show(fig(), alt=ALT)


def test_show_prints_the_alt_text_outside_a_notebook(capsys):
    fig = curve()
    plots.show(fig, alt=f"  {ALT}\n and stays there ")
    assert capsys.readouterr().out == f"{ALT} and stays there\n"
    assert plt.get_fignums() == []


def test_show_prints_the_alt_text_in_a_terminal_of_ipython(published, monkeypatch, capsys):
    import IPython

    monkeypatch.delattr(IPython.get_ipython(), "kernel")
    plots.show(curve(), alt=ALT)
    assert (capsys.readouterr().out, published) == (f"{ALT}\n", [])


def test_show_does_not_import_ipython():
    code = (
        "import sys; from inferkit import plots; from matplotlib.figure import Figure;"
        "plots.show(Figure(), alt='nothing is drawn here'); sys.exit('IPython' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_a_real_notebook_shows_the_figure_once():
    import nbclient
    import nbformat

    code = f"""
from matplotlib import pyplot as plt
from inferkit import plots
plots.use_style()
fig, ax = plt.subplots()
ax.plot([1, 2, 3])
plots.show(fig, alt={ALT!r})
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "display_data"
    assert set(output.data) == {"text/plain", "text/html", "image/png", plots.FIGURE_MIME}
    assert output.data[plots.FIGURE_MIME]["axes"][0]["artists"][0]["y"] == [1, 2, 3]


# -- what a figure says -----------------------------------------------------------------------------------------


def only_axes(fig):
    (axes,) = plots.figure_data(fig)["axes"]
    return axes


def only_artist(fig):
    (artist,) = only_axes(fig)["artists"]
    return artist


@pytest.mark.parametrize("figure", EVERY_FIGURE)
def test_figure_data_survives_json_and_equals_itself(figure):
    data = plots.figure_data(figure())
    back = json.loads(json.dumps(data, allow_nan=False))
    assert back == data
    assert plots.compare_figure_data(data, back) == []


def test_figure_data_of_a_line():
    axes = only_axes(curve(title="Right"))
    assert {key: axes[key] for key in ("title", "xlabel", "ylabel", "xlim", "yscale")} == {
        "title": "Right", "xlabel": "epoch", "ylabel": "part right", "xlim": [0, 10], "yscale": "linear",
    }  # fmt: skip
    (line,) = axes["artists"]
    np.testing.assert_allclose(line["y"], Y, rtol=1e-5)
    assert (line["kind"], line["label"], line["colour"], line["n"]) == ("line", "accuracy", plots.COLOURS["blue"], 101)
    _, ax = plt.subplots()
    ax.plot([1, 2])
    assert "label" not in only_artist(ax.figure)  # matplotlib's own "_child0" says nothing


def test_figure_data_gives_other_frames_in_data_coordinates():
    fig, ax = plt.subplots()
    ax.set(xlim=(10, 20), ylim=(1, 100), yscale="log")
    ax.axhline(50)
    ax.text(0.5, 0.5, "middle", transform=ax.transAxes)
    ax.axvspan(12, 14)
    line, *_, text = sorted(only_axes(fig)["artists"], key=lambda artist: artist["kind"] == "text")
    span = next(artist for artist in only_axes(fig)["artists"] if artist["kind"] == "bar")
    assert (line["x"], line["y"]) == ([10, 20], [50, 50])
    assert (text["text"], text["x"], text["y"]) == ("middle", [15], [10])
    assert (span["x"], span["y"]) == ([12, 14], [1, 100])


def test_figure_data_of_points_areas_wedges_and_texts():
    fig, ax = plt.subplots()
    ax.scatter([1, 2], [3, 4], c=[0.1, 0.9], label="patients")
    ax.fill_between([0, 1], [0, 0], [1, 2])
    ax.pie([1, 3])
    ax.annotate("here", xy=(1, 3), xytext=(2, 4))
    ax.set(xlim=(0, 4), ylim=(0, 4))
    kinds = {artist["kind"]: artist for artist in only_axes(fig)["artists"]}
    assert set(kinds) == {"points", "area", "patch", "text"}
    assert (kinds["points"]["label"], kinds["points"]["x"]) == ("patients", [1, 2])
    assert kinds["points"]["values"] == [0.1, 0.9]
    assert max(kinds["area"]["y"]) == 2
    assert (kinds["text"]["x"], kinds["text"]["y"]) == ([2, 1], [4, 3])


def test_figure_data_of_a_picture_is_coarse():
    fig, ax = plt.subplots()
    values = np.random.default_rng(0).random((64, 48))
    ax.imshow(values, vmin=0, vmax=1)
    artist = only_artist(fig)
    assert (artist["kind"], artist["shape"], artist["clim"]) == ("image", [64, 48], [0, 1])
    np.testing.assert_allclose(artist["values"], values.reshape(16, 4, 16, 3).mean(axis=(1, 3)).ravel(), rtol=1e-5)
    assert (artist["x"], artist["y"]) == ([-0.5, 47.5], [63.5, -0.5])


def test_figure_data_names_ticks_that_someone_has_named():
    axes = only_axes(bars())
    assert axes["yticks"] == ["Keras predict", "model(x)", "tf.function", "LiteRT"]
    assert axes["xticks"] == []


def test_figure_data_holds_what_is_outside_the_axes():
    fig = curve()
    fig.suptitle("Above all")
    fig.axes[0].legend()
    fig.axes[0].inset_axes([0.5, 0.1, 0.4, 0.4]).plot([1, 2])
    data = plots.figure_data(fig)
    assert [artist["text"] for artist in data["artists"]] == ["Above all"]
    assert data["axes"][0]["legend"] == ["accuracy"]
    assert [len(axes["artists"]) for axes in data["axes"]] == [1, 1]


def test_figure_data_leaves_out_what_is_not_seen():
    fig = curve()
    fig.axes[0].lines[0].set_visible(False)
    fig.axes[0].annotate("outside", (20, 20))
    assert only_axes(fig)["artists"] == []


def test_figure_data_of_long_curves_stays_small():
    y = np.sin(np.linspace(0, 20, 1_000_000))
    fig, ax = plt.subplots()
    ax.plot(y)
    line = only_artist(fig)
    assert (line["n"], len(line["y"])) == (1_000_000, 2000)
    np.testing.assert_allclose(line["y"], y.reshape(2000, 500).mean(axis=1), rtol=1e-4, atol=1e-6)


def test_figure_data_of_gaps_is_null():
    assert only_artist(curve(np.where(X == 5, np.inf, np.where(X > 9, np.nan, X))))["y"][50] is None


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=20))
@example([20410.0, 20410.25, 20410.5])
@example([1e9, 1e9 + 1])
def test_numbers_keep_six_digits_and_what_tells_them_apart(values):
    kept = plots._data._numbers(values)
    scale, spread = max(map(abs, values)), max(values) - min(values)
    assert all(math.isclose(a, b, rel_tol=5.1e-6) for a, b in zip(values, kept, strict=True))
    if spread > 1e-9 * scale:
        assert all(abs(a - b) <= 1.1e-5 * spread for a, b in zip(values, kept, strict=True))


def test_figure_data_refuses_what_is_no_figure():
    with pytest.raises(InputError, match="fig: expected a matplotlib Figure, got list"):
        plots.figure_data([])


# -- are two figures the same -----------------------------------------------------------------------------------


def differences(one, other, **options):
    return plots.compare_figure_data(plots.figure_data(one), plots.figure_data(other), **options)


def test_last_digit_jitter_passes():
    assert differences(curve(), curve(Y + 1e-7)) == []
    assert differences(curve(), curve(Y * (1 + 1e-5))) == []
    assert differences(curve(title="0.9731 right"), curve(title="0.9732 right")) == []


def test_a_curve_moved_by_two_percent_of_its_axis_fails():
    for changed in (Y * 1.02, Y + 0.02, np.where(np.arange(101) == 7, Y + 0.02, Y)):
        (found,) = differences(curve(), curve(changed))
        assert found.startswith("axes[0].artists[0] (line 'accuracy').y:")
        assert "2 % of the axis" in found


def test_a_curve_scaled_with_its_axis_fails():
    def free(y):
        fig, ax = plt.subplots()
        ax.plot(X, y)
        return fig

    assert differences(free(X**2), free(X**2 * 1.02))
    assert differences(free(X**2), free(X**2 * (1 + 1e-5))) == []


def test_log_axes_are_measured_in_decades():
    def ladder(first):
        fig, ax = plt.subplots()
        ax.plot([first, 1e6])
        ax.set(yscale="log", ylim=(0.1, 1e7))  # eight decades
        return fig

    assert differences(ladder(1.0), ladder(1.015)) == []  # 0.08 % of eight decades, invisible
    (found,) = differences(ladder(1.0), ladder(1.45))  # 2 %; on a linear axis it would be nothing
    assert "2 % of the axis (1.0 became 1.45)" in found


@pytest.mark.parametrize("scale", ["symlog", "logit", "asinh"])
def test_other_scales_see_small_values_too(scale):
    def figure(value):
        fig, ax = plt.subplots()
        ax.plot([value, 0.999])
        ax.set(yscale=scale, ylim=(0.001, 0.999))
        return fig

    assert differences(figure(0.5), figure(0.5)) == []
    assert differences(figure(0.5), figure(0.53))


def test_bars_from_zero_on_a_log_axis_compare():
    fig, ax = plt.subplots()
    ax.bar(["a", "b"], [1, 10])
    ax.set_yscale("log")
    data = plots.figure_data(fig)
    assert plots.compare_figure_data(data, data) == []
    ax.patches[0].set_height(2)
    assert plots.compare_figure_data(data, plots.figure_data(fig))


def drop(data):
    del data["axes"][0]["artists"][0]


def rename(key, value="other"):
    def change(data):
        data["axes"][0][key] = value

    return change


def alter(key, value):
    def change(data):
        data["axes"][0]["artists"][0][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"axes\[0\].artists: 1 became 0: line 'accuracy' became none"),
        (rename("title"), r"axes\[0\].title: 'Accuracy' became 'other'"),
        (rename("xlabel"), "xlabel: 'epoch' became 'other'"),
        (rename("ylabel", "part right "), "ylabel"),
        (rename("xscale", "log"), "xscale: 'linear' became 'log'"),
        (rename("ylim", [0, 1.02]), "ylim: 1 of 2 values moved, by up to 2 %"),
        (rename("yticks", ["low", "high"]), "yticks: 0 became 2"),
        (rename("legend", ["accuracy"]), "legend: 0 became 1"),
        (alter("label", "loss"), "label: 'accuracy' became 'loss'"),
        (alter("colour", "#000000"), "colour"),
        (alter("n", 102), "n: 101 became 102"),
        (alter("y", [0.5] * 100), "y: 101 values became 100"),
        (alter("y", [None] * 101), "y: 101 of 101 values moved, by up to inf %"),
        (alter("extra", 1), "extra: None became 1"),
        (lambda data: data["axes"].append(data["axes"][0]), "axes: 1 became 2"),
        (lambda data: data.update(size=[8, 4]), r"size\[1\]: 4.5 became 4"),
    ],
)
def test_every_change_is_found(change, message):
    data = plots.figure_data(curve())
    changed = copy.deepcopy(data)
    change(changed)
    (found,) = plots.compare_figure_data(data, changed)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [("97.3 %", "97.5 %"), ("1797 pictures", "1798 pictures"), ("in 2024", "in 2025"), ("1.5 s", "1.5 ms"),
     ("a 0.5", "a 0.5 0.5"), ("1.5e3", "1.5e4"), ("−0.5", "0.5")],
)  # fmt: skip
def test_changed_texts_fail(one, other):
    assert differences(curve(title=one), curve(title=other))


def test_shades_are_measured_by_their_scale():
    def picture(value):
        fig, ax = plt.subplots()
        ax.imshow([[0, value]], vmin=0, vmax=16)
        return fig

    assert differences(picture(8), picture(8.01)) == []
    (found,) = differences(picture(8), picture(8.32))
    assert "values: 1 of 2 values moved, by up to 2 %" in found


def test_rtol_is_a_part_of_the_axis():
    assert differences(curve(), curve(Y + 0.02), rtol=0.03) == []
    assert differences(curve(), curve(Y + 0.0002), rtol=1e-4)


@given(st.floats(0.0021, 1.0), st.integers(0, 100))
def test_one_moved_point_is_found_wherever_it_is(shift, place):
    before = DATA
    after = copy.deepcopy(before)
    after["axes"][0]["artists"][0]["y"][place] += shift
    assert len(plots.compare_figure_data(before, after)) == 1


with matplotlib.rc_context():
    DATA = plots.figure_data(curve())


@pytest.mark.parametrize("data", [None, [], {}, {"axes": []}])
def test_comparison_refuses_what_is_no_figure_data(data):
    good = plots.figure_data(curve())
    with pytest.raises(InputError, match="b: expected the dict that figure_data"):
        plots.compare_figure_data(good, data)
    with pytest.raises(InputError, match="a: expected the dict that figure_data"):
        plots.compare_figure_data(data, good)


@pytest.mark.parametrize("rtol", [-1e-3, math.nan, math.inf, "1e-3"])
def test_comparison_refuses_a_bad_tolerance(rtol):
    data = plots.figure_data(curve())
    with pytest.raises(InputError, match="rtol: expected a number ≥ 0"):
        plots.compare_figure_data(data, data, rtol=rtol)


# -- are two pictures roughly the same --------------------------------------------------------------------------


def png(fig):
    return plots._show._png(fig)


@functools.cache
def drawn(figure):
    return png(figure())


def repainted(content, change):
    buffer = io.BytesIO()
    change(Image.open(io.BytesIO(content)).convert("RGB")).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "letters",
    [{"text.hinting": "force_autohint"}, {"text.hinting": "default"}, {"text.antialiased": False},
     {"font.family": "DejaVu Serif"}, {"savefig.dpi": 96}],
)  # fmt: skip
def test_other_letters_are_the_same_picture(letters):
    """Of the four figures it is the curve whose picture depends most on its letters."""
    with matplotlib.rc_context(letters):
        there = png(curve())
    assert drawn(curve) != there
    assert plots.compare_pictures(drawn(curve), there) < plots.PICTURE_TOLERANCE


@pytest.mark.parametrize("figure", EVERY_FIGURE)
def test_another_picture_is_told(figure):
    here = drawn(figure)
    for change in (ImageOps.invert, ImageOps.mirror, ImageOps.flip, lambda p: Image.new("RGB", p.size, "white")):
        there = repainted(here, change)
        assert plots.compare_pictures(here, there) > plots.PICTURE_TOLERANCE
        assert plots.compare_pictures(here, there) == plots.compare_pictures(there, here)


def test_other_figures_are_told_apart():
    for a, b in itertools.combinations(map(drawn, EVERY_FIGURE), 2):
        assert plots.compare_pictures(a, b) > 3 * plots.PICTURE_TOLERANCE


def test_colours_count():
    red, green = Image.new("RGB", (320, 180), (255, 0, 0)), Image.new("RGB", (320, 180), (0, 130, 0))
    assert red.convert("L").getpixel((0, 0)) == green.convert("L").getpixel((0, 0))
    here = png(bars())
    assert plots.compare_pictures(*(repainted(here, lambda _, page=page: page) for page in (red, green))) > 0.3


def test_pictures_may_be_base64_and_transparent(published):
    shown(curve(), published)
    text = published[0]["image/png"]
    assert plots.compare_pictures(text, base64.b64decode(text)) == 0
    buffer = io.BytesIO()
    Image.new("RGBA", (320, 180), (0, 0, 0, 0)).save(buffer, "PNG")
    white = repainted(buffer.getvalue(), lambda p: Image.new("RGB", p.size, "white"))
    assert plots.compare_pictures(buffer.getvalue(), white) == 0


@pytest.mark.parametrize("bad", [b"", b"no picture", "%%%", "bm8gcGljdHVyZQ==", None, 3, png])
def test_pictures_that_are_none_are_refused(bad):
    good = png(curve())
    with pytest.raises(InputError, match="png_a: expected a PNG file"):
        plots.compare_pictures(bad, good)
    with pytest.raises(InputError, match="png_b: expected a PNG file"):
        plots.compare_pictures(good, good[: len(good) // 2])
