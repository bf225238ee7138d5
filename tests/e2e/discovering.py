"""A secondary that discovers, alone: what it has found, and what its sections say of themselves. With judges.py."""
import re

from harness import wait_until


def add_secondary(federation, scrape_configs, before=()):
    """Not started. The primary it sends to is none. `before`: what stands in front of its command."""
    primary = federation.add_primary()
    secondary = federation.add_secondary(primary, 1, scrape_configs)
    federation.processes.remove(primary)  # nobody starts it
    secondary.command = [*before, *secondary.command]
    return secondary


def sections(secondary):
    """{(job, sd, index): the section's part of the status}"""
    return {(each["job"], each["sd"], each["section"]): each for each in secondary.status()["discovery"]}


def only_section(secondary):
    (section,) = sections(secondary).values()
    return section


def problem(secondary):
    """Of the only section; None where it has none."""
    for section in secondary.status()["discovery"]:
        return section["problem"] or None
    return None


def section_metrics(secondary):
    """{name without its prefix: value} of the only section."""
    found = {}
    for key, value in secondary.metrics().items():
        match = re.fullmatch(r"tributary_secondary_discovery_(\w+)\{.*\}", key)
        if match:
            found[match.group(1)] = value
    return found


def wait_problem(secondary, text):
    """Until the only section has this problem, or (None) none. The daemon's status follows within a second."""
    wait_until(lambda: problem(secondary) == text, what=f"the problem {text!r}")


def wait_up(secondary, up):
    """Until the only section is well, or is not."""
    wait_until(lambda: section_metrics(secondary).get("up") == up, what=f"discovery_up {up}")


def peak_mib(secondary):
    """The most memory that its process had so far."""
    with open(f"/proc/{secondary.process.pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))
