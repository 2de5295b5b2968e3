"""What a browser says of itself, in words for people: never relied upon, only shown."""

import re
from typing import NamedTuple

BROWSERS = {
    "Edg": "Edge",
    "OPR": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Whale": "Whale",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Version": "Safari",
}
SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Macintosh": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}
PROGRAM = re.compile(r"[^/\s]+")


class Device(NamedTuple):
    program: str  # empty: it said nothing
    system: str


def read_device(user_agent: str) -> Device:
    """The browser and its system; of anything else the first word."""
    if not user_agent.startswith("Mozilla/"):
        found = PROGRAM.match(user_agent)
        return Device(found[0] if found else "", "")
    browser = next((name for token, name in BROWSERS.items() if f"{token}/" in user_agent), "")
    system = next((name for token, name in SYSTEMS.items() if token in user_agent), "")
    return Device(browser, system)
