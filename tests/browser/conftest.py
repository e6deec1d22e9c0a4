"""A real browser in front of a real JupyterLab, both on this machine."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from lessons import Taught, as_notebook, is_presenting, presented
from pages import LONG_S, Watch, close_all
from playwright.sync_api import Browser, Page, expect, sync_playwright
from server import Lab, running_lab

from notebooks import lab as launcher
from notebooks.kernel import NotebookError
from notebooks.run import memory_budget
from notebooks.source import SOURCES
from tests.machine import chromium_path, not_checked

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Even a request that a test fails to notice finds no host but this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
VIEWPORT = {"width": 1280, "height": 720}
OpenPage = Callable[..., AbstractContextManager[Page]]
LESSON_S = 1500  # for a whole lesson, which the first of its tests runs; each cell has its own time-out
expect.set_options(timeout=120_000)  # for a machine that has other work


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a test that runs a lesson take its time."""
    for item in items:
        if "taught" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(LESSON_S))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start a browser for all tests. Where there is none, the tests say so; in CI that is a failure."""
    path = chromium_path()
    if path is None:
        not_checked(
            "the widgets in a real browser. Install Chromium (apt-get install chromium), "
            "or set INFERKIT_CHROMIUM to its path"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start a JupyterLab with settings and files of its own."""
    home, root = tmp_path_factory.mktemp("lab-home"), tmp_path_factory.mktemp("lab-files")
    command = launcher.command("", [], root)  # as `make lab` does
    with running_lab(command, _environment(home), root, home / "lab.log") as running:
        yield running


def _environment(home: Path) -> dict[str, str]:
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"checkForUpdates": False, "fetchNews": "false", "doNotDisturbMode": True}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet), encoding="utf-8")
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # the kernel has its own
    return {**inherited, **{name: str(home / folder) for name, folder in folders.items()}}


@pytest.fixture(scope="session")
def open_page(chromium: Browser, lab: Lab) -> OpenPage:
    """Return a function that opens a page of its own and, when the page is closed, holds it to two rules.

    The rules: no request has left this machine, and the console shows no error. A page that is to see a kernel die is
    opened with ``watched=False``. All other arguments go to the browser's context (``has_touch=True``,
    ``color_scheme="dark"``, ``viewport={...}``).
    """

    @contextmanager
    def open_it(*, watched: bool = True, **options: Any) -> Iterator[Page]:
        context = chromium.new_context(**{"viewport": VIEWPORT, **options})
        context.set_default_timeout(LONG_S * 1000)
        page = context.new_page()
        watch = Watch(page)
        try:
            yield page
            if watched:
                watch.check()
        finally:
            context.close()

    return open_it


@pytest.fixture(scope="session")
def shared_page(open_page: OpenPage) -> Iterator[tuple[Page, Watch]]:
    """Open one page for all tests that need no other: to load JupyterLab takes longer than most of them."""
    with open_page(watched=False) as page:
        yield page, Watch(page)


@pytest.fixture
def page(shared_page: tuple[Page, Watch]) -> Iterator[Page]:
    """Lend the shared page, held to the same rules; what a test leaves open in it is closed, with its kernels."""
    page, watch = shared_page
    yield page
    page.set_viewport_size(VIEWPORT)
    close_all(page, kernels=True)
    watch.check()


# ---- A lesson, run once for all its tests ----


@pytest.fixture(scope="module")
def taught(
    request: pytest.FixtureRequest, open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Taught]:
    """Give the lesson that a test file names, as `make lecture` presents it, with all its cells run."""
    name = request.module.LESSON
    budget = memory_budget((SOURCES / name).with_suffix(".py"))
    with ExitStack() as stack:
        try:
            lesson = stack.enter_context(
                presented(name, open_page, tmp_path_factory.mktemp("lecture"), budget_mb=budget)
            )
        except NotebookError as error:  # said in a line, to each test
            pytest.fail(str(error), pytrace=False)
        yield lesson


@pytest.fixture
def lecture(taught: Taught) -> Page:
    """Give the lesson as slides; a notebook that has left them does not come back to the same."""
    assert is_presenting(taught.page)
    return taught.page


@pytest.fixture
def lesson(taught: Taught) -> Page:
    """Give the lesson as a student meets it."""
    return as_notebook(taught.page)
