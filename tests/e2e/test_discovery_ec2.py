"""ec2_sd_configs: Prometheus, vmagent and a secondary find the same targets in a fake of EC2, with the same labels; what a
secondary does when EC2 fails, and whose credentials it takes."""
import datetime
import os
import shutil
import time

import pytest

from fakes import ec2_world, sigv4
from fakes.ec2 import ACCESS_KEY, FAULTS, ROLE_ARN, SECRET_KEY, Ec2
from harness import fetch, wait_until
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
    assert who.is_running(), who.log()
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


# ---- A secondary -----------------------------------------------------------------------------------------------------

@pytest.fixture
def clean_environment(monkeypatch, tmp_path):
    """Nothing of the machine's own says who we are to AWS. What is set by it is what daemons started later have."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.fixture
def start(federation, fake, clean_environment):
    """A secondary with one section, of these keys besides the defaults; None takes one away."""
    def make(**keys):
        keys = {"region": ec2_world.REGION, "endpoint": fake.url, "access_key": ACCESS_KEY, "port": PORT,
                "secret_key_file": federation.write("secret", SECRET_KEY + "\n"), "refresh_interval": "1s", **keys}
        keys = {name: value for name, value in keys.items() if value is not None}
        secondary = federation.add_secondary(
            federation.add_primary(), 1, [{"job_name": "ec2", "scrape_interval": "1m", "ec2_sd_configs": [keys]}],
            windows={"resolution": "1m"})  # nobody answers there: not to be scraped often
        secondary.start(wait=False)
        return secondary

    return make


def state(secondary):
    """Of its one section; {}: it is not at work yet."""
    sections = secondary.status()["discovery"] if fetch(secondary.url + "/-/healthy")[0] == 200 else []
    return sections[0] if sections else {}


def wait_problem(secondary, text):
    wait_until(lambda: text in state(secondary).get("problem", ""), 30, f"the problem {text!r}")


def wait_well(secondary):
    wait_until(lambda: state(secondary).get("state") == "up", 60, "well again")


def wait_rounds(fake, count):
    """Until so many listings more were asked for."""
    end = fake.count("DescribeInstances") + count
    wait_until(lambda: fake.count("DescribeInstances") >= end, 40, f"{count} requests")


def up(secondary):
    return secondary.metrics()['tributary_secondary_discovery_up{job="ec2",sd="ec2",section="0"}']


def test_secondary_discovers(fake, start):
    secondary = start()
    wait_targets(secondary, expected(fake))
    wait_well(secondary)
    assert up(secondary) == 1
    query = next(query for query in fake.cloud.queries if query["Action"] == "DescribeInstances")
    assert (query["method"], query["Version"], query["MaxResults"]) == ("POST", "2016-11-15", "1000")
    assert fake.count("DescribeAvailabilityZones") == 1
    assert not [what for what in fake.cloud.counters if what.startswith("signature_")]
    # What EC2 lists no longer goes.
    fake.cloud.set_instances(40)
    wait_targets(secondary, expected(fake))


@pytest.mark.skipif(not all(map(shutil.which, JUDGES)), reason="no judges on this machine")
def test_all_say_the_same(federation, fake, start):
    secondary = start(filters=FILTERS)
    own = wait_targets(secondary, expected(fake, FILTERS))
    for name in JUDGES:
        wait_targets(start_judge(name, federation, **section(fake, filters=FILTERS)), own, JUDGES_LACK[name])


def test_throttling(fake, start):
    secondary = start()
    wait_targets(secondary, expected(fake))
    fake.faults(throttle=10 ** 9)
    wait_problem(secondary, "DescribeInstances: HTTP 503: RequestLimitExceeded: Request limit exceeded.")
    assert up(secondary) == 0
    assert found_by(secondary).keys() == expected(fake).keys()
    # It backs off: after some seconds only some were tried.
    fake.cloud.counters.clear()
    time.sleep(5)
    assert fake.count("RequestLimitExceeded") <= 6
    fake.faults(throttle=0)
    wait_well(secondary)
    assert up(secondary) == 1


@pytest.mark.parametrize("fault,problem", [
    ({"html": 10 ** 9}, "not an answer of EC2: it begins with <!DOCTYPE html>"),
    ({"truncated": 10 ** 9}, "DescribeInstances: not XML, or half of it: "),
    ({"half": 10 ** 9}, "DescribeInstances: "),
    ({"circle": True}, "the pages go in a circle"),
    ({"endless": True}, "the pages do not end"),
    ({"huge_bytes": 100 * 2 ** 20}, "DescribeInstances: "),
    ({"deny": ["DescribeInstances"]}, "HTTP 403: UnauthorizedOperation: You are not authorized"),
])
def test_bad_answers(fake, start, fault, problem):
    secondary = start()
    wait_targets(secondary, expected(fake))
    fake.faults(**fault)
    wait_problem(secondary, problem)
    wanted = expected(fake)
    assert found_by(secondary).keys() == wanted.keys()
    assert memory_bytes(secondary) < 100 * 2 ** 20  # no answer was in memory whole
    fake.faults(**{name: FAULTS[name] for name in fault})
    wait_well(secondary)
    assert found_by(secondary).keys() == wanted.keys()


def memory_bytes(secondary):
    with open(f"/proc/{secondary.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_slow_answers(fake, start):
    """Of an answer that comes in ten pieces half a second apart, all is read; others are asked for meanwhile."""
    fake.faults(slow_seconds=0.5, page_max=1000)
    secondary = start()
    wait_targets(secondary, expected(fake))


def test_wrong_secret(federation, fake, start):
    secondary = start(secret_key_file=federation.write("wrong", "something-else\n"))
    wait_problem(secondary, "DescribeInstances: HTTP 401: AuthFailure: AWS was not able to validate the provided access")
    assert {key: state(secondary)[key] for key in ("job", "sd", "section")} == {"job": "ec2", "sd": "ec2", "section": 0}
    assert "ec2" in secondary.log() and "AuthFailure" in secondary.log()
    assert "something-else" not in secondary.log()
    # It is read anew for each try.
    federation.write("wrong", SECRET_KEY)
    wait_targets(secondary, expected(fake))


def test_zones_denied(fake, start):
    fake.faults(deny=["DescribeAvailabilityZones"])
    secondary = start()
    wait_targets(secondary, without(expected(fake), {"__meta_ec2_availability_zone_id"}))
    wait_well(secondary)
    assert "UnauthorizedOperation" in secondary.log() and "__meta_ec2_availability_zone_id is not known" in secondary.log()
    asked = fake.count("UnauthorizedOperation")
    wait_rounds(fake, 60)
    assert fake.count("UnauthorizedOperation") == asked  # not with each round


def keys_used(fake):
    return {query["key"][:4] for query in fake.cloud.queries if query["Action"].startswith("Describe")}


def test_instance_metadata(fake, start, clean_environment):
    """No key and no region in the configuration: the instance's metadata has both."""
    clean_environment.delenv("AWS_EC2_METADATA_DISABLED")
    clean_environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", fake.url)
    secondary = start(region=None, access_key=None, secret_key_file=None)
    wait_targets(secondary, expected(fake))
    assert keys_used(fake) == {"ASIA"}
    assert fake.count("metadata_token") >= 1
    assert fake.count("metadata_refused") == 0  # nothing without a token
    # The credentials are kept: what the metadata gave once serves all rounds.
    asked = fake.count("metadata")
    wait_rounds(fake, 30)
    assert fake.count("metadata") == asked
    # They are revoked: others are got.
    failures = state(secondary)["failures"]
    fake.faults(expired=True)  # the problem may be over within a second: what counts it does not miss it
    wait_until(lambda: state(secondary)["failures"] > failures, 30, "a request that was refused")
    wait_well(secondary)
    assert fake.count("metadata") > asked


def test_no_metadata_service(fake, start, clean_environment):
    clean_environment.delenv("AWS_EC2_METADATA_DISABLED")
    clean_environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", fake.url)
    fake.faults(metadata=False)
    secondary = start(region=None)
    wait_problem(secondary, "no region is configured, and the instance's metadata does not tell it: ")
    fake.faults(metadata=True)
    wait_targets(secondary, expected(fake))


@pytest.mark.parametrize("source", ["keys", "environment", "profile", "metadata"])
def test_role(federation, fake, start, clean_environment, source):
    clean_environment.setenv("AWS_ENDPOINT_URL_STS", fake.url)
    keys = {"access_key": None, "secret_key_file": None, "role_arn": ROLE_ARN}
    if source == "keys":
        keys = {"role_arn": ROLE_ARN}
    elif source == "environment":
        clean_environment.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        clean_environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    elif source == "profile":
        clean_environment.setenv("AWS_SHARED_CREDENTIALS_FILE", federation.write(
            "credentials", f"[other]\naws_access_key_id = x\naws_secret_access_key = y\n[monitoring]\n"
                           f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"))
        keys["profile"] = "monitoring"
    else:
        clean_environment.delenv("AWS_EC2_METADATA_DISABLED")
        clean_environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", fake.url)
    secondary = start(**keys)
    wait_targets(secondary, expected(fake))
    assert keys_used(fake) == {"ASIA"}
    assert fake.count("AssumeRole") == 1
    assert not [what for what in fake.cloud.counters if what.startswith("signature_")]


def test_role_that_is_refused(fake, start, clean_environment):
    clean_environment.setenv("AWS_ENDPOINT_URL_STS", fake.url)
    secondary = start(role_arn=ROLE_ARN + "-of-others")
    wait_problem(secondary, "AccessDenied")
    assert ROLE_ARN + "-of-others" in state(secondary)["problem"]
    assert fake.count("DescribeInstances") == 0
