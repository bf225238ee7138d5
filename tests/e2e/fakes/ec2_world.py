"""Instances of an EC2 that is made up, always the same for the same numbers: as the API describes them in XML, and as
Prometheus' labels say them (written anew from its documentation, to hold other implementations against)."""
import random
import re
from xml.sax.saxutils import escape

REGION = "eu-west-1"
ZONES = {"eu-west-1a": "euw1-az3", "eu-west-1b": "euw1-az1", "eu-west-1c": "euw1-az2"}
INSTANCES_MAX = 60000  # addresses of 127.78.0.0/16
# Loopback: whoever discovers these instances may try to scrape them.
NETWORK = "127.78"
TYPES = {"x86_64": ["t3.micro", "m5.large", "c5.4xlarge"], "arm64": ["m6g.large", "c7g.medium"], "i386": ["t2.nano"]}
TEXTS = ["web", "db & cache", "<none>", "Zürich", "a \"quoted\" one", "x,y;z", " spaces ", "日本", "1=2/3+4", "'"]


class Instance:
    """One; attributes as the API's names, None where the API says nothing."""

    def __init__(self, number, chance):
        address = f"{NETWORK}.{number // 250}.{number % 250 + 1}"
        self.id = f"i-{number * 2654435761 % 2 ** 68:017x}"
        self.image = f"ami-{chance.randrange(2 ** 32):08x}"
        self.state = chance.choices(["running", "stopped", "terminated", "pending"], [85, 8, 4, 3])[0]
        self.architecture = chance.choice(list(TYPES))
        self.type = chance.choice(TYPES[self.architecture])
        self.zone = chance.choice(list(ZONES))
        self.platform = "windows" if chance.random() < 0.1 else None
        self.lifecycle = chance.choices([None, "spot", "scheduled"], [82, 15, 3])[0]
        self.private_ip = self.private_dns = self.public_ip = self.vpc = self.subnet = self.ipv6 = None
        self.public_dns = ""
        self.interfaces = []
        self.tags = _tags(number, chance)
        if self.state == "terminated":
            return
        self.private_ip = address
        self.private_dns = f"ip-{address.replace('.', '-')}.{REGION}.compute.internal"
        if self.state == "running" and chance.random() < 0.5:
            self.public_ip = f"203.0.113.{number % 256}"
            self.public_dns = f"ec2-{self.public_ip.replace('.', '-')}.{REGION}.compute.amazonaws.com"
        if chance.random() < 0.95:  # the others are of EC2-Classic, or of a cloud without networks
            self.vpc = f"vpc-{chance.randrange(4):08x}"
            self.interfaces = _interfaces(number, chance)
            self.subnet = next(one["subnet"] for one in self.interfaces if one["device"] == 0)
        self.ipv6 = next((text for one in self.interfaces if one["device"] == 0 for text, _ in one["ipv6"]), None)


def _tags(number, chance):
    tags = {"Name": f"host-{number}", "env": chance.choice(["prod", "staging", "dev"])}
    if chance.random() < 0.5:
        tags["aws:autoscaling:groupName"] = chance.choice(TEXTS)
    if chance.random() < 0.2:
        tags["kubernetes.io/cluster/Größe"] = "owned"
    if chance.random() < 0.1:
        tags["empty"] = ""
    if chance.random() < 0.1:
        tags.update({"a-b": "first", "a.b": "second"})  # one label's name: the later wins
    if chance.random() < 0.02:
        tags.update({f"many-{i}": chance.choice(TEXTS) for i in range(40)})
    return {} if chance.random() < 0.03 else tags


def _interfaces(number, chance):
    interfaces = []
    for device in range(chance.choices([1, 2, 4], [80, 15, 5])[0]):
        addresses = [(f"2001:db8:{number:x}:{device:x}::{i + 1:x}", i == 1 or chance.random() < 0.3)
                     for i in range(chance.choice([0, 0, 1, 3]))]
        first = next((text for text, primary in addresses if primary), None)
        interfaces.append({"device": device, "subnet": f"subnet-{chance.randrange(6):08x}",
                           "ipv6": [(text, text == first) for text, _ in addresses]})
    chance.shuffle(interfaces)
    return interfaces


class World:
    def __init__(self, count, seed=1):
        assert 0 <= count <= INSTANCES_MAX
        chance = random.Random(seed)
        self.zones = dict(ZONES)
        self.reservations = []  # (id, owner, [Instance])
        number = 0
        while number < count:
            size = min(chance.choice([1, 1, 1, 2, 5, 20]), count - number)
            owner = chance.choice(["123456789012", "210987654321", "000000000042"])
            self.reservations.append((f"r-{number:017x}", owner,
                                      [Instance(number + i, chance) for i in range(size)]))
            number += size
        self._xml = {}  # of reservations that are whole

    def instances(self):
        return [(owner, one) for _, owner, instances in self.reservations for one in instances]

    def reservation_xml(self, at, instances):
        """Of the reservation at that place, with those of its instances."""
        reservation, owner, whole = self.reservations[at]
        if len(instances) == len(whole) and at in self._xml:
            return self._xml[at]
        text = (f"<item><reservationId>{reservation}</reservationId><ownerId>{owner}</ownerId><groupSet/>"
                f"<instancesSet>{''.join(instance_xml(one) for one in instances)}</instancesSet></item>")
        if len(instances) == len(whole):
            self._xml[at] = text
        return text

    def labels(self, port, filters=()):
        """{instance id: labels} that Prometheus gives its targets; filters as in select."""
        return {one.id: labels(owner, one, port, self.zones) for owner, one in self.instances()
                if one.private_ip is not None and matches(owner, one, filters)}


# ---- As the API describes it ----------------------------------------------------------------------------------------

def element(name, value):
    """Nothing where there is no value, <name/> where it is empty."""
    if value is None:
        return ""
    return f"<{name}>{escape(value)}</{name}>" if value else f"<{name}/>"


def _items(name, items):
    return f"<{name}>{''.join(f'<item>{item}</item>' for item in items)}</{name}>" if items else f"<{name}/>"


def _interface_xml(one):
    addresses = [element("ipv6Address", text) + element("isPrimaryIpv6", "true" if primary else "false")
                 for text, primary in one["ipv6"]]
    return (element("networkInterfaceId", f"eni-{one['device']:08x}") + element("subnetId", one["subnet"])
            + f"<attachment><attachmentId>eni-attach-1</attachmentId><deviceIndex>{one['device']}</deviceIndex>"
            "<status>attached</status></attachment>" + _items("ipv6AddressesSet", addresses))


def instance_xml(one):
    codes = {"pending": 0, "running": 16, "terminated": 48, "stopped": 80}
    tags = [element("key", key) + element("value", value) for key, value in one.tags.items()]
    return ("<item>" + element("instanceId", one.id) + element("imageId", one.image)
            + f"<instanceState><code>{codes[one.state]}</code><name>{one.state}</name></instanceState>"
            + element("privateDnsName", one.private_dns or "") + element("dnsName", one.public_dns)
            + "<amiLaunchIndex>0</amiLaunchIndex><productCodes/>" + element("instanceType", one.type)
            + "<launchTime>2026-01-02T03:04:05.000Z</launchTime><placement>"
            + element("availabilityZone", one.zone) + "<groupName/><tenancy>default</tenancy></placement>"
            + element("platform", one.platform) + "<monitoring><state>disabled</state></monitoring>"
            + element("subnetId", one.subnet) + element("vpcId", one.vpc)
            + element("privateIpAddress", one.private_ip) + element("ipAddress", one.public_ip)
            + element("ipv6Address", one.ipv6)
            + "<groupSet><item><groupId>sg-1</groupId><groupName>default</groupName></item></groupSet>"
            + element("architecture", one.architecture) + "<rootDeviceType>ebs</rootDeviceType><blockDeviceMapping/>"
            + element("instanceLifecycle", one.lifecycle) + (_items("tagSet", tags) if tags else "")
            + _items("networkInterfaceSet", [_interface_xml(interface) for interface in one.interfaces])
            + "<ebsOptimized>false</ebsOptimized></item>")


# ---- Filters --------------------------------------------------------------------------------------------------------

FILTERS = {
    "instance-id": lambda owner, one: [one.id],
    "instance-state-name": lambda owner, one: [one.state],
    "instance-type": lambda owner, one: [one.type],
    "instance-lifecycle": lambda owner, one: [one.lifecycle],
    "image-id": lambda owner, one: [one.image],
    "architecture": lambda owner, one: [one.architecture],
    "availability-zone": lambda owner, one: [one.zone],
    "platform": lambda owner, one: [one.platform],
    "owner-id": lambda owner, one: [owner],
    "private-ip-address": lambda owner, one: [one.private_ip],
    "vpc-id": lambda owner, one: [one.vpc],
    "subnet-id": lambda owner, one: [one.subnet],
    "tag-key": lambda owner, one: list(one.tags),
}


def filter_is_known(name):
    return name in FILTERS or name.startswith("tag:")


def _pattern(value):
    """* any characters, ? any one, \\ takes the next as it is; case matters."""
    parts = re.findall(r"\\.|.", value, re.S)
    return re.compile("".join({"*": ".*", "?": "."}.get(part, re.escape(part[-1])) for part in parts), re.S)


def matches(owner, one, filters):
    """filters: [(name, [values])]; all of them, each by one of its values."""
    for name, values in filters:
        own = [one.tags.get(name[4:])] if name.startswith("tag:") else FILTERS[name](owner, one)
        if not any(_pattern(value).fullmatch(text) for value in values for text in own if text is not None):
            return False
    return True


# ---- As Prometheus says it ------------------------------------------------------------------------------------------

def _joined(texts):
    return "," + ",".join(texts) + ","


def _primary_addresses(interfaces):
    places = {one["device"]: text for one in interfaces for text, primary in one["ipv6"] if primary}
    return _joined([places.get(i, "") for i in range(max(places) + 1)]) if places else ""


def labels(owner, one, port, zones):
    """Of a target, those with a value."""
    said = {
        "ami": one.image, "architecture": one.architecture, "availability_zone": one.zone,
        "availability_zone_id": zones.get(one.zone), "instance_id": one.id, "instance_lifecycle": one.lifecycle,
        "instance_state": one.state, "instance_type": one.type, "owner_id": owner, "platform": one.platform,
        "private_dns_name": one.private_dns, "private_ip": one.private_ip, "region": REGION,
        "default_ipv6_address": one.ipv6,
    }
    if one.public_ip:
        said.update(public_dns_name=one.public_dns, public_ip=one.public_ip)
    if one.vpc:
        ipv6 = [text for interface in one.interfaces for text, _ in interface["ipv6"]]
        said.update(vpc_id=one.vpc, primary_subnet_id=one.subnet,
                    subnet_id=_joined(list(dict.fromkeys(interface["subnet"] for interface in one.interfaces))),
                    ipv6_addresses=_joined(ipv6) if ipv6 else "",
                    primary_ipv6_addresses=_primary_addresses(one.interfaces))
    for key, value in one.tags.items():
        said["tag_" + re.sub(r"[^a-zA-Z0-9_]", "_", key)] = value
    result = {"__meta_ec2_" + name: value for name, value in said.items() if value}
    result["__address__"] = f"{one.private_ip}:{port}"
    return result
