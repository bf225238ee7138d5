"""Why a target is no more travels up: gone and dead differ at the global."""
import json
import os
import time

from harness import fetch, program, run, wait_until

PAGE = "m 1\n"


def targets_file(federation, name, addresses, fleet="x"):
    """Written aside and renamed, as those who write such files do."""
    path = federation.path(name)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump([{"targets": addresses, "labels": {"fleet": fleet}}], file)
    os.rename(path + ".new", path)
    return path


def ended(federation):
    """{instance: reason} as the global tells of them."""
    return {target["labels"]["instance"]: target["reason"]
            for target in federation.api("targets", state="ended")["endedTargets"]}


def health(federation):
    return {target["labels"]["instance"]: target["health"]
            for target in federation.api("targets", state="active")["activeTargets"]}


def test_gone_and_dead_differ(federation, exporter):
    stays, leaves, dies, job_goes, limited = (exporter({"/metrics": PAGE}).target for _ in range(5))
    path = targets_file(federation, "targets.json", [stays, leaves, dies])
    files = {"job_name": "files", "file_sd_configs": [{"files": [path], "refresh_interval": "1s"}]}
    others = {"job_name": "others", "static_configs": [{"targets": [job_goes]}]}
    many = {"job_name": "many", "static_configs": [{"targets": [limited]}]}
    federation.add_global()
    secondary = federation.add_secondary(federation.add_primary(), 1, [files, others, many])
    federation.start()
    wait_until(lambda: list(health(federation).values()) == ["up"] * 5, what="five targets up")
    assert ended(federation) == {}

    next(made for made in federation.exporters if made.target == dies).close()
    targets_file(federation, "targets.json", [stays, dies])
    wait_until(lambda: ended(federation) == {leaves: "removed"}, what="the removed target told of")
    wait_until(lambda: health(federation).get(dies) == "down", what="the dead target down")
    assert health(federation) == {stays: "up", dies: "down", job_goes: "up", limited: "up"}

    secondary.config["scrape_configs"] = [files, {**many, "target_limit": 1, "static_configs": [
        {"targets": [stays, limited]}]}]
    secondary.write_config()
    assert secondary.reload()[0] == 200
    wait_until(lambda: ended(federation) == {leaves: "removed", job_goes: "job"}, what="the job's target told of")
    secondary.config["scrape_configs"][1]["target_limit"] = 2
    secondary.write_config()
    assert secondary.reload()[0] == 200
    wait_until(lambda: federation.by_label('up{job="many"}', "instance") == {stays: 1, limited: 1}, what="both")
    secondary.config["scrape_configs"][1]["target_limit"] = 1
    secondary.write_config()
    assert secondary.reload()[0] == 200
    wait_until(lambda: "limit" in ended(federation).values(), what="the one past the limit told of")
    assert health(federation)[dies] == "down" and dies not in ended(federation)

    # The series: its value is seen for the lookback, its labels are the target's, and up ended where it begins.
    event = federation.query('scrape_target_ended{reason="removed"}')
    assert event == [({"__name__": "scrape_target_ended", "datacenter": "dc1", "fleet": "x", "instance": leaves,
                       "job": "files", "reason": "removed"}, 1)]
    assert federation.query(f'up{{instance="{leaves}"}}') == []
    (_, up), = federation.raw(f'up{{instance="{leaves}"}}')
    (_, when), = federation.raw('scrape_target_ended{reason="removed"}')
    assert len(when) == 1 and up[-1][0] < when[0][0] <= time.time()
    # Who is dead has no event, and who has ended is not missing.
    assert federation.query(f'scrape_target_ended{{instance="{dies}"}}') == []

    back = "last_over_time(scrape_target_ended[1d]) unless ignoring(reason) up"
    assert len(federation.query(back)) == 3

    def account():
        """Of the newest two windows that are whole."""
        now = time.time()
        text = fetch(f"{federation.top.url}/api/v1/query_range?query=up&start={now - 4}&end={now - 3}&step=1"
                     "&lookback_delta=1ms")[1]
        answer = json.loads(text)
        return answer.get("warnings", []), answer["coverage"]["datacenters"][0]["targetsExpected"]

    wait_until(lambda: account() == ([], 3), what="an answer that is complete, of three targets")

    code, out, err = run([program("tributary"), "targets", "--ended", "--url", federation.top.url])
    live, _, gone = out.partition("\nEnded within the last hour: 3\n")
    assert code == 0 and "3 targets, 1 down" in err
    assert leaves not in live and dies in live
    rows = [line.split() for line in gone.splitlines()[1:]]
    assert sorted(row[1:] for row in rows) == sorted(
        [["dc1", "files", leaves, "removed"], ["dc1", "others", job_goes, "job"],
         ["dc1", "many", next(i for i, why in ended(federation).items() if why == "limit"), "limit"]])
    code, out, err = run([program("tributary"), "targets", "--ended", "--url", federation.top.url, '{job="files"}'])
    assert code == 2 and "takes no matchers" in err
    code, out, err = run([program("tributary"), "targets", "--ended", "--url", secondary.url])
    assert code == 1 and "a global does" in err


def test_a_target_that_is_still_listed_is_not_removed(federation, exporter):
    """It has other labels, or a rule drops it."""
    changes, dropped = (exporter({"/metrics": PAGE}).target for _ in range(2))
    first = targets_file(federation, "first.json", [changes])
    second = targets_file(federation, "second.json", [dropped])
    jobs = [{"job_name": name, "file_sd_configs": [{"files": [path], "refresh_interval": "1s"}]}
            for name, path in (("first", first), ("second", second))]
    federation.add_global()
    secondary = federation.add_secondary(federation.add_primary(), 1, jobs)
    federation.start()
    wait_until(lambda: len(federation.query("up == 1")) == 2, what="both up")
    targets_file(federation, "first.json", [changes], fleet="y")
    secondary.config["scrape_configs"][1]["relabel_configs"] = [
        {"source_labels": ["fleet"], "regex": "x", "action": "drop"}]
    secondary.write_config()
    assert secondary.reload()[0] == 200
    wait_until(lambda: ended(federation) == {changes: "relabeled", dropped: "relabeled"}, what="both told of")
    wait_until(lambda: federation.by_label("up", "fleet") == {"y": 1}, what="the one of other labels")


def test_a_stop_ends_no_target(federation, exporter):
    """Its targets are expected to come back."""
    page = exporter({"/metrics": PAGE})
    federation.add_global()
    secondary = federation.add_secondary(federation.add_primary(), 1, [
        {"job_name": "app", "static_configs": [{"targets": [page.target]}]}])
    federation.start()
    wait_until(lambda: health(federation) == {page.target: "up"}, what="the target up")
    before = len(federation.raw("m")[0][1])
    secondary.restart()
    wait_until(lambda: len(federation.raw("m")[0][1]) > before + 3, what="samples behind the restart")
    assert ended(federation) == {} and federation.query("scrape_target_ended") == []
