"""ec2_sd_configs: Prometheus, vmagent and a secondary find the same targets in a fake of EC2, with the same labels; what a
secondary does when EC2 fails, and whose credentials it takes."""
import datetime
import shutil

import pytest

from fakes import ec2_world, sigv4
from fakes.ec2 import ACCESS_KEY, ROLE_ARN, SECRET_KEY, Ec2
from harness import wait_until
from judges import discovered, start_prometheus, start_vmagent

PORT = 9100
FILTERS = [{"name": "instance-state-name", "values": ["running", "p?nding"]}, {"name": "tag:env", "values": ["pro*", "dev"]}]
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
JUDGES = {"prometheus": start_prometheus, "vmagent": start_vmagent}


@pytest.fixture
def fake(federation):
    made = federation.add_exporter(Ec2(federation.address(), instances=400))
    made.faults(page_max=30)
    return made


def section(fake, **keys):
    return {"region": ec2_world.REGION, "endpoint": fake.url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY,
            "port": PORT, **keys}


def without(targets, names):
    """{instance id: labels} but for the labels of these names, and for those without a value."""
    return {instance: {name: value for name, value in labels.items() if value and name not in names}
            for instance, labels in targets.items()}


def found_by(who):
    targets = discovered(who.url)
    by_id = {labels["__meta_ec2_instance_id"]: labels for labels in targets}
    assert len(by_id) == len(targets)
    return by_id


def wait_targets(who, wanted, lack=()):
    """Until `who` has found these targets, but for labels that it lacks; gives all that it says of them."""
    wanted = without(wanted, lack)
    try:
        wait_until(lambda: without(found_by(who), lack) == wanted, 40)
    except AssertionError:
        assert without(found_by(who), lack) == wanted
    return found_by(who)


def expected(fake, filters=()):
    return fake.cloud.world.labels(PORT, [(one["name"], one["values"]) for one in filters])


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

judges = pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"no {name} on this machine"))
    for name in JUDGES])


def start_judge(name, federation, **keys):
    job = {"job_name": "ec2", "scrape_interval": "1h", "ec2_sd_configs": [keys]}
    if name == "prometheus":
        keys["refresh_interval"] = "1s"  # vmagent has a flag for it
    return JUDGES[name](federation, [job])


@judges
def test_judge_discovers(federation, fake, name):
    wanted = expected(fake)
    assert 300 < len(wanted) < 400  # some have no address
    found = wait_targets(start_judge(name, federation, **section(fake)), wanted, JUDGES_LACK[name])
    for label in JUDGES_LACK[name]:  # nothing stands in that list without need
        assert any(found[instance].get(label) != labels.get(label) for instance, labels in wanted.items()), label
    assert fake.count("DescribeInstances") > 5  # pages
    assert not [what for what in fake.cloud.counters if what.startswith("signature_")]


@judges
def test_judge_filters(federation, fake, name):
    wanted = expected(fake, FILTERS)
    assert 100 < len(wanted) < 300
    wait_targets(start_judge(name, federation, **section(fake, filters=FILTERS)), wanted, JUDGES_LACK[name])


@judges
def test_judge_assumes_a_role(federation, fake, name):
    """Both ask STS at the section's endpoint, where it has one."""
    wait_targets(start_judge(name, federation, **section(fake, role_arn=ROLE_ARN)), expected(fake), JUDGES_LACK[name])
    assert fake.count("AssumeRole") > 0
    assert {query["key"][:4] for query in fake.cloud.queries if query["Action"] == "DescribeInstances"} == {"ASIA"}
