"""Drives a headless Chromium, over its DevTools protocol: browser.py PROGRAM FOLDER < steps

Steps are a JSON list of [verb, argument]; prints a JSON list of what "text" steps see.
    ["goto", url]        opens a page
    ["wait", text]       waits until the page shows the text
    ["gone", text]       waits until it does not any more
    ["click", selector]  clicks an element
    ["type", [selector, text]]
    ["text", selector]   reads what an element shows
    ["shot", name]       writes a picture of the page, FOLDER/name.png
Problems that the page's scripts report are printed to stderr.
"""
import asyncio
import base64
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import websocket_connect

PATIENCE = 120


class Refused(Exception):
    """What the browser was asked it cannot do, or not now."""


class Page:
    def __init__(self, socket):
        self.socket, self.ids = socket, itertools.count(1)

    async def call(self, method, **params):
        wanted = next(self.ids)
        await self.socket.write_message(json.dumps({"id": wanted, "method": method, "params": params}))
        while True:
            message = json.loads(await asyncio.wait_for(self.socket.read_message(), PATIENCE))
            if message.get("method") == "Runtime.exceptionThrown":
                print(message["params"]["exceptionDetails"], file=sys.stderr)
            if message.get("id") == wanted:
                if "error" in message:
                    raise Refused("%s: %s" % (method, message["error"]))
                return message["result"]

    async def js(self, source):
        result = await self.call("Runtime.evaluate", expression=source, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise Refused("%s: %s" % (source, result["exceptionDetails"]))
        return result["result"].get("value")

    async def until(self, source, what):
        deadline = time.time() + PATIENCE
        while not await self.holds(source):
            if time.time() > deadline:
                raise SystemExit("not so: %s. The page shows:\n%s" % (what, await self.js("document.body.innerText")))
            await asyncio.sleep(0.1)

    async def holds(self, source):
        try:
            return await self.js(source)
        except Refused:  # between two pages there is nothing to ask
            return False


async def run(page, steps, folder):
    seen = []
    for verb, what in steps:
        element = "document.querySelector(%s)" % json.dumps(what[0] if verb == "type" else what)
        if verb == "goto":
            await page.call("Page.navigate", url=what)
            await page.until("location.href == %s && document.readyState == 'complete'" % json.dumps(what), what)
        elif verb in ("wait", "gone"):
            source = "document.body.innerText.includes(%s)" % json.dumps(what)
            await page.until(source if verb == "wait" else "!" + source, "%s %r" % (verb, what))
        elif verb == "click":
            await page.until("!!%s" % element, what)
            await page.js("%s.click()" % element)
        elif verb == "type":
            await page.js("%s.value = %s" % (element, json.dumps(what[1])))
        elif verb == "text":
            await page.until("!!%s && document.readyState == 'complete'" % element, what)
            seen.append(await page.js("%s.innerText" % element))
        elif verb == "shot":
            await asyncio.sleep(0.4)  # what fades in
            picture = await page.call("Page.captureScreenshot", captureBeyondViewport=True)
            (folder / (what + ".png")).write_bytes(base64.b64decode(picture["data"]))
    return seen


async def main(program, folder):
    profile = tempfile.mkdtemp()
    chromium = subprocess.Popen([
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--remote-debugging-port=0", "--user-data-dir=" + profile, "--window-size=1300,1100", "about:blank",
    ], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = os.path.join(profile, "DevToolsActivePort")
        deadline = time.time() + 2 * PATIENCE
        while not (os.path.exists(port) and open(port).read().count("\n")):
            if time.time() > deadline or chromium.poll() is not None:
                raise SystemExit("%s does not start" % program)
            await asyncio.sleep(0.1)
        url = "http://127.0.0.1:%s/json" % open(port).readline().strip()
        tabs = json.loads((await AsyncHTTPClient().fetch(url)).body)
        tab = next(t for t in tabs if t["type"] == "page")
        page = Page(await websocket_connect(tab["webSocketDebuggerUrl"], max_message_size=1 << 27))
        await page.call("Page.enable")
        await page.call("Runtime.enable")
        print(json.dumps(await run(page, json.load(sys.stdin), pathlib.Path(folder))))
    finally:
        chromium.terminate()
        chromium.wait()
        deadline = time.time() + PATIENCE
        while os.path.exists(profile) and time.time() < deadline:  # its children still write there for a moment
            shutil.rmtree(profile, ignore_errors=True)


asyncio.run(main(*sys.argv[1:]))
