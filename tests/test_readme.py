"""What the README promises works when pasted, and its table names the lessons that there are."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_lines_of_import_inferkit_work_when_pasted(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len([line for line in code.splitlines() if line.strip()]) == 10
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    first, *rest = run.stdout.splitlines()
    assert first == "7"
    assert "µs" in run.stdout
    assert rest[-1].startswith("[")


def test_every_lesson_is_in_the_table_and_every_link_leads_somewhere():
    lessons = {path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert lessons == {Path(link).name for link in links if link.endswith(".ipynb")}
    assert [link for link in links if not (ROOT / link).exists()] == []
