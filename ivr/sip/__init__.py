"""SIP as a phone's IVR needs it (RFC 3261): bytes and the time come in, bytes and events go out, nothing waits here."""
