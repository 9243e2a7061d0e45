"""Rule: the same Flow behind other people's telephone systems; each adapter is a class that is given a Desk.

``FastAgi`` is a server of its own; ``Twiml``, ``Httapi``, ``Attempts`` and ``Recordings`` are web hooks, and ``Hooks``
puts them behind one listener. They were tried against small programs that speak the other side's protocol, not against
a live Asterisk, FreeSWITCH or Twilio.
"""

from ivr.adapters.fastagi import FastAgi, FastAgiSettings
from ivr.adapters.hooks import Hook, Hooks
from ivr.adapters.httapi import Httapi, HttapiSettings
from ivr.adapters.recordings import Recordings
from ivr.adapters.rest import Attempts, AttemptsSettings
from ivr.adapters.signatures import SharedSecret, Signature, TelnyxSignature, TwilioSignature
from ivr.adapters.twiml import Twiml, TwimlSettings

__all__ = [
    "Attempts",
    "AttemptsSettings",
    "FastAgi",
    "FastAgiSettings",
    "Hook",
    "Hooks",
    "Httapi",
    "HttapiSettings",
    "Recordings",
    "SharedSecret",
    "Signature",
    "TelnyxSignature",
    "TwilioSignature",
    "Twiml",
    "TwimlSettings",
]
