"""A phone on baresip's own SIP and RTP, a program of its own: registers, calls, listens, keys, and says how it went.

Nothing of the product is imported. Heard sound goes into the file named by ``heard``, 8 kHz, 16 bit.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from baresip import Account, AudioNotActive, AudioRestarted, BaresipError, Config
from baresip.call import CallState
from baresip.runtime import Runtime
from baresip.ua import UserAgent

PATIENCE = 40.0


async def listen(call: Any, heard: bytearray) -> None:
    while call.state is not CallState.CLOSED:
        try:
            heard += call.audio.read(3200)
        except AudioRestarted:
            continue
        except AudioNotActive:
            pass
        await asyncio.sleep(0.02)


async def act(told: dict[str, Any]) -> dict[str, Any]:
    extra = "sip_listen 127.0.0.1:0\nrtp_ports 61000-64999\n"
    runtime = Runtime()
    await runtime.start(Config(net_interface="127.0.0.1", extra_config_text=extra))
    result: dict[str, Any] = {"registered": False, "ended": False}
    try:
        account = Account(
            user=told["user"],
            domain=told["server"],
            password=told["secret"],
            auth_user=told["auth_user"],
            transport=told["transport"],
            audio_codecs=(told["codec"],),
            dtmf_mode=told["mode"],
            reg_interval=120,
        )
        agent = await UserAgent.create(runtime, account)
        try:
            await agent.register()
        except BaresipError as error:
            return {**result, "why": str(error)}
        result["registered"] = True
        call = await agent.dial(f"sip:{told['number']}@{told['server']}")
        await call.wait_established()
        heard = bytearray()
        listening = asyncio.create_task(listen(call, heard))
        await asyncio.sleep(told["listens"])
        await call.send_dtmf(told["keys"])
        await asyncio.wait([listening], timeout=PATIENCE)
        listening.cancel()
        return {**result, "ended": call.state is CallState.CLOSED, "heard": bytes(heard)}
    finally:
        await runtime.close()


if __name__ == "__main__":
    asked = json.loads(sys.stdin.read())
    came = asyncio.run(act(asked))
    Path(asked["heard"]).write_bytes(came.pop("heard", b""))
    sys.stdout.write(json.dumps(came))
