#!/usr/bin/env python3
"""Whether the context comes along, in this Python and in the Node that is installed, as docs/runtimes.md says.

    python3 runtimes.py

OpenTelemetry keeps its context in a context variable (Python) and in an AsyncLocalStorage (Node), so no SDK is needed. Exits
with 1 if a row that says "tried" was not tried or fared differently. Without Node its rows are skipped, and said to be.
"""

import asyncio
import contextvars
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/runtimes.md"
CURRENT = contextvars.ContextVar("current", default=None)
NODE = """
const { AsyncLocalStorage } = require("node:async_hooks");
const { EventEmitter } = require("node:events");
const current = new AsyncLocalStorage(), kept = {}, emitter = new EventEmitter();
const see = (name) => () => { kept[name] = current.getStore() === "span"; };
current.run("span", async () => {
  setTimeout(see("setTimeout"), 1);
  Promise.resolve().then(see("Promise.then"));
  emitter.on("event", see("EventEmitter.on"));
  await null;
  see("await")();
});
setTimeout(() => { emitter.emit("event"); console.log(JSON.stringify(kept)); }, 50);
"""


async def python():
    """Whether each way of handing work over keeps the context."""
    kept = {}

    def see(name):
        kept[name] = CURRENT.get() == "span"

    async def task():
        see("asyncio.create_task")

    loop, called = asyncio.get_running_loop(), asyncio.Event()
    CURRENT.set("span")
    await asyncio.create_task(task())
    loop.call_later(0.001, lambda: (see("loop.call_later"), called.set()))
    await called.wait()
    await asyncio.to_thread(see, "asyncio.to_thread")
    await loop.run_in_executor(None, see, "loop.run_in_executor")
    with ThreadPoolExecutor() as pool:
        pool.submit(see, "ThreadPoolExecutor.submit").result()
    thread = threading.Thread(target=see, args=["threading.Thread"])
    thread.start()
    thread.join()
    return kept


def main():
    tried = {("Python 3", name): kept for name, kept in asyncio.run(python()).items()}
    node = shutil.which("node")
    if node:
        said = subprocess.run([node, "-e", NODE], capture_output=True, check=True, text=True, timeout=30).stdout
        tried |= {("Node", name): kept for name, kept in json.loads(said).items()}
    else:
        print("skipped: node is not installed")
    rows = re.findall(r"^\| ([^|]+) \| `([^`|]+)` \| (kept|lost)[^|]*(?:\|[^|]*)? \| tried \|$", PAGE.read_text(), re.M)
    page = {(runtime, name): kept == "kept" for runtime, name, kept in rows if node or runtime != "Node"}
    wrong = sorted(row for row in page.keys() | tried.keys() if page.get(row) != tried.get(row))
    for row in wrong:
        print(f"FAILED  {row[0]}, {row[1]}: the page says {page.get(row)}, this run {tried.get(row)}")
    print(f"{len(tried) - len(wrong)} of {len(page)} rows are as the page says")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
