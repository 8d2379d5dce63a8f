"""Queue a workflow in API format on a running ComfyUI, follow its progress, and download what it saves.

    python examples/queue_workflow.py workflows/api/pocket-quickstart.json
    python examples/queue_workflow.py workflows/api/pocket-quickstart.json \
        --set "Prompt.text=a zibbo moves up on a plain background" --each "6.seed=[1, 2, 3]"

It needs nothing but aiohttp, which ComfyUI has. Nodes are named by their id or by their title.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp

Workflow = dict[str, dict[str, Any]]
Job = str  # what ComfyUI calls a prompt_id


class Refused(Exception):
    """Be what goes wrong: a change that does not fit the workflow, or what ComfyUI answered."""


def read_workflow(path: Path) -> Workflow:
    """Read a workflow in API format."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    if "nodes" in workflow:
        raise Refused(f"{path}: this is the canvas's format. Take the file in workflows/api, or export it for the API.")
    return workflow


def find_input(workflow: Workflow, address: str) -> tuple[dict[str, Any], str]:
    """Return the inputs of the node that `address`, "6.seed" or "Prompt.text", names, and the name of the input."""
    node, _, name = address.rpartition(".")
    found = [workflow[node]] if node in workflow else [one for one in workflow.values() if title(one) == node]
    if len(found) != 1:
        nodes = ", ".join(f"{id} {title(one)!r}" for id, one in workflow.items())
        raise Refused(f"{address}: {len(found)} nodes are called {node!r} (there are {nodes}).")
    inputs = found[0]["inputs"]
    if name not in inputs:
        raise Refused(f"{address}: no such input (there are {', '.join(inputs)}).")
    if isinstance(inputs[name], list):
        raise Refused(f"{address}: it comes from node {inputs[name][0]}. Change that node.")
    return inputs, name


def changed(workflow: Workflow, address: str, value: Any) -> Workflow:
    """Return the workflow with another value; where a text was, a text will be, a list of LoRAs as JSON too."""
    workflow = copy.deepcopy(workflow)
    inputs, name = find_input(workflow, address)
    is_text = isinstance(inputs[name], str)
    inputs[name] = json.dumps(value) if is_text and not isinstance(value, str) else value
    return workflow


def variants(workflow: Workflow, settings: list[str], each: str | None) -> Iterator[Workflow]:
    """Yield the workflow with all `settings`, once for every value of the JSON list in `each`."""
    for setting in settings:
        address, _, text = setting.partition("=")
        inputs, name = find_input(workflow, address)
        workflow = changed(workflow, address, text if isinstance(inputs[name], str) else from_json(text, address))
    if each is None:
        yield workflow
        return
    address, _, text = each.partition("=")
    values = from_json(text, address)
    if not isinstance(values, list):
        raise Refused(f"{address}: {text} is no JSON list.")
    for value in values:
        yield changed(workflow, address, value)


def from_json(text: str, address: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Refused(f"{address}: {text!r} is no JSON: {error}.") from None


def title(node: dict[str, Any]) -> str:
    return node.get("_meta", {}).get("title", node["class_type"])


async def queue(session: aiohttp.ClientSession, workflow: Workflow, client: str) -> Job:
    """Queue a workflow; what ComfyUI finds wrong with it beforehand is an error that names the nodes."""
    async with session.post("/prompt", json={"prompt": workflow, "client_id": client}) as response:
        answer = await response.json()
    if "prompt_id" not in answer:
        faults = [
            f"node {id} {title(workflow[id])!r}: {fault['message']}: {fault['details']}"
            for id, node in (answer.get("node_errors") or {}).items()
            for fault in node["errors"]
        ]
        raise Refused("\n".join(faults or [answer["error"]["message"]]))
    return answer["prompt_id"]


async def finished(socket: aiohttp.ClientWebSocketResponse, jobs: dict[Job, Workflow]) -> AsyncIterator[Job]:
    """Yield each job when it is done, showing the progress of all."""
    waiting, numbers = dict(jobs), {job: number for number, job in enumerate(jobs, 1)}
    async for message in socket:
        if message.type != aiohttp.WSMsgType.TEXT:
            continue  # a preview picture
        event = message.json()
        kind, data = event["type"], event["data"]
        workflow = waiting.get(data.get("prompt_id"))
        if workflow is None:
            continue
        if kind == "progress":
            number = numbers[data["prompt_id"]]
            print(f"{number}/{len(jobs)} {title(workflow[data['node']])}: {data['value']} of {data['max']}")
        elif kind == "execution_error":
            raise Refused(f"node {data['node_id']}, {data['node_type']}: {data['exception_message'].strip()}")
        elif kind == "execution_interrupted":
            raise Refused(f"{data['prompt_id']} was interrupted.")
        elif kind == "execution_success":
            del waiting[data["prompt_id"]]
            yield data["prompt_id"]
        if not waiting:
            return
    raise Refused("ComfyUI closed the connection.")


async def download(session: aiohttp.ClientSession, job: Job, folder: Path) -> None:
    """Download every file that a job has saved; previews are left out."""
    outputs = (await history(session, job))["outputs"].values()
    files = [file for output in outputs for shown in output.values() for file in shown if is_saved(file)]
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        place = {key: file[key] for key in ("filename", "subfolder", "type")}
        async with session.get("/view", params=place) as response:
            response.raise_for_status()
            path = folder / Path(file["filename"]).name
            path.write_bytes(await response.read())
            print(path)


async def history(session: aiohttp.ClientSession, job: Job) -> dict[str, Any]:
    """Return what became of a job; ComfyUI writes that down a moment after it says that the job is done."""
    while True:
        async with session.get(f"/history/{job}") as response:
            jobs = await response.json()
        if job in jobs:
            return jobs[job]
        await asyncio.sleep(0.1)


def is_saved(file: Any) -> bool:
    return isinstance(file, dict) and file.get("type") == "output"


async def run(server: str, workflows: list[Workflow], folder: Path) -> None:
    """Queue all workflows, then download from each as it is done; if anything fails or Ctrl-C is pressed, stop them."""
    client = uuid.uuid4().hex
    jobs: dict[Job, Workflow] = {}
    # Listening begins first, so that no message of a fast job is missed.
    async with (
        aiohttp.ClientSession(server) as session,
        session.ws_connect("/ws", params={"clientId": client}, max_msg_size=0) as socket,
    ):
        try:
            for workflow in workflows:
                jobs[await queue(session, workflow, client)] = workflow
            async for job in finished(socket, jobs):
                await download(session, job, folder)
        except BaseException:
            await stop(session, list(jobs))
            raise


async def stop(session: aiohttp.ClientSession, jobs: list[Job]) -> None:
    """Take jobs out of the queue, and interrupt the one that runs; jobs of others are not touched."""
    await session.post("/queue", json={"delete": jobs})
    for job in jobs:
        await session.post("/interrupt", json={"prompt_id": job})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow", type=Path, help="a workflow in API format")
    parser.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", help="may be repeated")
    parser.add_argument("--each", metavar="NODE.INPUT=[...]", help="queue it once for every value of a JSON list")
    parser.add_argument("--server", default="http://127.0.0.1:8188")
    parser.add_argument("--out", type=Path, default=Path("out"), help="the folder for downloads (default: out)")
    arguments = parser.parse_args()
    try:
        workflows = list(variants(read_workflow(arguments.workflow), arguments.set, arguments.each))
        asyncio.run(run(arguments.server, workflows, arguments.out))
    except (Refused, OSError, json.JSONDecodeError, aiohttp.ClientError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")


if __name__ == "__main__":
    main()
