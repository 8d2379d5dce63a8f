"""ComfyUI's canvas in a real, headless Chromium: drop a workflow on it, look at its graph, run it, take its picture."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from harness.finding import PROJECT

PICTURES = PROJECT / "out" / "comfyui"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SECONDS_TO_OPEN = 60
MILLISECONDS_OF_A_MOVE = 500
# What the frontend itself says at a start: files a new user lacks, sizes of models asked of a site it may not reach.
NOT_OURS = re.compile(r"Failed to load resource|huggingface\.co|accessed before initialization")

READY = """() => window.app?.vueAppReady && app.graph?.nodes.length && !document.querySelector('.p-blockui-mask')"""
FILE_TO_DROP = """([name, text]) => {
  const transfer = new DataTransfer()
  transfer.items.add(new File([text], name, { type: 'application/json' }))
  return transfer
}"""
# A file of the same name is opened with a number after it, or in the place of the one that is open.
MARK_NODES = "() => app.rootGraph.nodes.forEach(node => { node.isOfTheWorkflowBefore = true })"
IS_OPEN = """name => app.extensionManager.workflow.activeWorkflow?.filename.startsWith(name)
  && app.rootGraph.nodes.length && !app.rootGraph.nodes.some(node => node.isOfTheWorkflowBefore)"""

# Every function below starts from all nodes, those inside of subgraphs too.
ALL_NODES = """
  const walk = graph => graph.nodes.flatMap(node => node.subgraph ? [node, ...walk(node.subgraph)] : [node])
  const nodes = walk(app.rootGraph)
"""
MISSING_NODES = (
    f"() => {{ {ALL_NODES} return nodes.map(n => n.type).filter(t => !(t in LiteGraph.registered_node_types)) }}"
)
SLOT_FAULTS = f"""() => {{ {ALL_NODES}
  const fits = (from, to) => LiteGraph.isValidConnection(from, to)
  const faults = []
  for (const node of nodes) for (const [slot, input] of (node.inputs ?? []).entries()) {{
    if (input.link == null) continue
    const link = node.graph.links.get(input.link)
    const where = `${{node.type}}.${{input.name}}`
    if (!link) {{ faults.push(`${{where}}: its link ${{input.link}} is gone`); continue }}
    if (link.target_id != node.id || link.target_slot !== slot) faults.push(`${{where}}: its link ends elsewhere`)
    const origin = node.graph.getNodeById(link.origin_id)
    const output = origin ? origin.outputs?.[link.origin_slot] : {{ type: link.type }}
    if (!output) faults.push(`${{where}}: nothing at the other end`)
    else if (!fits(output.type, input.type)) faults.push(`${{where}}: is ${{input.type}}, gets ${{output.type}}`)
  }}
  return faults
}}"""
NUM_LINKS = (
    f"() => {{ {ALL_NODES} return [...new Set(nodes.map(n => n.graph))].reduce((s, g) => s + g.links.size, 0) }}"
)
WIDGET_VALUES = (
    f"() => {{ {ALL_NODES} return nodes.map(n => [n.type, String(n.id), n.serialize().widgets_values ?? []]) }}"
)
IN_PROGRESS = f"() => {{ {ALL_NODES} return nodes.find(n => n.progress > 0 && n.progress < 1)?.type }}"
GO_TO = """([type, scale]) => {
  const [x, y, width, height] = app.graph.nodes.find(node => node.type === type).boundingRect
  const { ds, canvas } = app.canvas
  ds.scale = scale
  ds.offset[0] = canvas.clientWidth / 2 / scale - (x + width / 2)
  ds.offset[1] = canvas.clientHeight / 2 / scale - (y + height / 2)
  app.canvas.setDirty(true, true)
}"""
# Between the bars at the left and the top, as large as the width allows; returns the lower end on the page.
SHOW_ALL = """() => {
  const [left, top, margin] = [75, 100, 25]
  const boxes = [...app.graph.nodes, ...app.graph.groups].map(item => item.boundingRect)
  const x = Math.min(...boxes.map(box => box[0])), right = Math.max(...boxes.map(box => box[0] + box[2]))
  const y = Math.min(...boxes.map(box => box[1])), bottom = Math.max(...boxes.map(box => box[1] + box[3]))
  const { ds, canvas } = app.canvas
  const [width, height] = [canvas.clientWidth - left - margin, canvas.clientHeight - top - margin]
  ds.scale = Math.min(width / (right - x), height / (bottom - y), 1)
  ds.offset[0] = left / ds.scale - x
  ds.offset[1] = top / ds.scale - y
  app.canvas.setDirty(true, true)
  return Math.ceil(top + (bottom - y) * ds.scale + margin)
}"""


def find_chromium() -> str | None:
    """Return the path of a Chromium on this machine."""
    return next((path for program in PROGRAMS if (path := shutil.which(program))), None)


@contextlib.contextmanager
def opened(url: str, chromium: str, width: int = 1920, height: int = 1080) -> Iterator["Canvas"]:
    """Open the frontend at `url` in a browser with a profile of its own."""
    with tempfile.TemporaryDirectory(prefix="wanloom-browser-") as profile, sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            headless=True,
            args=list(OPTIONS),
            viewport={"width": width, "height": height},
        )
        try:
            canvas = Canvas(browser.pages[0])
            canvas.open(url)
            yield canvas
        finally:
            browser.close()


class Canvas:
    """The page with the canvas, and what it said on its console."""

    def __init__(self, page: Page) -> None:
        """Listen to a page that is not yet opened."""
        self.page = page
        self.faults: list[str] = []
        page.on("console", lambda message: self._note(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self._note(str(error)))

    def _note(self, text: str) -> None:
        if not NOT_OURS.search(text):
            self.faults.append(text)

    def open(self, url: str) -> None:
        """Load the frontend and wait until it takes a drop: one during its own start leaves the page covered."""
        self.page.goto(url)
        self.page.wait_for_function(READY, timeout=SECONDS_TO_OPEN * 1000)
        self.page.wait_for_load_state("networkidle")

    def set(self, setting: str, value: Any) -> None:
        """Change a setting of the frontend, as its settings dialog does."""
        self.page.evaluate("([name, value]) => app.extensionManager.setting.set(name, value)", [setting, value])

    def drop(self, file: Path) -> None:
        """Drop a workflow file on the canvas, as a hand does, and wait until it is the open one."""
        self.page.evaluate(MARK_NODES)
        transfer = self.page.evaluate_handle(FILE_TO_DROP, [file.name, file.read_text(encoding="utf-8")])
        for event in ("dragover", "drop"):
            self.page.dispatch_event("#graph-canvas", event, {"dataTransfer": transfer})
        self.page.wait_for_function(IS_OPEN, arg=file.stem)
        self.page.wait_for_function(READY)

    def refresh_lists(self) -> None:
        """Read the lists of files anew, as the key R does."""
        self.page.evaluate("() => app.refreshComboInNodes()")

    def graph(self) -> dict[str, Any]:
        """Return what saving the open workflow would write."""
        return self.page.evaluate("() => app.rootGraph.serialize()")

    def missing_nodes(self) -> list[str]:
        return self.page.evaluate(MISSING_NODES)

    def slot_faults(self) -> list[str]:
        """Return a line for every input whose link does not lead to a fitting output."""
        return self.page.evaluate(SLOT_FAULTS)

    def num_links(self) -> int:
        return self.page.evaluate(NUM_LINKS)

    def widget_values(self) -> list[tuple[str, str, list[Any]]]:
        """Return type, id and widget values of each node."""
        return [tuple(row) for row in self.page.evaluate(WIDGET_VALUES)]

    def queue(self) -> None:
        """Press Run."""
        self.page.get_by_test_id("queue-button").click()

    def wait_for_progress(self, seconds: float = 60) -> str:
        """Return the type of the first node seen with its progress bar part of the way."""
        return self.page.wait_for_function(IN_PROGRESS, polling=20, timeout=seconds * 1000).json_value()

    def go_to(self, type: str, scale: float = 1.0) -> None:
        """Bring a node of this type into the middle; from afar the frontend leaves out what can be clicked."""
        self.page.evaluate(GO_TO, [type, scale])
        self.page.wait_for_timeout(MILLISECONDS_OF_A_MOVE)

    def picture(self, name: str) -> Path:
        """Save a screenshot of the whole workflow into a folder that git ignores."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        height = self.page.evaluate(SHOW_ALL)
        self.page.wait_for_timeout(MILLISECONDS_OF_A_MOVE)
        self.page.screenshot(
            path=path, clip={"x": 0, "y": 0, "width": self.page.viewport_size["width"], "height": height}
        )
        return path
