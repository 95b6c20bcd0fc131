"""Pages as a real browser shows them: a headless Chromium of the distribution's, where there is one."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at the page")
_FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--mute-audio")
_OUTER = """<!DOCTYPE html><style>body {{ margin: 0; }} iframe {{ border: 0; }}</style>
<iframe src="{page}" width="{width}" height="{height}"></iframe><pre id="found"></pre>
<script>
addEventListener("message", (event) => {{ document.getElementById("found").textContent = event.data; }});
</script>
"""
_INNER = """<script>
const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const said = [];
addEventListener("error", (event) => said.push(String(event.message)));
addEventListener("unhandledrejection", (event) => said.push(String(event.reason)));
addEventListener("load", async () => {{
  let found = {{}};
  try {{ found = await (async () => {{ {script} }})(); }} catch (error) {{ said.push(String(error.stack)); }}
  parent.postMessage(JSON.stringify({{ ...found, said }}), "*");
}});
</script>
"""


def looked_at(
    page: Path, script: str, folder: Path, width_px: int, height_px: int = 900, allowed: str = "^$"
) -> dict[str, Any]:
    """What a script (the body of an async function) returns in a window of that width.

    Fails on what the page says on the console, unless it matches `allowed`, and on what it asks of the network.
    """
    assert CHROMIUM is not None
    text = page.read_text(encoding="utf-8")
    start = text.index("<head>") + len("<head>")
    (folder / "inner.html").write_text(text[:start] + _INNER.format(script=script) + text[start:], encoding="utf-8")
    (folder / "outer.html").write_text(_OUTER.format(page="inner.html", width=width_px, height=height_px))
    window = (f"--window-size={max(width_px, 600)},{height_px}", "--virtual-time-budget=20000")
    logs = ("--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}")
    done = subprocess.run(
        [CHROMIUM, *_FLAGS, *window, *logs, "--dump-dom", (folder / "outer.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answer = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert answer
    assert answer[1], f"the page did not answer\n{done.stderr[-2000:]}"
    found: dict[str, Any] = json.loads(unescape(answer[1]))
    said = [line for line in done.stderr.splitlines() if ":CONSOLE" in line and not re.search(allowed, line)]
    assert found.pop("said") == []
    assert said == []
    return found
