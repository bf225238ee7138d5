#!/usr/bin/env python3
"""An EC2 on loopback, from AWS' documentation: DescribeInstances and DescribeAvailabilityZones of the Query API, STS'
AssumeRole and GetCallerIdentity, and the instance metadata service (IMDSv2: without a token it answers 401). Signatures
are checked. All of it answers at one address; start several for several.

usage: ec2.py --address 127.77.1.9 [--port 8080] [--instances 100] [--seed 1]

Beside these APIs, for tests:
    GET  /_fake/counters    how often what was asked and how it was answered, as JSON
    GET  /_fake/labels?port=80   {instance id: labels}: what Prometheus would discover
    POST /_fake/faults      JSON of the keys of FAULTS: from now on
    POST /_fake/instances   {"count": 10, "seed": 1}: others from now on
"""
import argparse
import base64
import collections
import datetime
import hashlib
import http.server
import itertools
import json
import os
import re
import socket
import sys
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from fakes import ec2_world, sigv4  # noqa: E402

ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ROLE_ARN = "arn:aws:iam::123456789012:role/monitoring"
INSTANCE_ROLE = "instance-monitoring"
PAGE_MAX, PAGE_MIN = 1000, 5
ENDLESS_START = 10 ** 7  # pages of the fault "endless" are numbered from here on, and empty
SESSION_SECONDS = 3600
METADATA_TTL_SECONDS_MAX = 21600
VERSIONS = {"2016-11-15", "2013-10-15"}  # the older one is vmagent's
FAULTS = {
    "throttle": 0,  # so many API requests are answered RequestLimitExceeded
    "throttle_status": 503,
    "deny": [],  # actions that are answered UnauthorizedOperation
    "html": 0,  # so many are answered with a page of HTML and status 200
    "half": 0,  # of so many the connection ends in the middle of the body
    "truncated": 0,  # so many are half a document that looks whole
    "slow_seconds": 0,  # between each tenth of a body
    "huge_bytes": 0,  # each page has so much besides
    "endless": False,  # there is always a next page
    "circle": False,  # the next page is always the first
    "page_max": PAGE_MAX,  # instances of a page, whatever was asked for
    "expired": False,  # what STS and the metadata gave out is valid no longer
    "metadata": True,  # False: there is no metadata service
}


class ApiError(Exception):
    def __init__(self, status, code, text):
        super().__init__(text)
        self.status, self.code = status, code


class Cloud:
    """What is there, whoever asks; all of it under the lock."""

    def __init__(self, instances, seed):
        self.lock = threading.RLock()
        self.world = ec2_world.World(instances, seed)
        self.faults = dict(FAULTS)
        self.counters = collections.Counter()
        self.queries = collections.deque(maxlen=1000)  # parameters of the last requests
        self.sessions = {}  # access key: (secret, token)
        self.metadata_tokens = {}  # token: when it ends
        self.numbers = itertools.count(1)

    def count(self, what):
        with self.lock:
            self.counters[what] += 1

    def set_faults(self, faults):
        unknown = set(faults) - set(FAULTS)
        assert not unknown, f"no such faults: {unknown}"
        with self.lock:
            if faults.get("expired"):
                self.sessions.clear()
            self.faults.update(faults)

    def set_instances(self, count, seed=1):
        with self.lock:
            self.world = ec2_world.World(count, seed)

    def take(self, fault):
        """True for as many requests as the fault says."""
        with self.lock:
            if self.faults[fault] <= 0:
                return False
            self.faults[fault] -= 1
            return True

    def new_session(self):
        with self.lock:
            number = next(self.numbers)
            key, secret, token = (f"ASIA{number:016d}", hashlib.sha256(b"secret%d" % number).hexdigest()[:40],
                                  base64.b64encode(hashlib.sha512(b"token%d" % number).digest()).decode())
            self.sessions[key] = (secret, token)
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=SESSION_SECONDS)
        return key, secret, token, end.strftime("%Y-%m-%dT%H:%M:%SZ")

    def credentials(self):
        with self.lock:
            return {ACCESS_KEY: (SECRET_KEY, None), **self.sessions}

    # ---- EC2 ----

    def describe_instances(self, parameters):
        filters = request_filters(parameters)
        size = parameters.get("MaxResults", str(PAGE_MAX))
        if not size.isdigit() or not PAGE_MIN <= int(size) <= PAGE_MAX:
            raise ApiError(400, "InvalidParameterValue", f"Value ( {size} ) for parameter maxResults is invalid.")
        with self.lock:
            start = self._page_start(parameters.get("NextToken"))
            text, at = self._page(start, min(int(size), self.faults["page_max"]), filters)
            token = self._next_token(at)
            padding = "<!-- " + "x" * 1000 + " -->"
            text += padding * (self.faults["huge_bytes"] // len(padding))
        return f"<reservationSet>{text}</reservationSet>" + (f"<nextToken>{escape(token)}</nextToken>" if token else "")

    def _page(self, at, size, filters):
        """Reservations stay whole: a page may be a little over, and is never empty while there is more."""
        pieces, count = [], 0
        while at < len(self.world.reservations) and count < size:
            _, owner, instances = self.world.reservations[at]
            chosen = [one for one in instances if ec2_world.matches(owner, one, filters)] if filters else instances
            if chosen:
                pieces.append(self.world.reservation_xml(at, chosen))
            count += len(chosen)
            at += 1
        return "".join(pieces), at

    def _token(self, at):
        """Opaque, and with characters that a form must escape."""
        seal = hashlib.sha256(b"page%d" % at).digest()
        return base64.b64encode(b"%08d\xfb\xef\xbe" % at + seal[:12]).decode()

    def _next_token(self, at):
        if self.faults["circle"]:
            return self._token(0)
        if self.faults["endless"]:
            return self._token(ENDLESS_START + next(self.numbers))
        return self._token(at) if at < len(self.world.reservations) else ""

    def _page_start(self, token):
        if not token:
            return 0
        try:
            at = int(base64.b64decode(token, validate=True)[:8])
        except ValueError:
            at = -1
        if at < 0 or self._token(at) != token or (at >= ENDLESS_START and not self.faults["endless"]):
            raise ApiError(400, "InvalidNextToken", "The specified NextToken is not valid.")
        return at

    def describe_zones(self, parameters):
        items = "".join(f"<item><optInStatus>opt-in-not-required</optInStatus><zoneName>{name}</zoneName>"
                        f"<zoneId>{zone}</zoneId><zoneState>available</zoneState><regionName>{ec2_world.REGION}"
                        "</regionName><messageSet/></item>" for name, zone in self.world.zones.items())
        return f"<availabilityZoneInfo>{items}</availabilityZoneInfo>"

    # ---- STS ----

    def assume_role(self, parameters):
        if parameters.get("RoleArn") != ROLE_ARN:
            raise ApiError(403, "AccessDenied", f"not authorized to perform: sts:AssumeRole on resource: "
                                                f"{parameters.get('RoleArn')}")
        if not re.fullmatch(r"[\w+=,.@-]{2,64}", parameters.get("RoleSessionName", "")):
            raise ApiError(400, "ValidationError", "roleSessionName")
        key, secret, token, end = self.new_session()
        return ("<AssumedRoleUser><AssumedRoleId>AROA123EXAMPLE123:session</AssumedRoleId><Arn>"
                f"{ROLE_ARN}/session</Arn></AssumedRoleUser><Credentials><AccessKeyId>{key}</AccessKeyId>"
                f"<SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>"
                f"<Expiration>{end}</Expiration></Credentials>")

    def caller_identity(self, parameters):
        return ("<Arn>arn:aws:iam::123456789012:user/monitoring</Arn><UserId>AIDAEXAMPLE</UserId>"
                "<Account>123456789012</Account>")


def request_filters(parameters):
    filters = []
    for i in itertools.count(1):
        name = parameters.get(f"Filter.{i}.Name")
        if name is None:
            break
        values = list(itertools.takewhile(lambda value: value is not None, (parameters.get(f"Filter.{i}.Value.{j}")
                                                                            for j in itertools.count(1))))
        if not ec2_world.filter_is_known(name):
            raise ApiError(400, "InvalidParameterValue", f"The filter '{name}' is invalid")
        if not values:
            raise ApiError(400, "InvalidParameterValue", f"The filter '{name}' has no values")
        filters.append((name, values))
    return filters


ACTIONS = {  # action: (service, what answers it)
    "DescribeInstances": ("ec2", Cloud.describe_instances),
    "DescribeAvailabilityZones": ("ec2", Cloud.describe_zones),
    "AssumeRole": ("sts", Cloud.assume_role),
    "GetCallerIdentity": ("sts", Cloud.caller_identity),
}
# How a wrong signature is told: by EC2 in one way, by STS each in its own.
REFUSALS = {"missing": (400, "MissingAuthenticationToken"), "malformed": (400, "IncompleteSignature"),
            "expired": (400, "RequestExpired"), "unknown_key": (403, "InvalidClientTokenId"),
            "token": (403, "InvalidClientTokenId")}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # who asks may go at any time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *arguments):
        pass

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def answer(self, status, body, content_type="text/xml;charset=UTF-8", headers=()):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle_request(self):
        self.cloud = self.server.cloud
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if path.startswith("/_fake/"):
            self.control(path)
        elif path.startswith("/latest/"):
            self.metadata(path)
        else:
            self.api()

    do_GET = do_POST = do_PUT = handle_request

    # ---- For tests ----

    def control(self, path):
        data = json.loads(self.body) if self.body else None
        query = dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
        if path == "/_fake/counters":
            with self.cloud.lock:
                self.answer(200, json.dumps(self.cloud.counters), "application/json")
        elif path == "/_fake/labels":
            self.answer(200, json.dumps(self.cloud.world.labels(int(query["port"]))), "application/json")
        elif path == "/_fake/faults":
            self.cloud.set_faults(data)
            self.answer(200, "{}", "application/json")
        elif path == "/_fake/instances":
            self.cloud.set_instances(**data)
            self.answer(200, "{}", "application/json")
        else:
            self.answer(404, "", "text/plain")

    # ---- IMDSv2 ----

    def metadata(self, path):
        if not self.cloud.faults["metadata"]:
            self.answer(404, "", "text/plain")
        elif path == "/latest/api/token":
            self.metadata_token()
        elif self.cloud.metadata_tokens.get(self.headers.get("X-aws-ec2-metadata-token"), 0) < time.monotonic():
            self.cloud.count("metadata_refused")
            self.answer(401, "", "text/plain")
        else:
            self.cloud.count("metadata")
            text = self.metadata_text(path)
            self.answer(404 if text is None else 200, text or "", "text/plain")

    def metadata_token(self):
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.command != "PUT":
            self.answer(405, "", "text/plain")
        elif self.headers.get("X-Forwarded-For"):
            self.answer(403, "", "text/plain")
        elif not ttl.isdigit() or not 1 <= int(ttl) <= METADATA_TTL_SECONDS_MAX:
            self.answer(400, "", "text/plain")
        else:
            token = base64.b64encode(os.urandom(36)).decode() + "=="
            self.cloud.metadata_tokens[token] = time.monotonic() + int(ttl)
            self.cloud.count("metadata_token")
            self.answer(200, token, "text/plain", [("X-aws-ec2-metadata-token-ttl-seconds", ttl)])

    def metadata_text(self, path):
        credentials = "/latest/meta-data/iam/security-credentials/"
        if path == "/latest/meta-data/placement/region":
            return ec2_world.REGION
        if path == "/latest/meta-data/placement/availability-zone":
            return ec2_world.REGION + "a"
        if path == "/latest/dynamic/instance-identity/document":
            return json.dumps({"region": ec2_world.REGION, "accountId": "123456789012", "instanceId": "i-0"})
        if path == credentials:
            return INSTANCE_ROLE
        if path == credentials + INSTANCE_ROLE:
            key, secret, token, end = self.cloud.new_session()
            return json.dumps({"Code": "Success", "LastUpdated": "2026-01-02T03:04:05Z", "Type": "AWS-HMAC",
                               "AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": end})
        return None

    # ---- The Query APIs ----

    def api(self):
        service = "ec2"
        try:
            text = self.body.decode() if self.command == "POST" else self.path.partition("?")[2]
            parameters = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
            action = parameters.get("Action")
            service, answer_it = ACTIONS.get(action, ("ec2", None))
            self.check(service, action, parameters)
            if answer_it is None:
                raise ApiError(400, "InvalidAction", f"The action {action} is not valid for this web service.")
            self.cloud.count(action)
            self.answer_api(service, action, answer_it(self.cloud, parameters))
        except ApiError as error:
            self.cloud.count(error.code)
            self.answer_error(service, error)

    def check(self, service, action, parameters):
        if service == "ec2" and parameters.get("Version") not in VERSIONS:
            raise ApiError(400, "NoSuchVersion", f"The requested version ({parameters.get('Version')}) is not valid.")
        if self.command == "POST" and not (self.headers.get("Content-Type") or "").startswith(
                "application/x-www-form-urlencoded"):
            raise ApiError(415, "UnsupportedMediaType", "a form is expected")
        if self.cloud.take("throttle"):
            raise ApiError(self.cloud.faults["throttle_status"], "RequestLimitExceeded", "Request limit exceeded.")
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            key = sigv4.check((self.command, self.path, headers, self.body), self.cloud.credentials(),
                              ec2_world.REGION, service)
        except sigv4.Refused as refused:
            self.cloud.count(f"signature_{refused.reason}")
            if service == "ec2":
                raise ApiError(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
            status, code = REFUSALS.get(refused.reason, (403, "SignatureDoesNotMatch"))
            raise ApiError(status, code, str(refused))
        with self.cloud.lock:
            self.cloud.queries.append({"key": key, "method": self.command, **parameters})
        if action in self.cloud.faults["deny"]:
            raise ApiError(403, "UnauthorizedOperation", "You are not authorized to perform this operation. User: "
                           f"arn:aws:iam::123456789012:user/monitoring is not authorized to perform: ec2:{action}")

    def answer_error(self, service, error):
        text = f"<Code>{error.code}</Code><Message>{escape(str(error))}</Message>"
        if service == "ec2":
            text = f"<Response><Errors><Error>{text}</Error></Errors><RequestID>ea966190-example</RequestID></Response>"
        else:
            text = (f"<ErrorResponse><Error><Type>Sender</Type>{text}</Error><RequestId>ea966190-example</RequestId>"
                    "</ErrorResponse>")
        self.answer(error.status, '<?xml version="1.0" encoding="UTF-8"?>\n' + text)

    def answer_api(self, service, action, text):
        if service == "sts":
            text = (f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{text}'
                    f"</{action}Result><ResponseMetadata><RequestId>c6104cbe-example</RequestId></ResponseMetadata>"
                    f"</{action}Response>")
        else:
            text = ('<?xml version="1.0" encoding="UTF-8"?>\n'
                    f'<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
                    f"<requestId>8f7724cf-example</requestId>{text}</{action}Response>")
        body = text.encode()
        if self.cloud.take("html"):
            self.answer(200, "<!DOCTYPE html>\n<html><body>Please log in</body></html>\n", "text/html")
        elif self.cloud.take("truncated"):
            self.answer(200, body[:len(body) // 2])
        elif self.cloud.take("half"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
        elif self.cloud.faults["slow_seconds"]:
            self.answer_slowly(body)
        else:
            self.answer(200, body)

    def answer_slowly(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        piece = len(body) // 10 + 1
        for at in range(0, len(body), piece):
            self.wfile.write(body[at:at + piece])
            self.wfile.flush()
            time.sleep(self.cloud.faults["slow_seconds"])


class Ec2:
    """The fake in this process; cloud is what tests change and look at."""

    def __init__(self, address, port=8080, instances=100, seed=1):
        self.cloud = Cloud(instances, seed)
        self.server = Server((address, port), Handler)
        self.server.cloud = self.cloud
        self.url = f"http://{address}:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def faults(self, **faults):
        self.cloud.set_faults(faults)

    def count(self, what):
        with self.cloud.lock:
            return self.cloud.counters[what]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    fake = Ec2(arguments.address, arguments.port, arguments.instances, arguments.seed)
    print(f"EC2, STS and IMDSv2 at {fake.url}: region {ec2_world.REGION}, access key {ACCESS_KEY}, secret {SECRET_KEY}, "
          f"role {ROLE_ARN}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        fake.close()


if __name__ == "__main__":
    main()
