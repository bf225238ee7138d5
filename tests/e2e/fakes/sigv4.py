"""Checks requests signed by AWS' Signature Version 4, written from its description ("Create a signed AWS API request",
AWS Identity and Access Management User Guide). It signs nothing: what it accepts, others have made."""
import datetime
import hashlib
import hmac
import re
import urllib.parse

SKEW_SECONDS_MAX = 300
ALGORITHM = "AWS4-HMAC-SHA256"


class Refused(Exception):
    """reason: a word of missing, malformed, expired, unknown_key, scope, token, headers, payload, signature"""

    def __init__(self, reason, text):
        super().__init__(text)
        self.reason = reason


def _encode(text):
    return urllib.parse.quote(text, safe="-_.~")


def _canonical_query(query):
    pairs = []
    for piece in query.split("&") if query else []:
        name, _, value = piece.partition("=")
        pairs.append((_encode(urllib.parse.unquote(name)), _encode(urllib.parse.unquote(value))))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _canonical_path(path):
    """As it stands in the request, each segment encoded once more: for all services but S3."""
    return "/".join(_encode(segment) for segment in (path or "/").split("/"))


def canonical_request(method, target, headers, signed, body):
    """headers: {lower name: value}; signed: lower names, sorted"""
    path, _, query = target.partition("?")
    lines = "".join(f"{name}:{re.sub(' +', ' ', headers[name].strip())}\n" for name in signed)
    return "\n".join([method, _canonical_path(path), _canonical_query(query), lines, ";".join(signed),
                      hashlib.sha256(body).hexdigest()])


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(secret, stamp, scope, request):
    """scope: date/region/service/aws4_request"""
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    to_sign = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    return _hmac(key, to_sign).hex()


def _parse(header):
    if not header:
        raise Refused("missing", "there is no Authorization header")
    match = re.fullmatch(ALGORITHM + r" +Credential=([^,/ ]+)/([^, ]+), *SignedHeaders=([^, ]+), *Signature=([0-9a-f]{64})",
                         header)
    if not match:
        raise Refused("malformed", f"not an Authorization header of {ALGORITHM}: {header[:100]}")
    return match.groups()


def check(request, credentials, region, service, now=None):
    """request: (method, target, {lower name: value}, body). credentials: {access key: (secret, session token or None)}.
    The access key that signed it; Refused where something is wrong."""
    method, target, headers, body = request
    key, scope, signed, given = _parse(headers.get("authorization"))
    signed = signed.split(";")
    stamp = headers.get("x-amz-date", "")
    if not re.fullmatch(r"\d{8}T\d{6}Z", stamp):
        raise Refused("malformed", f"x-amz-date is {stamp!r}")
    time = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    now = now or datetime.datetime.now(datetime.timezone.utc)
    if abs((now - time).total_seconds()) > SKEW_SECONDS_MAX:
        raise Refused("expired", f"x-amz-date {stamp} is far from {now:%Y%m%dT%H%M%SZ}")
    if scope != f"{stamp[:8]}/{region}/{service}/aws4_request":
        raise Refused("scope", f"the scope is {scope}, not of {region}/{service} at that date")
    if signed != sorted(signed) or not {"host", "x-amz-date"} <= set(signed) or not set(signed) <= set(headers):
        raise Refused("headers", f"SignedHeaders {';'.join(signed)}")
    # A session token may be added after signing.
    bare = [name for name in headers if name.startswith("x-amz-") and name not in signed
            and name != "x-amz-security-token"]
    if bare:
        raise Refused("headers", f"not signed: {', '.join(bare)}")
    if headers.get("x-amz-content-sha256", "") not in ("", hashlib.sha256(body).hexdigest()):
        raise Refused("payload", "x-amz-content-sha256 is not the body's")
    if key not in credentials:
        raise Refused("unknown_key", f"nobody has the access key {key}")
    secret, token = credentials[key]
    if token != headers.get("x-amz-security-token"):
        raise Refused("token", "the session token is not the access key's")
    expected = signature(secret, stamp, scope, canonical_request(method, target, headers, signed, body))
    if not hmac.compare_digest(expected, given):
        raise Refused("signature", "the signature is another one")
    return key
