"""OpenStack Swift with its S3 face on loopback: a server that checks signatures. One replica in a plain directory."""
import contextlib
import getpass
import os
import shutil
import subprocess

import pytest

from harness import Process, fetch, wait_until
from prometheus import free_port

PYTHON = "/usr/bin/python3"  # Debian's, whose module swift is
PROGRAMS = ("memcached", "swift-proxy-server", "swift-account-server", "swift-container-server", "swift-object-server")
ACCESS_KEY, SECRET_KEY = "test:tester", "testing"
PIPELINE = ("catch_errors", "gatekeeper", "healthcheck", "cache", "listing_formats", "bulk", "s3api", "tempauth", "copy",
            "slo", "dlo", "versioned_writes", "symlink")

needs_swift = pytest.mark.skipif(not all(shutil.which(name) for name in PROGRAMS),
                                 reason="no swift and memcached on this machine (tools/install-packages --check)")

RINGS = """
import sys, warnings
warnings.simplefilter("ignore")
from swift.common.ring import RingBuilder
for name, port in zip(("account", "container", "object"), sys.argv[2:]):
    builder = RingBuilder(2, 1, 0)
    builder.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=int(port), device="d1", weight=1.0,
                         replication_ip="127.0.0.1", replication_port=int(port), meta=""))
    builder.rebalance()
    builder.get_ring().save(f"{sys.argv[1]}/{name}.ring.gz")
"""


def section(title, /, **keys):
    return f"[{title}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def common(directory, port):
    return section("DEFAULT", bind_ip="127.0.0.1", bind_port=port, workers=0, user=getpass.getuser(),
                   swift_dir=directory, devices=f"{directory}/srv", mount_check="false", fallocate_reserve=0,
                   disable_fallocate="true", log_level="WARNING", log_udp_host="127.0.0.1", log_udp_port=9)


def storage_config(directory, name, port):
    return (common(directory, port) + section("pipeline:main", pipeline=f"healthcheck {name}-server") +
            section(f"app:{name}-server", use=f"egg:swift#{name}") +
            section("filter:healthcheck", use="egg:swift#healthcheck"))


def proxy_config(directory, port, memcached_port):
    options = {"cache": {"memcache_servers": f"127.0.0.1:{memcached_port}"},
               "s3api": {"location": "us-east-1", "s3_acl": "false", "check_bucket_owner": "false",
                         "auth_pipeline_check": "false"},
               "tempauth": {"user_test_tester": f"{SECRET_KEY} .admin"},
               "versioned_writes": {"allow_versioned_writes": "true"}}
    egg = {"cache": "memcache"}
    text = common(directory, port) + section("pipeline:main", pipeline=" ".join(PIPELINE) + " proxy-server")
    text += section("app:proxy-server", use="egg:swift#proxy", allow_account_management="true",
                    account_autocreate="true")
    for name in PIPELINE:
        text += section(f"filter:{name}", use=f"egg:swift#{egg.get(name, name)}", **options.get(name, {}))
    return text


@contextlib.contextmanager
def swift(tmp_path):
    """Its address, once all of it is ready."""
    directory = str(tmp_path)
    os.makedirs(f"{directory}/srv/d1")
    ports = {name: free_port() for name in ("proxy", "account", "container", "object", "memcached")}
    files = {"swift.conf": section("swift-hash", swift_hash_path_suffix="test", swift_hash_path_prefix="test") +
             section("storage-policy:0", name="gold", default="yes"),
             "proxy.conf": proxy_config(directory, ports["proxy"], ports["memcached"])}
    storage = ("account", "container", "object")
    for name in storage:
        files[f"{name}.conf"] = storage_config(directory, name, ports[name])
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    subprocess.run([PYTHON, "-c", RINGS, directory, *(str(ports[name]) for name in storage)], check=True, timeout=60)
    servers = [Process("memcached", ["memcached", "-l", "127.0.0.1", "-p", str(ports["memcached"]), "-U", "0", "-m", "16",
                                     "-t", "1", "-u", getpass.getuser()], f"{directory}/memcached.log")]
    servers += [Process(name, [PYTHON, shutil.which(f"swift-{name}-server"), f"{directory}/{name}.conf", "-v"],
                        f"{directory}/{name}.log") for name in (*storage, "proxy")]
    try:
        for server in servers:
            server.start()
        for name in (*storage, "proxy"):
            wait_until(lambda name=name: fetch(f"http://127.0.0.1:{ports[name]}/healthcheck")[0] == 200, timeout=40,
                       what=f"a ready {name} server")
        yield f"http://127.0.0.1:{ports['proxy']}"
    finally:
        for server in reversed(servers):
            server.kill()
