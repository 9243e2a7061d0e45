"""Why a phone does not come up: what witnesses saw, joined by Mac and time, and judged by a ladder. Pure."""
