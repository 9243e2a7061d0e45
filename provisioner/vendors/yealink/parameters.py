"""What a device file means, for the whole device: provisioning, security, network, time, dialling, screen.

Names are those of firmware 81 and later; ``in_80`` turns them into those of firmware up to 80.
Values that the references only infer are marked where they stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from provisioner import neutral
from provisioner.model import ResolvedConfig
from provisioner.vendors.yealink.clock import zone_parameters
from provisioner.vendors.yealink.dialling import digit_map, nothing_else, replace_rules

CUSTOM_CA: Final = "yealink-ca.pem"
"""The name under which a device fetches its ca.custom."""

_DOT1X: Final = {"off": "0", "md5": "1", "tls": "2", "peap": "3"}
"""Inferred."""
_WEB: Final = {"off": ("0", "0"), "http": ("1", "0"), "https": ("0", "1")}
_LANGUAGES: Final = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ru": "Russian",
    "tr": "Turkish",
    "zh-CN": "Chinese_S",
    "zh-TW": "Chinese_T",
}
"""Languages that are in every firmware (inferred); another one is left out and the phone keeps its own."""
LANGUAGES: Final = tuple(_LANGUAGES)
_DAY: Final = 86400
_LEAST_VERBOSE: Final = 6
"""static.syslog.level ends at 6, informational (inferred)."""
LONGEST_RETRY: Final = 300
"""Seconds (inferred)."""
_TOKEN: Final = re.compile(r"t/[^/]+/$")


def bootstrap(base_url: str, ca_url: str = "") -> dict[str, str]:
    """Where to fetch from and whom to trust: no secret, equal for every device. A token is one device's own."""
    return {
        "static.auto_provision.server.url": _TOKEN.sub("", base_url),
        "static.auto_provision.power_on": "1",
        "static.auto_provision.user_agent_mac.enable": "1",
        "static.security.trust_certificates": "1",
        **(_trusting(ca_url) if ca_url else {}),
    }


def _trusting(ca_url: str) -> dict[str, str]:
    """A CA of the operator's beside the maker's own list."""
    return {"static.trusted_certificates.url": ca_url, "static.security.ca_cert": "2"}


def upgrade(config: ResolvedConfig) -> dict[str, str]:
    """Only what the firmware upgrade needs."""
    return {**bootstrap(""), "static.auto_provision.server.url": config.base_url, **_firmware(config)}


def settings(config: ResolvedConfig) -> dict[str, str]:
    """Everything that is not a line or a key."""
    return {
        **upgrade(config),
        **_provisioning(config),
        **_security(config),
        **_network(config),
        **_time(config),
        **_dialling(config),
        **_screen(config),
    }


def _firmware(config: ResolvedConfig) -> dict[str, str]:
    """Yealink names no version apart from the image, so the image is called by it on this server."""
    url, version = config.get(neutral.FIRMWARE_URL), config.get(neutral.FIRMWARE_VERSION)
    family = config.model.firmware_family
    if version and family and version.partition(".")[0] != family:
        return {}  # another family's image: a phone refuses it, and a shared layer may well name one
    if url and not url.endswith("/"):
        return {"static.firmware.url": url}
    if not version:
        return {}
    return {"static.firmware.url": f"{url or config.base_url}{version}.rom"}


def _provisioning(config: ResolvedConfig) -> dict[str, str]:
    found = {
        # An unauthenticated multicast answer or a foreign DHCP option must not take a configured phone away.
        "static.auto_provision.pnp_enable": "0",
        "static.auto_provision.dhcp_option.enable": "0",
        "static.auto_provision.attempt_before_failed": str(config.get(neutral.RETRY_ATTEMPTS)),
        "static.auto_provision.retry_delay_after_file_transfer_failed": str(
            min(config.get(neutral.RETRY_DELAY), LONGEST_RETRY)
        ),
        # What users change on the phone is theirs: kept here and not overwritten (upload_method 0 is PUT).
        "static.auto_provision.custom.protect": "1",
        "static.auto_provision.custom.sync": "1",
        "static.auto_provision.custom.upload_method": "0",
        "static.auto_provision.local_contact.backup.enable": "1",
        "static.auto_provision.local_contact.backup.path": config.base_url,
        # 0: a check-sync with reboot=false fetches without a restart.
        "sip.notify_reboot_enable": "0",
        **_polling(config),
    }
    if config.get(neutral.LOG_UPLOAD):
        found |= {
            "static.auto_provision.local_log.backup.enable": "1",
            "static.auto_provision.local_log.backup.path": config.base_url,
            "static.auto_provision.local_log.backup.upload_period": "86400",
        }
    else:
        found["static.auto_provision.local_log.backup.enable"] = "0"
    return found


def _polling(config: ResolvedConfig) -> dict[str, str]:
    """The flexible schedule picks a random time in the window, on a random day of the interval (inferred)."""
    period = config.get(neutral.POLL_PERIOD)
    enabled = config.get(neutral.POLL)
    flexible = enabled and period >= _DAY
    found = {
        "static.auto_provision.repeat.enable": "1" if enabled and not flexible else "0",
        "static.auto_provision.flexible.enable": "1" if flexible else "0",
    }
    if flexible:
        found["static.auto_provision.flexible.interval"] = str(period // _DAY)
        found["static.auto_provision.flexible.begin_time"] = config.get(neutral.POLL_FROM)
        found["static.auto_provision.flexible.end_time"] = config.get(neutral.POLL_TO)
    elif enabled:
        found["static.auto_provision.repeat.minutes"] = str(period // 60)
    return found


def _security(config: ResolvedConfig) -> dict[str, str]:
    found: dict[str, str] = {}
    for user, setting in (("admin", neutral.ADMIN_PASSWORD), ("user", neutral.USER_PASSWORD)):
        if password := config.get(setting):
            found[f"static.security.user_password {user}"] = f"{user}:{password}"
    http, https = _WEB[config.get(neutral.WEB_ACCESS)]
    found["static.wui.http_enable"] = http
    found["static.wui.https_enable"] = https
    if config.get(neutral.CUSTOM_CA):
        found |= _trusting(f"{config.base_url}{CUSTOM_CA}")
    return found


def _network(config: ResolvedConfig) -> dict[str, str]:
    found: dict[str, str] = {}
    refused = config.model.refuses
    if "net.vlan" not in refused:
        found |= _ethernet(config)
    server = config.get(neutral.SYSLOG)
    found["static.syslog.enable"] = "1" if server else "0"
    if server:
        found["static.syslog.server"] = server.host
        found["static.syslog.server_port"] = str(server.port or 514)
        found["static.syslog.level"] = str(min(config.get(neutral.SYSLOG_LEVEL), _LEAST_VERBOSE))
    return found


def _ethernet(config: ResolvedConfig) -> dict[str, str]:
    found: dict[str, str] = {}
    if config.settles(neutral.VLAN_ID):
        vlan = config.get(neutral.VLAN_ID)
        found["static.network.vlan.internet_port_enable"] = "1" if vlan else "0"
        if vlan:
            found["static.network.vlan.internet_port_vid"] = str(vlan)
    for name, setting in (("lldp", neutral.LLDP), ("cdp", neutral.CDP)):
        if config.settles(setting):
            found[f"static.network.{name}.enable"] = "1" if config.get(setting) else "0"
    if config.settles(neutral.DOT1X_MODE):
        mode = config.get(neutral.DOT1X_MODE)
        found["static.network.802_1x.mode"] = _DOT1X[mode]
        if mode != "off":
            found["static.network.802_1x.identity"] = config.get(neutral.DOT1X_IDENTITY)
            found["static.network.802_1x.md5_password"] = config.get(neutral.DOT1X_PASSWORD)
    return found


def _time(config: ResolvedConfig) -> dict[str, str]:
    server = config.get(neutral.NTP_SERVER)
    return {"local_time.ntp_server1": server, **zone_parameters(config.get(neutral.TIME_ZONE))}


def _dialling(config: ResolvedConfig) -> dict[str, str]:
    emergency, modern = config.get(neutral.EMERGENCY), config.model.dialect != "v80"
    if config.activation and modern:
        rescue = config.get(neutral.ACTIVATION_EMERGENCY)
        found = dict(nothing_else(config.get(neutral.HOTLINE), emergency, rescue))
    else:
        plan = digit_map if modern else replace_rules
        found = dict(plan(config.get(neutral.DIAL_RULES), emergency, config.get(neutral.DIAL_TIMEOUT)))
    # Back to the phone's own when it is activated.
    found["features.direct_ip_call_enable"] = "0" if config.activation else ""
    if "hotline.number" not in config.model.refuses:
        found["features.hotline_number"] = config.get(neutral.HOTLINE)
        found["features.hotline_delay"] = str(config.get(neutral.HOTLINE_DELAY))
    return found


def _screen(config: ResolvedConfig) -> dict[str, str]:
    found: dict[str, str] = {}
    tag = config.get(neutral.LANGUAGE)
    if language := _LANGUAGES.get(tag) or _LANGUAGES.get(tag.partition("-")[0]):
        found["lang.wui"] = language
        if not config.model.dect:
            found["lang.gui"] = language
    url = config.get(neutral.PHONEBOOK_URL)
    found["remote_phonebook.data.1.url"] = url
    if url:
        found["remote_phonebook.data.1.name"] = config.get(neutral.PHONEBOOK_NAME)
    return found


_OTHER_80: Final = {
    "static.auto_provision.power_on": "",  # auto_provision.mode says it
    "static.auto_provision.user_agent_mac.enable": "",
    "static.auto_provision.attempt_before_failed": "",
    "static.auto_provision.retry_delay_after_file_transfer_failed": "",
    "static.auto_provision.custom.sync": "",
    "static.auto_provision.custom.upload_method": "",
    "static.auto_provision.local_contact.backup.enable": "",
    "static.auto_provision.local_contact.backup.path": "",
    "static.auto_provision.local_log.backup.enable": "",
    "static.auto_provision.local_log.backup.path": "",
    "static.auto_provision.local_log.backup.upload_period": "",
    "static.auto_provision.flexible.enable": "auto_provision.weekly.enable",
    "static.auto_provision.flexible.interval": "",
    "static.auto_provision.flexible.begin_time": "auto_provision.weekly.begin_time",
    "static.auto_provision.flexible.end_time": "auto_provision.weekly.end_time",
    "static.network.cdp.enable": "",
    "static.syslog.enable": "syslog.mode",
    "static.syslog.server_port": "",
    "static.syslog.level": "syslog.log_level",
}
"""Firmware 81 name -> firmware 80 name where more than ``static.`` differs; empty where there is none."""


def in_80(meant: Mapping[str, str]) -> dict[str, str]:
    """The same parameters as firmware up to 80 spells them."""
    found: dict[str, str] = {}
    for name, value in meant.items():
        if spelled := _OTHER_80.get(name, name.removeprefix("static.")):
            found[spelled] = value
    return found | _mode_80(found)


def _mode_80(found: Mapping[str, str]) -> dict[str, str]:
    """1 at power-on, 6 also each interval, 7 also each of the days named by the mask, at a random time."""
    if found.get("auto_provision.weekly.enable") == "1":
        return {"auto_provision.mode": "7", "auto_provision.weekly.mask": "0123456"}
    return {"auto_provision.mode": "6" if found.get("auto_provision.repeat.enable") == "1" else "1"}
