"""The workflow files, without a ComfyUI: whole, in step with the nodes and with their twins in API format."""

import json
import math
import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest

from lora_core import LoraStack, StrengthSchedule
from lora_core.engine.scenes import scenes_from_json
from lora_core.families.wan.pocket import POCKET_LORAS, pocket_paths

ROOT = Path(__file__).parent.parent
WORKFLOWS = ROOT / "workflows"
POCKET = (
    "pocket-quickstart",
    "strength-schedule",
    "regional-loras",
    "blend-two-styles",
    "merge-loras",
    "lora-balance",
    "scenes",
    "take-apart-for-ksampler",
    "pocket-i2v-6-step",
    "longer-video",
    "train-lora-from-clips",
    "refine-prompt",
    "lora-grid",
)
NAMES = sorted((*POCKET, "t2v-6-step-stack", "i2v-6-step"))
#: ComfyUI's own nodes that the workflows use.
CORE = {
    "CLIPTextEncode",
    "CreateVideo",
    "EmptyHunyuanLatentVideo",
    "ImageFromBatch",
    "ImageScaleBy",
    "ImageStitch",
    "KSamplerAdvanced",
    "LoadImage",
    "MarkdownNote",
    "PreviewImage",
    "PrimitiveInt",
    "SaveVideo",
    "VAEDecode",
    "WanImageToVideo",
}
#: Widgets that are for the canvas only: what becomes of a seed after a run, and a button.
CANVAS_ONLY = {"control_after_generate", "fixed", "upload"}
TITLE_HEIGHT = 30
#: What the host shows of a template in a window of 1600 x 900 with its text drawn. It fits the nodes, and 10 pixels
#: around them, to 75 % of the canvas, and below a scale of 8/14 it draws boxes without text.
LARGEST = (1200 / (8 / 14) - 20, 675 / (8 / 14) - 20)
#: A link may touch the edge of a node: where it turns between two columns it swings out a little.
EDGE = 6
#: How wide ApplyLoraStack is in the host at least, as measured there.
WIDE_ROWS = 505
#: How high a node is after a run at least, with the pictures and the text that it shows then, as measured in the host.
AFTER_A_RUN = {
    "BlendLoras": 376,
    "CheckClips": 620,
    "KSamplerAdvanced": 546,
    "LoadWanModel": 306,
    "MergeLoras": 480,
    "LoraBalance": 482,
    "LoraGrid": 820,
    "MaskLora": 480,
    "PreviewImage": 246,
    "RefinePrompt": 520,
    "Sampler6Step": 810,
    "SceneLoras": 1084,
    "SplitWanModel": 296,
    "TrainLoraFromClips": 1104,
}
HOLDS_NOTHING = "MarkdownNote"
#: Whose widget `text` is a prompt.
PROMPTS = ("CLIPTextEncode", "RefinePrompt")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def workflow(name: str) -> dict[str, Any]:
    return read(WORKFLOWS / f"{name}.json")


def api(name: str) -> dict[str, Any]:
    return read(WORKFLOWS / "api" / f"{name}.json")


def blueprints() -> list[Path]:
    return sorted((ROOT / "subgraphs").glob("*.json"))


def our_nodes() -> set[str]:
    """Return the node ids of the extension, which are its class names, from the source."""
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "nodes").glob("*.py"))
    return {name for source in sources for name in re.findall(r"^class (\w+)\(Node\):", source, re.MULTILINE)}


def nodes_of(graph: dict[str, Any], type_: str) -> list[dict[str, Any]]:
    return [node for node in graph["nodes"] if node["type"] == type_]


def widgets(node: dict[str, Any]) -> dict[str, Any]:
    """Return a node's widget values by name; the canvas keeps them in order, newer ones by name as well."""
    assert list(node["widgets_values_named"].values()) == node["widgets_values"]
    return node["widgets_values_named"]


def stacks(name: str) -> list[LoraStack]:
    graph = workflow(name)
    texts = [widgets(node)["loras"] for node in nodes_of(graph, "ApplyLoraStack")]
    scenes = [scene for node in nodes_of(graph, "SceneLoras") for scene in scenes_from_json(widgets(node)["scenes"])]
    return [LoraStack.from_json(text) for text in texts] + [scene.loras for scene in scenes if scene.loras]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def test_there_are_the_twelve_workflows_each_with_a_twin_in_api_format():
    assert sorted(path.stem for path in WORKFLOWS.glob("*.json")) == NAMES
    assert sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_app_mode_is_told_what_one_fills_in_and_sees(name):
    graph = workflow(name)
    told, nodes = graph["extra"]["linearData"], {node["id"]: node for node in graph["nodes"]}
    assert [key for id_, key in told["inputs"] if key not in widgets(nodes[id_])] == []
    assert {nodes[id_]["type"] for id_ in told["outputs"]} == {"SaveVideo"}


@pytest.mark.parametrize("name", NAMES)
def test_every_workflow_has_a_small_picture(name):
    picture = (WORKFLOWS / f"{name}.jpg").read_bytes()
    assert picture.startswith(b"\xff\xd8\xff")
    assert len(picture) < 150_000


@pytest.mark.parametrize("name", NAMES)
def test_every_node_is_ours_or_comfyuis(name):
    assert {node["type"] for node in workflow(name)["nodes"]} <= our_nodes() | CORE
    assert {node["class_type"] for node in api(name).values()} <= our_nodes() | CORE


@pytest.mark.parametrize("name", NAMES)
def test_links_agree_at_both_ends(name):
    graph = workflow(name)
    nodes = {node["id"]: node for node in graph["nodes"]}
    links = {link[0]: link for link in graph["links"]}
    assert len(links) == len(graph["links"])
    assert max(links) <= graph["last_link_id"]
    assert max(nodes) <= graph["last_node_id"]
    for id_, origin, output, target, input_, type_ in graph["links"]:
        assert id_ in nodes[origin]["outputs"][output]["links"]
        assert nodes[origin]["outputs"][output]["type"] == type_
        assert nodes[target]["inputs"][input_]["link"] == id_
    ends = [slot["link"] for node in nodes.values() for slot in node["inputs"] if slot["link"] is not None]
    starts = [id_ for node in nodes.values() for slot in node["outputs"] for id_ in slot["links"] or []]
    assert sorted(ends) == sorted(starts) == sorted(links)


@pytest.mark.parametrize("name", NAMES)
def test_the_twin_in_api_format_says_the_same(name):
    graph = workflow(name)
    links = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    twin = api(name)
    nodes = [node for node in graph["nodes"] if node["type"] != HOLDS_NOTHING]
    assert {str(node["id"]) for node in nodes} == set(twin)
    for node in nodes:
        values = widgets(node) if "widgets_values" in node else {}
        inputs = {widget: value for widget, value in values.items() if widget not in CANVAS_ONLY}
        for slot in node["inputs"]:
            if slot["link"] is not None:
                inputs[slot["name"]] = links[slot["link"]]
        same = twin[str(node["id"])]
        assert same["class_type"] == node["type"]
        assert same["inputs"] == inputs
        assert same["_meta"]["title"] == node.get("title", same["_meta"]["title"])


@pytest.mark.parametrize("name", NAMES)
def test_titles_name_one_node_each_so_that_scripts_can_use_them(name):
    titles = [node["_meta"]["title"] for node in api(name).values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", NAMES)
def test_the_stacks_and_schedules_in_it_can_be_read(name):
    assert any(stacks(name))
    names = {entry.name for stack in stacks(name) for entry in stack}
    for node in nodes_of(workflow(name), "LoraRouteByNoise"):
        for row in json.loads(widgets(node)["overrides"]):
            assert row["name"] in names
            StrengthSchedule.parse(row["schedule"])
    for node in nodes_of(workflow(name), "BlendLoras"):
        assert {widgets(node)["first"], widgets(node)["second"]} <= names
        StrengthSchedule.parse(widgets(node)["schedule"])


@pytest.mark.parametrize("name", POCKET)
def test_a_workflow_without_downloads_needs_only_files_that_come_with_the_project(name):
    for node in nodes_of(workflow(name), "LoadWanModel"):
        values = widgets(node)
        assert values["high_noise"] in ("pocket (built in)", "pocket I2V (built in)")
        assert (values["text_encoder"], values["vae"]) == ("none", "none")
    for stack in stacks(name):
        for entry in stack:
            assert (pocket_paths().loras / entry.path).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_of_a_pocket_character_has_its_trigger_word(name):
    assert "zibbo_character" in POCKET_LORAS
    if name not in POCKET or not any("zibbo" in str(entry.path) for stack in stacks(name) for entry in stack):
        return
    texts = [widgets(node)["text"] for kind in PROMPTS for node in nodes_of(workflow(name), kind)]
    texts += [widgets(node)["scenes"] for node in nodes_of(workflow(name), "SceneLoras")]
    assert any(re.search("(a|the) zibbo", text) for text in texts)


@pytest.mark.parametrize("path", [*WORKFLOWS.rglob("*.json"), *blueprints()], ids=lambda path: path.stem)
def test_no_file_names_a_place_on_somebodys_machine(path):
    for text in strings(read(path)):
        assert not PurePosixPath(text).is_absolute()
        assert not PureWindowsPath(text).is_absolute()


@pytest.mark.parametrize("name", NAMES)
def test_every_workflow_is_explained_and_laid_out_in_groups(name):
    graph = workflow(name)
    assert nodes_of(graph, HOLDS_NOTHING)
    boxes = {node["id"]: box(node) for node in graph["nodes"]}
    for first, second in combinations(boxes.values(), 2):
        assert not overlap(first, second)
    groups = [(x, y, x + width, y + height) for x, y, width, height in (g["bounding"] for g in graph["groups"])]
    for first, second in combinations(groups, 2):
        assert not overlap(first, second)
    for node in graph["nodes"]:
        assert node["type"] == HOLDS_NOTHING or any(inside(boxes[node["id"]], group) for group in groups)


@pytest.mark.parametrize("name", NAMES)
def test_every_link_goes_to_the_right_or_down(name):
    graph = workflow(name)
    boxes = {node["id"]: box(node) for node in graph["nodes"]}
    for _, origin, _, target, *_ in graph["links"]:
        assert boxes[origin][0] <= boxes[target][0] or boxes[origin][3] <= boxes[target][1]


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_can_be_read_as_it_opens(name):
    lefts, tops, rights, bottoms = zip(*map(box, workflow(name)["nodes"]), strict=True)
    assert max(rights) - min(lefts) <= LARGEST[0]
    assert max(bottoms) - min(tops) <= LARGEST[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_dropped_workflow_is_shown_whole_and_with_its_text(name):
    graph = workflow(name)
    lefts, tops, rights, bottoms = zip(*map(box, graph["nodes"]), strict=True)
    scale, (x, y) = graph["extra"]["ds"]["scale"], graph["extra"]["ds"]["offset"]
    assert scale >= 8 / 14
    assert min(lefts) + x >= 60 / scale  # right of the side bar
    assert min(tops) + y >= 100 / scale  # below the tabs and the bar with Run
    assert max(rights) + x <= 1600 / scale
    assert max(bottoms) + y <= 900 / scale


@pytest.mark.parametrize("name", NAMES)
def test_nodes_have_room_for_what_a_run_adds_to_them(name):
    for first, second in combinations(map(box, map(grown, workflow(name)["nodes"])), 2):
        assert not overlap(first, second)


@pytest.mark.parametrize("after", [False, True], ids=["as it opens", "after a run"])
@pytest.mark.parametrize("name", NAMES)
def test_no_link_runs_behind_a_node_it_does_not_belong_to(name, after):
    graph = workflow(name)
    boxes = {node["id"]: box(grown(node) if after else node) for node in graph["nodes"]}
    behind = [
        f"{link[1]}.{link[2]} to {link[3]}.{link[4]} behind {id_}"
        for link in graph["links"]
        for id_, frame in boxes.items()
        if id_ not in (link[1], link[3]) and any(within(point, frame) for point in curve(graph, link))
    ]
    assert not behind


@pytest.mark.parametrize("name", NAMES)
def test_reroutes_lie_beside_the_nodes_and_agree_with_the_links(name):
    graph = workflow(name)
    points = {point["id"]: point for point in graph["extra"].get("reroutes", [])}
    through: dict[int, list[int]] = {id_: [] for id_ in points}
    for link in graph["links"]:
        for point in reroutes(graph, link):
            through[point["id"]].append(link[0])
    assert {id_: sorted(point["linkIds"]) for id_, point in points.items()} == through
    assert all(through.values())
    for links in through.values():  # a point is of one output
        assert len({tuple(link[1:3]) for link in graph["links"] if link[0] in links}) == 1
    for frame in map(box, map(grown, graph["nodes"])):
        assert not [id_ for id_, point in points.items() if within(point["pos"], frame)]


def test_the_blueprint_holds_the_four_nodes_with_sound_links():
    (path,) = blueprints()
    graph = read(path)
    (subgraph,) = graph["definitions"]["subgraphs"]
    assert [node["type"] for node in graph["nodes"]] == [subgraph["id"]]
    types = {node["type"] for node in subgraph["nodes"]}
    assert {"LoadWanModel", "ApplyLoraStack", "LoraRouteByNoise", "Sampler6Step"} <= types <= our_nodes() | CORE
    slots = {(node["id"], i): slot for node in subgraph["nodes"] for i, slot in enumerate(node["inputs"])}
    for link in subgraph["links"]:
        if link["target_id"] != subgraph["outputNode"]["id"]:
            assert slots[link["target_id"], link["target_slot"]]["link"] == link["id"]
    for stack in (widgets(node)["loras"] for node in subgraph["nodes"] if node["type"] == "ApplyLoraStack"):
        assert all((pocket_paths().loras / entry.path).is_file() for entry in LoraStack.from_json(stack))


Box = tuple[float, float, float, float]


def box(node: dict[str, Any]) -> Box:
    """Return left, top, right, bottom of a node with its title."""
    (x, y), (width, height) = node["pos"], node["size"]
    if node["flags"].get("collapsed"):  # its title alone, about as wide as the words in it
        width, height = min(width, 60 + 8 * len(node.get("title", node["type"]))), 0
    return x, y - TITLE_HEIGHT, x + width, y + height


def overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def inside(inner: Box, outer: Box) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def grown(node: dict[str, Any]) -> dict[str, Any]:
    """Return a node as wide as its rows want it, and as high as it is after a run."""
    width, height = node["size"]
    width = max(width, WIDE_ROWS) if node["type"] == "ApplyLoraStack" else width
    least = AFTER_A_RUN.get(node["type"], 0)
    if node["type"] == "ApplyLoraStack":
        least = 346 + 46 * len(json.loads(widgets(node)["loras"]))
    if node["type"] == "LoraRouteByNoise":
        least = 442 + 27 * len(json.loads(widgets(node)["overrides"]))
    if node["type"] == "SaveVideo":
        least = height + width  # a square video; none here is higher than it is wide
    return {**node, "size": [width, max(height, least)]}


Point = tuple[float, float]


def reroutes(graph: dict[str, Any], link: list[Any]) -> list[dict[str, Any]]:
    """Return the points that a link is led through, from its output to its input."""
    points = {point["id"]: point for point in graph["extra"].get("reroutes", [])}
    last = {end["id"]: end["parentId"] for end in graph["extra"].get("linkExtensions", [])}.get(link[0])
    chain: list[dict[str, Any]] = []
    while last is not None:
        chain.insert(0, points[last])
        last = chain[0].get("parentId")
    return chain


def curve(graph: dict[str, Any], link: list[Any]) -> list[Point]:
    """Return points of a link as the host draws it: cubics from the output through the reroutes to the input.

    At both ends a cubic swings out sideways by a quarter of its length; at a reroute it leaves in the mean of the
    directions it comes from and goes to. Where an input that is a widget lies depends on the host's widgets; the
    middle of the node stands for it.
    """
    nodes = {node["id"]: node for node in graph["nodes"]}
    chain = reroutes(graph, link)
    start, end = output_at(nodes, link), input_at(nodes, link)
    stops = [start, *(tuple(point["pos"]) for point in chain), end]
    angles = [direction(graph, point, before) for point, before in zip(chain, stops, strict=False)]
    points: list[Point] = []
    for place, (first, second) in enumerate(pairwise(stops)):
        swing = math.dist(first, second) / 4
        out, into = (0.0, swing), (0.0, swing)
        if place:
            out = angles[place - 1], min(80, swing)
        if place < len(chain):
            into = angles[place], min(80, swing)
        points += cubic(first, shifted(first, *out), shifted(second, into[0], -into[1]), second)
    return points


def direction(graph: dict[str, Any], point: dict[str, Any], before: Point) -> float:
    """Return the angle at which links pass a reroute, which is one for all of them."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    x, y = point["pos"]
    onward = []
    for link in graph["links"]:
        if link[0] in point["linkIds"]:
            chain = reroutes(graph, link)
            rest = chain[chain.index(point) + 1 :]
            to = rest[0]["pos"] if rest else input_at(nodes, link)
            onward.append(math.atan2(to[1] - y, to[0] - x))
    come = math.atan2(y - before[1], x - before[0])
    half = (come - sum(onward) / len(onward)) / 2
    return come - (half + math.pi if abs(half) > math.pi / 2 else half)


def shifted(point: Point, angle: float, length: float) -> Point:
    return point[0] + length * math.cos(angle), point[1] + length * math.sin(angle)


def cubic(start: Point, first: Point, second: Point, end: Point) -> list[Point]:
    points = []
    for step in range(1, 40):
        t = step / 40
        shares = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
        x, y = (
            sum(map(math.prod, zip(shares, axis, strict=True))) for axis in zip(start, first, second, end, strict=True)
        )
        points.append((x, y))
    return points


def output_at(nodes: dict[int, dict[str, Any]], link: list[Any]) -> Point:
    return box(nodes[link[1]])[2], socket_y(nodes[link[1]], link[2])


def input_at(nodes: dict[int, dict[str, Any]], link: list[Any]) -> Point:
    node, place = nodes[link[3]], link[4]
    left, top, _, bottom = box(node)
    if "widget" in node["inputs"][place] and not node["flags"].get("collapsed"):
        return left, (top + TITLE_HEIGHT + bottom) / 2
    return left, socket_y(node, len([slot for slot in node["inputs"][:place] if "widget" not in slot]))


def socket_y(node: dict[str, Any], place: int) -> float:
    collapsed = node["flags"].get("collapsed")
    return node["pos"][1] - TITLE_HEIGHT / 2 if collapsed else node["pos"][1] + 14 + 20 * place


def within(point: Point, frame: Box) -> bool:
    left, top, right, bottom = frame
    return left + EDGE < point[0] < right - EDGE and top + EDGE < point[1] < bottom - EDGE
