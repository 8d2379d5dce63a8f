"""What a large collection of LoRA files costs the page: lists, searches, cards, requests; 5,000 files against 50.

    python benchmarks/lora_list.py                           5,000 files in 200 folders, 600 MB; six minutes
    python benchmarks/lora_list.py --folders 8 --repeats 2   to see that it runs

Makes the files (lora_folder.py), starts the real ComfyUI on them and drives its page in a headless Chromium. A time is
from the browser's own stamp on the key or the mouse button to behind the frame in which the wanted thing was drawn. The
peer is ComfyUI's own LoraLoaderModelOnly on the same canvas with the same files. Requests are those that the page sends
until it is quiet for half a second. Before it ends it checks that what the page offers is what was made. Prints tables
(medians of the repeats; fastest and worst of the large collection) and, last, one line of JSON. ComfyUI is found as the
tests find it (CONTRIBUTING.md).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests
from lora_folder import NUM_IN_FOLDER, Collection, make_collection
from playwright.sync_api import Request

PROJECT = Path(__file__).absolute().parents[1]
sys.path.append(str(PROJECT / "tests" / "comfyui"))

from harness.canvas import Canvas, find_chromium, opened  # noqa: E402 - behind the path that it lies on
from harness.finding import find_host  # noqa: E402
from harness.overlay import with_requirements  # noqa: E402
from harness.server import Server, started  # noqa: E402
from harness.workflows import POCKET_LORAS, STACK, node, pocket_workflow  # noqa: E402

PREVIEW = PROJECT / "workflows" / "pocket-quickstart.jpg"
SMALL_FOLDERS = 2
#: The wanted figures, in milliseconds.
MAX_LIST, MAX_CARD = 500, 200
QUIET_MS = 500
#: A LoRA that acts on the model that comes along, for runs.
OF_THE_POCKET = "neon_style_high_noise.safetensors"
PEER = "LoraLoaderModelOnly"
#: What the page asks for when it is loaded and when R is pressed.
DEFINITIONS = "/object_info"

# From the next event of a name to behind the frame in which something that fits the selector and has the text is there;
# without a selector, to behind the next frame.
WATCH = """([event, selector, text]) => {
  window.watched = new Promise(done => addEventListener(event, ({ timeStamp }) => {
    const fits = one => one.textContent.includes(text)
    const isThere = () => !selector || [...document.querySelectorAll(selector)].some(fits)
    const drawn = () => requestAnimationFrame(() => setTimeout(() => done(performance.now() - timeStamp)))
    const observer = new MutationObserver(() => look())
    const look = () => { if (isThere()) { observer.disconnect(); drawn() } return isThere() }
    setTimeout(() => look() || observer.observe(document.body, { childList: true, subtree: true, characterData: true }))
  }, { capture: true, once: true }))
}"""
# To the top, then to the end of the list: every choice below the heading that it stands under.
READ_LIST = """async () => {
  const list = document.querySelector('.wl-list')
  const drawn = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)))
  const goOn = async step => {
    for (let before = -1; list.scrollTop !== before;) {
      before = list.scrollTop
      list.scrollTop += step
      await drawn()
    }
  }
  await goOn(-1e5)
  await goOn(1e5)
  let folder = ''
  return [...list.children].flatMap(one => {
    if (one.matches('.wl-group')) folder = `${one.textContent}/`
    return one.matches('[role=option]') ? [folder + one.querySelector('span').textContent] : []
  })
}"""
PAGE = "() => `frontend ${window.__COMFYUI_FRONTEND_VERSION__}, ${navigator.userAgent.match(/Chrome.[0-9.]+/)}`"
ROWS = "() => app.graph.nodes.find(node => node.type === 'ApplyLoraStack').widgets[0].value"
TWINS = """() => app.graph.nodes.find(node => node.type === 'ApplyLoraStack')
  .constructor.nodeData.input.required.loras[1].twins"""
COMBO_AT = """name => {
  const node = app.graph.nodes.find(node => node.type === name)
  const widget = node.widgets[0]
  const [x, y] = app.canvas.convertOffsetToCanvas([node.pos[0] + node.size[0] / 2, node.pos[1] + widget.last_y + 10])
  const box = app.canvas.canvas.getBoundingClientRect()
  return [box.left + x, box.top + y]
}"""


@dataclass
class Figures:
    """What one collection has cost: name -> milliseconds of each repeat, and action -> its requests."""

    num_files: int
    page: str = ""
    times: dict[str, list[float]] = field(default_factory=dict)
    traffic: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, milliseconds: float) -> None:
        self.times.setdefault(name, []).append(milliseconds)

    def median(self, name: str) -> float:
        return statistics.median(self.times[name])


class Driver:
    """The page with a row of ApplyLoraStack on it, and what it asks the server for."""

    def __init__(self, canvas: Canvas, figures: Figures) -> None:
        self.canvas, self.page, self.figures = canvas, canvas.page, figures
        self._requests: list[Request] = []
        self.page.on("requestfinished", lambda request: self._requests.append(request))

    def control(self, name: str) -> Any:
        return self.page.get_by_label(name, exact=True)

    def watch(self, event: str, act: Callable[[], object], selector: str = "", text: str = "") -> float:
        """Return the milliseconds from an event that `act` causes to what it leads to."""
        self.page.evaluate(WATCH, [event, selector, text])
        act()
        return self.page.evaluate("() => window.watched")

    def leave(self) -> None:
        """Close what is open and take the keyboard away."""
        self.page.keyboard.press("Escape")
        self.page.evaluate("() => document.activeElement?.blur?.()")
        self.page.wait_for_timeout(150)

    @contextmanager
    def requests(self, name: str) -> Iterator[None]:
        """Count what the page asks for in the block and behind it, until it is quiet."""
        self._requests.clear()
        yield
        seen = -1
        while seen != len(self._requests):
            seen = len(self._requests)
            self.page.wait_for_timeout(QUIET_MS)
        sizes = [(one.sizes(), one.timing["responseEnd"]) for one in self._requests]
        self.figures.traffic.setdefault(name, []).append(
            {
                "count": len(sizes),
                "bytes": sum(size["responseBodySize"] + size["requestBodySize"] for size, _ in sizes),
                "ms": max((ms for _, ms in sizes), default=0.0),
            }
        )


def measure(server: Server, chromium: str, made: Collection, num_repeats: int) -> Figures:
    """Return what a collection costs, on a server that has it."""
    figures = Figures(len(made.files))
    with opened(server.url, chromium) as canvas:
        driver = Driver(canvas, figures)
        figures.page = driver.page.evaluate(PAGE)
        for _ in range(num_repeats):
            load_page(driver, server)
        put_workflow(driver, server, made)
        for repeat in range(num_repeats):
            open_list(driver, "list opened")
            open_peers_list(driver)
            search(driver, made)
            show_card(driver, made, repeat)
            open_list(driver, "list opened at its end")
            edit_rows(driver, made, repeat)
        search_by_tag(driver)
        check(driver, made)
        driver.canvas.set("Comfy.VueNodes.Enabled", True)
        driver.canvas.go_to("ApplyLoraStack")
        for _ in range(num_repeats):
            open_list(driver, "list opened, drawn by the page")
        driver.canvas.set("Comfy.VueNodes.Enabled", False)
        measure_server(server, figures, num_repeats)
        if canvas.faults:
            raise RuntimeError(f"the page said: {canvas.faults}")
    return figures


def measure_server(server: Server, figures: Figures, num_repeats: int) -> None:
    """Time the definitions, of all nodes and of one, and the acceptance of a prompt."""
    for one in ("", "/ApplyLoraStack", f"/{PEER}"):
        for _ in range(num_repeats):
            answer, ms = timed(partial(requests.get, f"{server.url}{DEFINITIONS}{one}", timeout=600))
            figures.add(f"definitions{one.replace('/', ' of ') or ' of all nodes'}", ms)
            figures.bytes[one.removeprefix("/") or "all nodes"] = len(answer.content)
    for repeat in range(num_repeats):
        for name, workflow in prompts(0.5 + repeat / 100).items():
            answer, ms = timed(partial(requests.post, f"{server.url}/prompt", json={"prompt": workflow}, timeout=600))
            if not answer.ok:
                raise RuntimeError(answer.text)
            figures.add(name, ms)
            while any(requests.get(f"{server.url}/queue", timeout=60).json().values()):
                time.sleep(0.1)


def prompts(strength: float) -> dict[str, dict[str, Any]]:
    """Return the same model with a LoRA of the pocket by a row, and by core's loader."""
    ours = pocket_workflow([{"path": OF_THE_POCKET, "weight": strength}])
    ours = {name: ours[name] for name in ("loader", STACK)}
    peers = {"loader": ours["loader"], "split": node("SplitWanModel", model=["loader", 0])}
    peers |= {"core": node(PEER, model=["split", 0], lora_name=OF_THE_POCKET, strength_model=strength)}
    return {
        "run accepted, a row": ours | {"out": node("PreviewAny", source=[STACK, 1])},
        f"run accepted, {PEER}": peers | {"out": node("PreviewAny", source=["core", 0])},
    }


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = act()
    return result, 1e3 * (time.perf_counter() - start)


def load_page(driver: Driver, server: Server) -> None:
    with driver.requests("page loaded"):
        _, ms = timed(partial(driver.canvas.open, server.url))
    driver.figures.add("page loaded", ms)


def put_workflow(driver: Driver, server: Server, made: Collection) -> None:
    """Put a row and core's loader on the canvas."""
    high = next(iter(made.pairs))
    workflow = pocket_workflow([{"path": high, "weight": 0.8}])
    workflow["core"] = node(PEER, lora_name=made.files[0], strength_model=1.0, model=["none", 0])
    del workflow["core"]["inputs"]["model"]
    file = server.base / "lora-list.json"
    file.write_text(json.dumps(workflow))
    driver.canvas.drop(file)
    driver.canvas.go_to("ApplyLoraStack")


def open_list(driver: Driver, name: str) -> None:
    driver.figures.add(name, driver.watch("pointerdown", driver.control("LoRA 1 file").click, ".wl-list [role=option]"))
    down = driver.watch("keydown", lambda: driver.page.keyboard.press("ArrowDown"))
    driver.figures.add(name.replace("list opened", "arrow key in the list"), down)
    driver.leave()


def open_peers_list(driver: Driver) -> None:
    driver.canvas.go_to(PEER)
    x, y = driver.page.evaluate(COMBO_AT, PEER)
    click = partial(driver.page.mouse.click, x, y)
    driver.figures.add(f"list opened, {PEER}", driver.watch("pointerdown", click, ".litecontextmenu .litemenu-entry"))
    driver.page.keyboard.press("Escape")
    driver.page.evaluate("() => document.querySelectorAll('.litecontextmenu').forEach(menu => menu.remove())")
    driver.canvas.go_to("ApplyLoraStack")


def search(driver: Driver, made: Collection) -> None:
    """Type letter by letter: a name, a folder, a regular expression."""
    for kind, typed in {"name": "neon fox", "folder": "wan2.2-t2v/style/", "regex": "/high.*fox|neon/"}.items():
        driver.control("LoRA 1 file").click()
        driver.control("LoRA 1 file").fill("")
        for letter in typed:
            driver.figures.add(
                f"letter typed, {kind}", driver.watch("keydown", partial(driver.page.keyboard.type, letter))
            )
        driver.leave()


def search_by_tag(driver: Driver) -> None:
    """Search by a tag before the files have been read, and once they are."""
    for name in ("tag searched, files not yet read", "tag searched again"):
        driver.control("LoRA 1 file").click()
        driver.control("LoRA 1 file").fill("tag:styl")
        act = partial(driver.page.keyboard.type, "e")
        driver.page.set_default_timeout(600_000)
        driver.figures.add(name, driver.watch("keydown", act, ".wl-list .wl-hint", "base:"))
        driver.leave()


def show_card(driver: Driver, made: Collection, repeat: int) -> None:
    """Show the card of a file that the server has not read, and the same again."""
    choose(driver, sorted(made.pairs)[-1 - repeat])
    for name in ("card shown, first", "card shown again"):
        driver.figures.add(name, driver.watch("pointerdown", driver.control("LoRA 1 card").click, ".wl-card-facts tr"))
        driver.leave()


def choose(driver: Driver, file: str) -> None:
    driver.control("LoRA 1 file").fill(file)
    driver.page.keyboard.press("Enter")
    driver.leave()


def edit_rows(driver: Driver, made: Collection, repeat: int) -> None:
    """Edit each part of a row, add one and take it away."""
    page, control = driver.page, driver.control
    in_pairs = {file for pair in made.pairs.items() for file in pair}
    singles = [file for file in made.files if file not in in_pairs]
    edits: Mapping[str, Callable[[], object]] = {
        "strength": lambda: write(driver, "LoRA 1 strength", f"0.{repeat + 1}"),
        "name": lambda: write(driver, "LoRA 1 name", f"style {repeat}"),
        "file": lambda: choose(driver, singles[repeat % len(singles)]),
        "schedule": lambda: write(driver, "LoRA 1 schedule", "fade_out" if repeat % 2 else "fade_in"),
        "targets": lambda: set_targets(driver, repeat),
        "row added": lambda: (control("add LoRA").click(), write(driver, "LoRA 2 file", made.files[7])),
        "row removed": lambda: control("LoRA 2 remove").click(),
    }
    for name, act in edits.items():
        before = page.evaluate(ROWS)
        with driver.requests(f"edited: {name}"):
            act()
            driver.leave()
        if page.evaluate(ROWS) == before:
            raise RuntimeError(f"edited: {name} has changed nothing")
    with driver.requests("R pressed"):
        _, ms = timed(driver.canvas.refresh_lists)
    driver.figures.add("R pressed", ms)
    page.wait_for_timeout(200)


def write(driver: Driver, name: str, text: str) -> None:
    driver.control(name).fill(text)
    driver.page.keyboard.press("Enter")


def set_targets(driver: Driver, repeat: int) -> None:
    driver.control("LoRA 1 targets").click()
    write(driver, "targets as text", f"cross_attn=0.{repeat + 1}")


def check(driver: Driver, made: Collection) -> None:
    """Check that what the page offers of so many files is what they were made to be."""
    twins = driver.page.evaluate(TWINS)
    if {high: low for high, low in twins.items() if "/" in high} != made.pairs:
        raise RuntimeError("the pairs are not those that were made")
    searches: Mapping[str, Callable[[str], bool]] = {
        "/./": lambda file: True,
        "neon fox": lambda file: "neon" in file and "fox" in file,
        "style/hub/": lambda file: "/style/hub/" in file,
        "/high.*fox|NEON/": lambda file: re.search("high.*fox|neon", file) is not None,
        "tag:style": lambda file: "/style/" in file,
        "base:i2v-a14b hub/": lambda file: "I2V" in made.bases.get(file, "") and "/hub/" in file,
        "/lora\\.safe/": lambda file: file.endswith("/lora.safetensors"),
    }
    for typed, fits in searches.items():
        driver.control("LoRA 1 file").fill(typed)
        shown = [file for file in driver.page.evaluate(READ_LIST) if "/" in file]
        if sorted(shown) != sorted(made.found(fits)):
            raise RuntimeError(f"{typed}: {len(shown)} files are shown and {len(made.found(fits))} fit")
        driver.leave()
    current = sorted(made.pairs)[len(made.pairs) // 2]
    choose(driver, current)
    driver.control("LoRA 1 file").click()
    selected = driver.page.locator(".wl-list [aria-selected=true]")
    box, frame = selected.bounding_box(), driver.page.locator(".wl-list").bounding_box()
    if not (box and frame and frame["y"] <= box["y"] < frame["y"] + frame["height"]):
        raise RuntimeError(f"{current}: the list is not open where the row's file is")
    driver.leave()


def table(large: Figures, small: Figures) -> str:
    """Return the figures of both collections beside each other."""
    sizes = f"{large.num_files:>11} files{small.num_files:>11} files"
    lines = [f"{'milliseconds: median':44}{sizes}     ratio   fastest     worst"]
    for name, times in large.times.items():
        many, few = large.median(name), small.median(name)
        lines.append(f"{name:44}{many:17.1f}{few:17.1f}{many / few:10.1f}{min(times):10.1f}{max(times):10.1f}")
    lines.append(f"\n{'requests of the page: count, kB':44}{sizes}   longest ms")
    for name in large.traffic:
        many_of_it, few_of_it = (average(figures.traffic[name]) for figures in (large, small))
        counts = "".join(f"{one['count']:7.0f}{one['bytes'] / 1e3:10.1f}" for one in (many_of_it, few_of_it))
        lines.append(f"{name:44}{counts}{many_of_it['ms']:13.1f}")
    lines.append(f"\n{'kB of definitions':44}{sizes}")
    for name, num_bytes in large.bytes.items():
        lines.append(f"{name:44}{num_bytes / 1e3:17.1f}{small.bytes[name] / 1e3:17.1f}")
    return "\n".join(lines)


def average(traffic: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in traffic) for key in ("count", "bytes", "ms")}


def measured(num_folders: int, num_repeats: int, chromium: str) -> Figures:
    with tempfile.TemporaryDirectory(prefix="wanloom-list-") as base:
        folder = Path(base) / "models" / "loras"
        made = make_collection(folder, num_folders, PREVIEW)
        shutil.copy(POCKET_LORAS / OF_THE_POCKET, folder)
        with started(with_requirements(find_host()), Path(base)) as server:
            return measure(server, chromium, made, num_repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folders", type=int, default=200, help=f"of {NUM_IN_FOLDER} files each")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    chromium = find_chromium()
    if not chromium:
        parser.error("no Chromium on this machine (Debian: apt-get install chromium)")
    small, large = (measured(n, arguments.repeats, chromium) for n in (SMALL_FOLDERS, arguments.folders))
    print(f"ComfyUI {find_host().version}, {large.page}, {os.cpu_count()} cores, {platform.machine()}")
    print(table(large, small))
    opened_list, peers = large.median("list opened"), large.median(f"list opened, {PEER}")
    print(f"\nthe list takes {opened_list:.0f} ms (<= {MAX_LIST}), {opened_list / peers:.2f} of what {PEER}'s own does")
    print(f"the first card takes {large.median('card shown, first'):.0f} ms (<= {MAX_CARD})")
    edits = sum(one["count"] for name, all_of_it in large.traffic.items() if "edited" in name for one in all_of_it)
    print(f"editing rows sends {edits:.0f} requests (none that grows with the folder)")
    print(json.dumps({"large": asdict(large), "small": asdict(small)}))


if __name__ == "__main__":
    main()
