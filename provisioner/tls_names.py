"""What the numbers of TLS are called, as far as phones use them; suites by OpenSSL's names, as logs have them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

VERSIONS: Final[Mapping[int, str]] = MappingProxyType(
    {0x0002: "SSLv2", 0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
)
SUITES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x0004: "RC4-MD5", 0x0005: "RC4-SHA", 0x0009: "DES-CBC-SHA", 0x000A: "DES-CBC3-SHA",
        0x0016: "DHE-RSA-DES-CBC3-SHA", 0x002F: "AES128-SHA", 0x0033: "DHE-RSA-AES128-SHA", 0x0035: "AES256-SHA",
        0x0039: "DHE-RSA-AES256-SHA", 0x003C: "AES128-SHA256", 0x003D: "AES256-SHA256", 0x0041: "CAMELLIA128-SHA",
        0x0067: "DHE-RSA-AES128-SHA256", 0x006B: "DHE-RSA-AES256-SHA256", 0x0084: "CAMELLIA256-SHA",
        0x009C: "AES128-GCM-SHA256", 0x009D: "AES256-GCM-SHA384", 0x009E: "DHE-RSA-AES128-GCM-SHA256",
        0x009F: "DHE-RSA-AES256-GCM-SHA384", 0x00FF: "RENEGOTIATION_SCSV", 0x1301: "TLS_AES_128_GCM_SHA256",
        0x1302: "TLS_AES_256_GCM_SHA384", 0x1303: "TLS_CHACHA20_POLY1305_SHA256", 0x1304: "TLS_AES_128_CCM_SHA256",
        0x5600: "FALLBACK_SCSV", 0xC007: "ECDHE-ECDSA-RC4-SHA", 0xC008: "ECDHE-ECDSA-DES-CBC3-SHA",
        0xC009: "ECDHE-ECDSA-AES128-SHA", 0xC00A: "ECDHE-ECDSA-AES256-SHA", 0xC011: "ECDHE-RSA-RC4-SHA",
        0xC012: "ECDHE-RSA-DES-CBC3-SHA", 0xC013: "ECDHE-RSA-AES128-SHA", 0xC014: "ECDHE-RSA-AES256-SHA",
        0xC023: "ECDHE-ECDSA-AES128-SHA256", 0xC024: "ECDHE-ECDSA-AES256-SHA384",
        0xC027: "ECDHE-RSA-AES128-SHA256", 0xC028: "ECDHE-RSA-AES256-SHA384",
        0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256", 0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
        0xC02F: "ECDHE-RSA-AES128-GCM-SHA256", 0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
        0xC09C: "AES128-CCM", 0xC09D: "AES256-CCM", 0xC0A0: "AES128-CCM8", 0xC0A1: "AES256-CCM8",
        0xC0AC: "ECDHE-ECDSA-AES128-CCM", 0xC0AD: "ECDHE-ECDSA-AES256-CCM",
        0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305", 0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305",
        0xCCAA: "DHE-RSA-CHACHA20-POLY1305",
    }
)  # fmt: skip
"""RFC 8447's registry; what is not here is shown as its number."""
SIGNATURES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x0101: "rsa_md5", 0x0201: "rsa_sha1", 0x0202: "dsa_sha1", 0x0203: "ecdsa_sha1", 0x0301: "rsa_sha224",
        0x0303: "ecdsa_sha224", 0x0401: "rsa_sha256", 0x0402: "dsa_sha256", 0x0403: "ecdsa_secp256r1_sha256",
        0x0501: "rsa_sha384", 0x0502: "dsa_sha384", 0x0503: "ecdsa_secp384r1_sha384", 0x0601: "rsa_sha512",
        0x0602: "dsa_sha512", 0x0603: "ecdsa_secp521r1_sha512", 0x0804: "rsa_pss_rsae_sha256",
        0x0805: "rsa_pss_rsae_sha384", 0x0806: "rsa_pss_rsae_sha512", 0x0807: "ed25519", 0x0808: "ed448",
        0x0809: "rsa_pss_pss_sha256", 0x080A: "rsa_pss_pss_sha384", 0x080B: "rsa_pss_pss_sha512",
    }
)  # fmt: skip
"""RFC 8446 section 4.2.3 and, for the pairs of TLS 1.2, RFC 5246 section 7.4.1.4.1."""
ALERTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed",
        22: "record_overflow", 30: "decompression_failure", 40: "handshake_failure", 41: "no_certificate",
        42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
        46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
        51: "decrypt_error", 60: "export_restriction", 70: "protocol_version", 71: "insufficient_security",
        80: "internal_error", 86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation",
        109: "missing_extension", 110: "unsupported_extension", 111: "certificate_unobtainable",
        112: "unrecognized_name", 113: "bad_certificate_status_response", 114: "bad_certificate_hash_value",
        115: "unknown_psk_identity", 116: "certificate_required", 120: "no_application_protocol",
    }
)  # fmt: skip
"""RFC 8446 section 6 and its predecessors."""
_CODES: Final = {name: code for code, name in ALERTS.items()}
BY_FAULT: Final[Mapping[str, int]] = MappingProxyType(
    {
        "no_shared_cipher": 40, "no_shared_group": 40, "old_version": 70, "wrong_version": 70, "no_http11": 120,
        "bad_signature": 51, "too_large": 47,
    }
)  # fmt: skip
"""Which alert goes with a fault that the server has found, where it was sent encrypted and cannot be read back."""


def alert_code(name: str) -> int:
    """The number of an alert by OpenSSL's name for it; -1 for one that is not known."""
    return _CODES.get(name, -1)


def named(numbers: Iterable[int], names: Mapping[int, str]) -> str:
    """In words, comma between; as a number what has none."""
    return ",".join(names.get(one) or f"0x{one:04x}" for one in numbers)
