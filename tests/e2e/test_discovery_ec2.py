"""Discovery of EC2 instances: Prometheus 2.42 and vmagent 1.79.5 discover from the fake, and say the same targets with the
same labels as it expects."""
import datetime
import json
import shutil

import pytest

from fakes import ec2_world, sigv4
from fakes.ec2 import ACCESS_KEY, ROLE_ARN, SECRET_KEY, Ec2
from harness import Process, fetch, wait_until
from prometheus import free_port

PORT = 9100
FILTERS = [{"name": "instance-state-name", "values": ["running", "p?nding"]}, {"name": "tag:env", "values": ["pro*", "dev"]}]
# Labels that are no part of what EC2 says.
SCRAPE_LABELS = {"job", "__scheme__", "__metrics_path__", "__scrape_interval__", "__scrape_timeout__",
                 "__vm_filepath", "__vm_filepath__"}
# What a judge does not know, or has wrong.
JUDGES_LACK = {
    "prometheus": {
        "__meta_ec2_primary_ipv6_addresses",  # since 2.54
        "__meta_ec2_default_ipv6_address",  # after 3.5
    },
    "vmagent": {
        "__meta_ec2_region",  # Prometheus has it since 2.39, vmagent 1.79 not yet
        "__meta_ec2_primary_ipv6_addresses",
        "__meta_ec2_default_ipv6_address",
        "__meta_ec2_ipv6_addresses",  # it reads an item's own text, not <ipv6Address> in it: commas alone
    },
}
needs = {name: pytest.mark.skipif(not shutil.which(name), reason=f"no {name} on this machine") for name in JUDGES_LACK}


@pytest.fixture
def fake(federation):
    made = federation.add_exporter(Ec2(federation.address(), instances=400))
    made.faults(page_max=30)
    return made


def section(fake, **keys):
    return {"region": ec2_world.REGION, "endpoint": fake.url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY,
            "port": PORT, **keys}


def without(labels, names):
    return {name: value for name, value in labels.items() if name not in names and value}


def discovered(address):
    """{instance id: labels}, as GET /api/v1/targets says them."""
    status, text = fetch(f"http://{address}/api/v1/targets")
    if status != 200:
        return {}
    found = [target["discoveredLabels"] for target in json.loads(text)["data"]["activeTargets"]]
    by_id = {labels["__meta_ec2_instance_id"]: without(labels, SCRAPE_LABELS) for labels in found}
    assert len(by_id) == len(found)
    return by_id


class Judge:
    """A daemon of somebody else that discovers by one section."""

    def __init__(self, federation, name, ec2_section):
        self.name = name
        self.address = f"127.0.0.1:{free_port()}"
        if name == "prometheus":
            ec2_section = {"refresh_interval": "2s", **ec2_section}
        config = federation.write(f"{name}.yml", json.dumps({"scrape_configs": [
            {"job_name": "ec2", "scrape_interval": "1h", "ec2_sd_configs": [ec2_section]}]}))
        commands = {
            "prometheus": [f"--config.file={config}", f"--storage.tsdb.path={federation.path('prometheus-data')}",
                           f"--web.listen-address={self.address}"],
            "vmagent": [f"-promscrape.config={config}", f"-httpListenAddr={self.address}",
                        "-promscrape.ec2SDCheckInterval=2s", "-remoteWrite.url=http://127.0.0.1:1/",
                        f"-remoteWrite.tmpDataPath={federation.path('vmagent-data')}"],
        }
        self.process = federation.add_process(name, [name, *commands[name]])
        self.process.start()

    def wait(self, count):
        """Its targets, once there are as many: both look for changes of their targets each 5 s."""
        def found():
            assert self.process.is_running(), self.process.log()
            return len(discovered(self.address)) == count

        wait_until(found, 60, f"{count} targets of {self.name}")
        return discovered(self.address)


def expected(fake, name, filters=()):
    pairs = [(one["name"], one["values"]) for one in filters]
    return {instance: without(labels, JUDGES_LACK[name])
            for instance, labels in fake.cloud.world.labels(PORT, pairs).items()}


# ---- The fake's own signature check ----------------------------------------------------------------------------------

# The example of AWS' description of the algorithm, with the values that it gives for each step.
EXAMPLE_TIME = datetime.datetime(2015, 8, 30, 12, 36, tzinfo=datetime.timezone.utc)
EXAMPLE_SIGNATURE = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"


def example(**changes):
    """Checks the example with changes: the reason of a refusal, or the access key."""
    given = {"method": "GET", "target": "/?Action=ListUsers&Version=2010-05-08", "host": "iam.amazonaws.com",
             "type": "application/x-www-form-urlencoded; charset=utf-8", "stamp": "20150830T123600Z",
             "scope": "20150830/us-east-1/iam/aws4_request", "signed": "content-type;host;x-amz-date", "body": b"",
             "signature": EXAMPLE_SIGNATURE, "key": "AKIDEXAMPLE", "more": {}, "now": EXAMPLE_TIME, **changes}
    headers = {"content-type": given["type"], "host": given["host"], "x-amz-date": given["stamp"],
               "authorization": f"AWS4-HMAC-SHA256 Credential={given['key']}/{given['scope']}, SignedHeaders="
                                f"{given['signed']}, Signature={given['signature']}", **given["more"]}
    try:
        return sigv4.check((given["method"], given["target"], headers, given["body"]),
                           {"AKIDEXAMPLE": ("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)}, "us-east-1", "iam",
                           given["now"])
    except sigv4.Refused as refused:
        return refused.reason


def test_signature_check():
    assert example() == "AKIDEXAMPLE"
    assert example(target="/?Version=2010-05-08&Action=List%55sers") == "AKIDEXAMPLE"  # the same, written otherwise
    assert example(type=" application/x-www-form-urlencoded;   charset=utf-8 ") == "AKIDEXAMPLE"
    for change in ({"type": "application/x-www-form-urlencoded;charset=utf-8"},
                   {"method": "POST"}, {"target": "/?Action=ListUsers&Version=2010-05-09"},
                   {"target": "/a?Action=ListUsers&Version=2010-05-08"}, {"host": "iam.example"}, {"body": b"x"},
                   {"signature": EXAMPLE_SIGNATURE.replace("5", "6")},
                   {"signed": "host;x-amz-date"}, {"more": {"content-type": "text/plain"}}):
        assert example(**change) == "signature", change
    assert example(signed="content-type;x-amz-date") == "headers"
    assert example(signed="host;content-type;x-amz-date") == "headers"
    assert example(more={"x-amz-meta": "1"}) == "headers"
    assert example(more={"x-amz-content-sha256": "0"}, signed="content-type;host;x-amz-content-sha256;x-amz-date") == "payload"
    assert example(more={"x-amz-security-token": "t"}) == "token"
    assert example(more={"authorization": ""}) == "missing"
    assert example(signature="5") == "malformed"
    assert example(stamp="2015-08-30T12:36:00Z") == "malformed"
    assert example(key="AKID") == "unknown_key"
    assert example(scope="20150830/us-east-1/ec2/aws4_request") == "scope"
    assert example(scope="20150831/us-east-1/iam/aws4_request") == "scope"
    assert example(now=EXAMPLE_TIME + datetime.timedelta(minutes=6)) == "expired"


# ---- Judges ----------------------------------------------------------------------------------------------------------

def judge_parameters():
    return pytest.mark.parametrize("name", [pytest.param(name, marks=needs[name]) for name in JUDGES_LACK])


@judge_parameters()
def test_judge_discovers(federation, fake, name):
    wanted = expected(fake, name)
    assert 300 < len(wanted) < 400  # some have no address
    found = Judge(federation, name, section(fake)).wait(len(wanted))
    lack = JUDGES_LACK[name]
    assert {instance: without(labels, lack) for instance, labels in found.items()} == wanted
    whole = fake.cloud.world.labels(PORT)
    for label in lack:  # nothing stands in that list without need
        assert any(found[instance].get(label) != labels.get(label) for instance, labels in whole.items()), label
    assert fake.count("DescribeInstances") > 5  # pages
    assert not [what for what in fake.cloud.counters if what.startswith("signature_")]


@judge_parameters()
def test_judge_filters(federation, fake, name):
    wanted = expected(fake, name, FILTERS)
    assert 100 < len(wanted) < 300
    found = Judge(federation, name, section(fake, filters=FILTERS)).wait(len(wanted))
    assert found.keys() == wanted.keys()


@judge_parameters()
def test_judge_assumes_a_role(federation, fake, name):
    """Both ask STS at the section's endpoint, where it has one."""
    wanted = expected(fake, name)
    found = Judge(federation, name, section(fake, role_arn=ROLE_ARN)).wait(len(wanted))
    assert found.keys() == wanted.keys()
    assert fake.count("AssumeRole") > 0
    assert all(query["key"].startswith("ASIA") for query in fake.cloud.queries
               if query["Action"] == "DescribeInstances")
