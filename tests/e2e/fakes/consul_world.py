"""What a Consul knows: nodes, instances of services, their checks; which index each table and service has; and which
labels Prometheus would make of it all. From Consul's API documentation and the order its state store keeps."""
import random
import re

NODE_MAINTENANCE, SERVICE_MAINTENANCE = "_node_maintenance", "_service_maintenance:"


class World:
    """Every change takes the next index, as the Raft log does. Callers hold a lock."""

    def __init__(self, datacenter="dc1"):
        self.datacenter = datacenter
        self.index = 10
        self.tables = {"nodes": 10, "services": 10, "checks": 10}
        self.service_index = {}  # of services that are there
        self.extinction = 10  # when the last service went
        self.nodes, self.instances, self.checks = {}, {}, {}  # by name; (node, id); (node, check id)

    # ---- Changes ----

    def _changed(self, *tables, services=()):
        self.index += 1
        for table in tables:
            self.tables[table] = self.index
        for name in services:
            self.service_index[name] = self.index

    def _services_on(self, node):
        return {instance["Service"] for (where, _), instance in self.instances.items() if where == node}

    def set_node(self, name, address="10.0.0.1", meta=None, tagged=None):
        self._changed("nodes", services=self._services_on(name))
        self.nodes[name] = {"ID": f"id-{name}", "Node": name, "Address": address, "Datacenter": self.datacenter,
                            "TaggedAddresses": tagged, "Meta": meta, "CreateIndex": self.index,
                            "ModifyIndex": self.index}

    def set_instance(self, node, service, port, identity=None, **more):
        """more: Tags, Address, Meta, Namespace, Partition"""
        identity = identity or service
        self._changed("services", services=[service])
        self.instances[node, identity] = {"ID": identity, "Service": service, "Tags": [], "Address": "", "Meta": None,
                                          "Port": port, "Weights": {"Passing": 1, "Warning": 1},
                                          "CreateIndex": self.index, "ModifyIndex": self.index, **more}

    def set_check(self, node, check, status, service_id="", output=""):
        instance = self.instances.get((node, service_id))
        services = [instance["Service"]] if instance else self._services_on(node)
        self._changed("checks", services=services)
        self.checks[node, check] = {"Node": node, "CheckID": check, "Name": check, "Status": status, "Notes": "",
                                    "Output": output, "ServiceID": service_id,
                                    "ServiceName": instance["Service"] if instance else "",
                                    "ServiceTags": instance["Tags"] if instance else [],
                                    "CreateIndex": self.index, "ModifyIndex": self.index}

    def remove_instance(self, node, identity):
        service = self.instances.pop((node, identity))["Service"]
        for key in [key for key, check in self.checks.items() if key[0] == node and check["ServiceID"] == identity]:
            del self.checks[key]
        self._changed("services", "checks", services=[service])
        if all(instance["Service"] != service for instance in self.instances.values()):
            del self.service_index[service]
            self.extinction = self.index

    def remove_service(self, service):
        for node, identity in [key for key, instance in self.instances.items() if instance["Service"] == service]:
            self.remove_instance(node, identity)

    def populate(self, services, instances=2, seed=1):
        """Services of all kinds, on fewer nodes."""
        rnd = random.Random(seed)
        nodes = [f"node-{number}" for number in range(max(12, services // 5))]
        for number, node in enumerate(nodes):
            address = f"2001:db8::{number + 1:x}" if number % 7 == 3 else f"10.1.{number // 250}.{number % 250 + 1}"
            self.set_node(node, address,
                          rnd.choice([None, {}, {"rack": f"r{number % 4}", "instance.type": "m-5", "größe": "x"}]),
                          rnd.choice([None, {"lan": address, "wan_ipv4": f"192.0.2.{number % 250 + 1}"}]))
            self.set_check(node, "serfHealth", rnd.choice(["passing"] * 9 + ["critical"]), output="Agent alive")
            if number % 11 == 5:
                self.set_check(node, NODE_MAINTENANCE, "critical", output="a \"reason\"\n")
        for number in range(services):
            name = f"service-{number}" if number % 9 else f"srv {number}/ü&?"
            for copy in range(rnd.randint(1, 2 * instances - 1)):
                node, identity = rnd.choice(nodes), f"{name}-{copy}"
                self.set_instance(node, name, rnd.choice([0, 80, 8080, 65535]), identity,
                                  Tags=rnd.sample(["prod", "v1.0", "with space", "a,b", "édge"], rnd.randint(0, 4)),
                                  Address=rnd.choice(["", "", f"10.2.0.{copy + 1}", "fe80::1", "svc.example"]),
                                  Meta=rnd.choice([None, {"version": "1", "some-key.x": "\"quoted\"", "empty": ""}]),
                                  **rnd.choice([{}, {}, {"Namespace": "shop", "Partition": "default"}]))
                for check in range(rnd.randint(0, 2)):
                    self.set_check(node, f"service:{identity}:{check}",
                                   rnd.choice(["passing", "passing", "warning", "critical"]), identity)
                if rnd.random() < 0.05:
                    self.set_check(node, SERVICE_MAINTENANCE + identity, "critical", identity)

    # ---- Answers ----

    def entries(self, service=None):
        """Of /v1/health/service."""
        for (node, identity), instance in self.instances.items():
            if service is None or instance["Service"] == service:
                checks = [check for (where, _), check in self.checks.items()
                          if where == node and check["ServiceID"] in ("", identity)]
                yield {"Node": self.nodes[node], "Service": instance, "Checks": checks}

    def index_of_service(self, service):
        return self.service_index.get(service, self.extinction)


def health(checks):
    found = set()
    for check in checks:
        if check["CheckID"] == NODE_MAINTENANCE or check["CheckID"].startswith(SERVICE_MAINTENANCE):
            found.add("maintenance")
        else:
            found.add(check["Status"])
    for status in ("maintenance", "critical", "warning"):
        if status in found:
            return status
    return "passing"


def labels(entry, separator=","):
    """What Prometheus' discovery/consul/consul.go makes of one entry; empty labels are none."""
    node, service = entry["Node"], entry["Service"]
    host = service["Address"] or node["Address"]
    made = {"address": node["Address"], "dc": node["Datacenter"], "health": health(entry["Checks"]),
            "namespace": service.get("Namespace", ""), "partition": service.get("Partition", ""),
            "node": node["Node"], "service": service["Service"], "service_address": service["Address"],
            "service_id": service["ID"], "service_port": str(service["Port"]),
            "tags": separator + separator.join(service["Tags"]) + separator}
    for prefix, found in (("metadata_", node["Meta"]), ("service_metadata_", service["Meta"]),
                          ("tagged_address_", node["TaggedAddresses"])):
        for key, value in (found or {}).items():
            made[prefix + re.sub("[^a-zA-Z0-9_]", "_", key)] = value
    address = f"[{host}]:{service['Port']}" if re.search("[:%]", host) else f"{host}:{service['Port']}"
    return {"__address__": address, **{f"__meta_consul_{key}": value for key, value in made.items() if value}}
